"""First invokes of fresh functions: one at a time with a pause, then eight at once."""

from __future__ import annotations

import asyncio

import wire
from stand import CODE, RUNTIME, Stand, timed_invoke
from table import put

CONTENDERS = ("lambent", "ministack", "fork")


async def measure(stand: Stand) -> None:
    figures, options = stand.figures, stand.options
    connection = await stand.connect()
    active, cold = [], []
    for number in range(options.cold):
        name = f"cold-{number}"
        active.append(await wire.create(connection, name, RUNTIME, CODE))
        await asyncio.sleep(options.pause)
        cold.append(await timed_invoke(connection, name))
    put(figures, "CreateFunction to Active", active)
    put(figures, "cold start, one at a time", cold)
    burst: list[float] = []
    connections = [await stand.connect() for _ in range(8)]
    for turn in range(max(1, options.cold // 8)):
        names = [f"burst-{turn}-{number}" for number in range(8)]
        for name in names:
            await wire.create(connection, name, RUNTIME, CODE)
        await asyncio.sleep(options.pause)
        burst += await asyncio.gather(*map(timed_invoke, connections, names))
    put(figures, "cold start, eight at once", burst)
