"""Does the server keep what it should let go of? Its memory and descriptors over very many invokes and environments.

    python benchmarks/flatness.py --invokes 1000000 --environments 20000

prints, for each of the two, what the server held along the way and the slope: bytes per thousand, by least squares over
the second half, when caches are full. Flat is a slope near nothing; nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop
import wire
from contenders import Lambent
from stand import CODE, RUNTIME, timed_invoke

SAMPLES = 20
FUNCTIONS = 12  # of which the server may keep ROOM environments: every invoke of the next one ends one and starts one
ROOM = 8


class Roomless(Lambent):
    def environment(self) -> dict[str, str]:
        return {"LAMBENT_MAX_ENVIRONMENTS": str(ROOM)}


def resident(pid: int) -> int:
    """Bytes of memory of the server process alone."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slope(samples: list[tuple[int, int]]) -> float:
    """Bytes per thousand, by least squares over the second half of (count, bytes)."""
    half = samples[len(samples) // 2 :]
    mean_x = sum(x for x, _y in half) / len(half)
    mean_y = sum(y for _x, y in half) / len(half)
    spread = sum((x - mean_x) ** 2 for x, _y in half)
    return 1000 * sum((x - mean_x) * (y - mean_y) for x, y in half) / spread if spread else 0.0


async def follow(what: str, server: Lambent, count: int, work: Callable[[int], Awaitable[None]]) -> None:
    """Do `work` on a part of `count` at a time and say what the server holds after each."""
    part = max(1, count // SAMPLES)
    samples = []
    begin = time.perf_counter()
    for done in range(part, count + 1, part):
        await work(part)
        samples.append((done, resident(server.pid)))
        print(
            f"{done:>10} {what:14}{samples[-1][1] / 1e6:>9.1f} MB {len(os.listdir(f'/proc/{server.pid}/fd')):>6} open"
        )
    seconds = time.perf_counter() - begin
    print(f"{what}: {slope(samples):,.0f} bytes per thousand; {count / seconds:,.0f}/s\n", flush=True)


async def invokes(server: Lambent, count: int) -> None:
    connections = [await wire.connect(server.port) for _ in range(8)]
    await wire.create(connections[0], "warm", RUNTIME, CODE)

    async def one(connection: wire.Connection, part: int) -> None:
        for _ in range(part):
            await timed_invoke(connection, "warm")

    async def work(part: int) -> None:
        await asyncio.gather(*(one(connection, part // len(connections)) for connection in connections))

    await follow("invokes", server, count, work)


async def environments(server: Lambent, count: int) -> None:
    connections = [await wire.connect(server.port) for _ in range(4)]
    names = [f"f-{number}" for number in range(FUNCTIONS)]
    for name in names:
        await wire.create(connections[0], name, RUNTIME, CODE)
    turn = itertools.cycle(names)

    async def one(connection: wire.Connection, part: int) -> None:
        for _ in range(part):
            await timed_invoke(connection, next(turn))

    async def work(part: int) -> None:
        await asyncio.gather(*(one(connection, part // len(connections)) for connection in connections))

    await follow("environments", server, count, work)


async def run(options: argparse.Namespace) -> None:
    for kind, measure, count in (
        (Lambent, invokes, options.invokes),
        (Roomless, environments, options.environments),
    ):
        if not count:
            continue
        server = kind()
        server.start()
        try:
            await server.listening()
            await measure(server, count)
        finally:
            server.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--invokes", type=int, default=200_000, help="warm ones over 8 connections (default 200000)")
    parser.add_argument("--environments", type=int, default=2_000, help="started and ended (default 2000)")
    uvloop.run(run(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
