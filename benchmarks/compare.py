"""Measures Lambent beside a peer (ministack) in one run and prints one table. `make bench` runs it.

Both servers run alone, one after the other, on this machine, with the same client and the same function.
Nothing is asserted: read the ratios, not the absolute figures, and say which machine they come from.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import contenders
import uvloop
import wire
from contenders import Contender, Lambent, Ministack

RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
CODE = "def lambda_handler(event, context):\n    return {'greeting': 'Hello, ' + event['name'] + '!'}\n"
CONNECTIONS = (1, 8, 32)
START_SECONDS = 120
LOWER_IS_BETTER = ("ms", "MB")

Figures = dict[str, float]


def share(values: list[float], part: float) -> float:
    """The value that `part` (0.99) of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def put(figures: Figures, name: str, seconds: list[float]) -> None:
    figures[f"{name}, p50 (ms)"] = statistics.median(seconds) * 1000
    figures[f"{name}, p99 (ms)"] = share(seconds, 0.99) * 1000


async def first_answer(contender: Contender, begin: float) -> float:
    """Seconds from the start of the process to the first answered API call."""
    ask = wire.request("GET", wire.FUNCTIONS + "/")
    while time.perf_counter() - begin < START_SECONDS and contender.alive:
        try:
            connection = await wire.connect(contender.port)
            status, _body = await connection.call(ask)
            connection.close()
        except OSError:
            await asyncio.sleep(0.002)
            continue
        if status == 200:
            return time.perf_counter() - begin
    raise RuntimeError(f"{contender.name} did not start:\n{contender.log.read_text()[-2000:]}")


async def cold_starts(contender: Contender, figures: Figures, count: int, pause: float) -> None:
    """First invokes of fresh functions: one at a time with a pause, then eight at once."""
    connection = await wire.connect(contender.port)
    active, cold = [], []
    for number in range(count):
        name = f"cold-{number}"
        active.append(await wire.create(connection, name, RUNTIME, CODE))
        await asyncio.sleep(pause)
        cold.append(await timed_invoke(connection, name))
    put(figures, "CreateFunction to Active", active)
    put(figures, "cold start, one at a time", cold)
    burst: list[float] = []
    connections = [await wire.connect(contender.port) for _ in range(8)]
    for turn in range(max(1, count // 8)):
        names = [f"burst-{turn}-{number}" for number in range(8)]
        for name in names:
            await wire.create(connection, name, RUNTIME, CODE)
        await asyncio.sleep(pause)
        burst += await asyncio.gather(*map(timed_invoke, connections, names))
    put(figures, "cold start, eight at once", burst)


async def timed_invoke(connection: wire.Connection, name: str) -> float:
    begin = time.perf_counter()
    status, body = await connection.call(wire.invoke_request(name))
    taken = time.perf_counter() - begin
    if status != 200 or json.loads(body) != {"greeting": "Hello, Ada!"}:
        raise RuntimeError(f"invoking {name} answered {status}: {body.decode(errors='replace')[:300]}")
    return taken


async def warm_invokes(contender: Contender, figures: Figures, seconds: float) -> None:
    """Each level runs twice: the first run starts environments and fills caches, the second counts."""
    message = wire.invoke_request("warm")
    for connections in CONNECTIONS:
        await wire.load(contender.port, message, connections, min(1.0, seconds))
        result = await wire.load(contender.port, message, connections, seconds)
        label = f"warm, {connections} connection{'s' if connections > 1 else ''}"
        if not result.latencies:
            raise RuntimeError(f"{contender.name}: no invoke succeeded at {connections} connections")
        put(figures, label, result.latencies)
        figures[f"{label} (invokes/s)"] = result.per_second
        if result.failures:
            figures[f"{label}, failed (invokes)"] = result.failures


async def measure(contender: Contender, options: argparse.Namespace) -> Figures:
    figures: Figures = {}
    begin = contender.start()
    try:
        figures["start-up to the first answer (ms)"] = await first_answer(contender, begin) * 1000
        await asyncio.sleep(options.settle)
        figures["memory after start (MB)"] = contender.memory() / 1e6
        connection = await wire.connect(contender.port)
        await wire.create(connection, "warm", RUNTIME, CODE)
        await timed_invoke(connection, "warm")
        await asyncio.sleep(options.settle)
        figures["memory after one invoke (MB)"] = contender.memory() / 1e6
        await warm_invokes(contender, figures, options.seconds)
        await cold_starts(contender, figures, options.cold, options.pause)
    finally:
        contender.stop()
    return figures


def show(results: dict[str, Figures]) -> None:
    names = list(results)
    rows = list(dict.fromkeys(row for figures in results.values() for row in figures))
    width = max(len(row) for row in rows)
    compared = len(names) == 2
    head = "".join(f"{name:>12}" for name in names) + (f"{'ratio':>10}" if compared else "")
    print(f"{'':{width}}{head}")
    for row in rows:
        values = [results[name].get(row) for name in names]
        cells = "".join(f"{'-':>12}" if value is None else f"{value:>12,.2f}" for value in values)
        print(f"{row:{width}}{cells}{ratio(row, values) if compared else ''}")
    if compared:
        print(f"\nratio: how many times better {names[0]} is than {names[1]} (below 1: worse)")


def ratio(row: str, values: list[float | None]) -> str:
    ours, theirs = values
    if not ours or not theirs:
        return f"{'-':>10}"
    better = theirs / ours if row.endswith(tuple(f"({unit})" for unit in LOWER_IS_BETTER)) else ours / theirs
    return f"{better:>9,.1f}x"


def machine() -> str:
    cpu = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    return f"{cpu}, {cores} cores, Linux {platform.release()}, Python {platform.python_version()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("lambent", "ministack"), help="measure one of them")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each warm load (default 5)")
    parser.add_argument("--cold", type=int, default=40, help="fresh functions for cold starts (default 40)")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds before a cold start (default 0.1)")
    parser.add_argument("--settle", type=float, default=2.0, help="seconds before memory is read (default 2)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures there")
    options = parser.parse_args()
    chosen = [kind for kind in (Lambent, Ministack) if options.only in (None, kind.name)]
    if Ministack in chosen:
        contenders.install_peer()
    results = {}
    for kind in chosen:
        print(f"measuring {kind.name} …", file=sys.stderr, flush=True)
        results[kind.name] = uvloop.run(measure(kind(), options))
    print(machine())
    print(f"function: {RUNTIME}, 128 MB, answers a small object; client: raw HTTP/1.1, keep-alive\n")
    show(results)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
