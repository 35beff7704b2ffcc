"""What logging costs: the lines that one function gets stored, and a silent neighbour's invokes meanwhile.

    python benchmarks/logs.py --rate 20000 --seconds 5

A silent function is invoked again and again, one invoke at a time, while another one (a) sleeps, (b) makes `rate`
lines a second and throws them away, (c) prints them. (b) is the floor for (c): on a machine with few cores the making
of lines has its price too. The phases take turns, `--rounds` times. Then a function prints as fast as it can. Nothing
is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from typing import Protocol

import uvloop
import wire
from contenders import Lambent
from stand import CODE, RUNTIME, timed_invoke

NOISY = """
import io, sys, time

def lambda_handler(event, context):
    out = sys.stdout if event["how"] == "print" else io.StringIO()
    end = time.monotonic() + event["seconds"]
    part, made = max(1, event["rate"] // 100), 0
    if event["how"] == "sleep":
        time.sleep(event["seconds"])
    elif not event["rate"]:
        while time.monotonic() < end:
            print("line", made, "x" * 80, file=out)
            made += 1
    else:
        begin = time.monotonic()
        while (now := time.monotonic()) < end:
            while made < (now - begin) * event["rate"]:
                print("line", made, "x" * 80, file=out)
                made += 1
            time.sleep(0.01)
    sys.stdout.flush()
    return {"made": made}
"""


class Served(Protocol):
    @property
    def port(self) -> int: ...


PHASES = ("sleep", "throw away", "print")


async def noise(server: Served, how: str, rate: int, seconds: float) -> int:
    """How many lines it made."""
    connection = await wire.connect(server.port)
    event = json.dumps({"how": how, "rate": rate, "seconds": seconds}).encode()
    status, body = await connection.call(wire.invoke_request("noisy", event))
    if status != 200:
        raise RuntimeError(f"{status}: {body[:200]!r}")
    made: int = json.loads(body)["made"]
    return made


async def beside(server: Served, how: str, options: argparse.Namespace) -> tuple[list[float], int]:
    """(seconds of each invoke of the silent function meanwhile, lines made)."""
    task = asyncio.get_running_loop().create_task(noise(server, how, options.rate, options.seconds))
    await asyncio.sleep(0.3)
    connection = await wire.connect(server.port)
    taken = []
    while not task.done():
        taken.append(await timed_invoke(connection, "silent"))
        await asyncio.sleep(0.002)
    return taken, await task


async def run(options: argparse.Namespace) -> None:
    server = Lambent()
    server.start()
    try:
        await server.listening()
        connection = await wire.connect(server.port)
        await wire.create(connection, "silent", RUNTIME, CODE)
        await wire.create(connection, "noisy", RUNTIME, NOISY)
        await noise(server, "print", options.rate, 1)
        taken: dict[str, list[float]] = {how: [] for how in PHASES}
        made = dict.fromkeys(PHASES, 0)
        for _round in range(options.rounds):
            for how in PHASES:
                found, lines = await beside(server, how, options)
                taken[how] += found
                made[how] += lines
        for how in PHASES:
            hundredths = statistics.quantiles(taken[how], n=100)
            rate = made[how] / options.rounds / options.seconds
            print(
                f"neighbour: {how:11}{rate:>8,.0f} lines/s   silent invoke p50 {hundredths[49] * 1e3:.3f} ms,"
                f" p99 {hundredths[98] * 1e3:.3f} ms, {len(taken[how])} invokes"
            )
        begin = time.perf_counter()
        lines = await noise(server, "print", 0, options.seconds)
        print(f"as fast as it can: {lines / (time.perf_counter() - begin):,.0f} lines/s taken")
        stored = sum(path.stat().st_size for path in (server.directory / "data/logs").glob("*/*.log"))
        print(f"on disk: {stored / 1e6:,.1f} MB")
    finally:
        server.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=20_000, help="lines a second (default 20000)")
    parser.add_argument("--seconds", type=float, default=2.5, help="of one phase (default 2.5)")
    parser.add_argument("--rounds", type=int, default=3, help="of the phases (default 3)")
    uvloop.run(run(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
