"""Many first invokes of one function at once, with a warm invoke of another function beside them."""

from __future__ import annotations

import asyncio
import time

import wire
from stand import CODE, RUNTIME, Stand, timed_invoke
from table import put

CONTENDERS = ("lambent", "fork")
HELD_SECONDS = 1
HELD = CODE.replace("def", "import time\ndef", 1).replace("    return", f"    time.sleep({HELD_SECONDS})\n    return")


async def measure(stand: Stand) -> None:
    figures, count = stand.figures, stand.options.burst
    connection = await stand.connect()
    connections = [await stand.connect() for _ in range(count)]
    await wire.create(connection, "beside", RUNTIME, CODE)
    await timed_invoke(connection, "beside")
    for name, code, held in (("burst", CODE, 0), ("burst-held", HELD, HELD_SECONDS)):
        if held and stand.contender.name == "fork":
            continue
        await wire.create(connection, name, RUNTIME, code)
        await asyncio.sleep(1)
        beside: list[float] = []
        neighbour = asyncio.create_task(keep_invoking(connection, beside))
        begin = time.perf_counter()
        await asyncio.gather(*(timed_invoke(each, name) for each in connections))
        taken = time.perf_counter() - begin - held
        neighbour.cancel()
        await asyncio.gather(neighbour, return_exceptions=True)
        what = f"{count} environments at once, their second of sleep not counted" if held else f"burst of {count}"
        figures[f"{what} (ms)"] = taken * 1000
        if beside:  # else the contender answered nobody until it was through
            put(figures, f"  warm invoke of a neighbour meanwhile{' (2)' if held else ''}", beside)
        connection.close()
        connection = await stand.connect()
    for each in (*connections, connection):
        each.close()


async def keep_invoking(connection: wire.Connection, latencies: list[float]) -> None:
    while True:
        latencies.append(await timed_invoke(connection, "beside"))
        await asyncio.sleep(0.002)
