"""Start-up of the server, and what it and its processes take in memory."""

from __future__ import annotations

import asyncio
import time

import wire
from contenders import Contender
from stand import CODE, RUNTIME, Stand, timed_invoke

CONTENDERS = ("lambent", "ministack")
START_SECONDS = 120


async def measure(stand: Stand) -> None:
    figures, contender = stand.figures, stand.contender
    figures["start-up to the first answer (ms)"] = await first_answer(contender, stand.begin) * 1000
    await asyncio.sleep(stand.options.settle)
    figures["memory after start (MB)"] = contender.memory() / 1e6
    connection = await stand.connect()
    await wire.create(connection, "first", RUNTIME, CODE)
    await timed_invoke(connection, "first")
    connection.close()
    await asyncio.sleep(stand.options.settle)
    figures["memory after one invoke (MB)"] = contender.memory() / 1e6


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
