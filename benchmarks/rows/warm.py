"""Warm invokes over the raw keep-alive client, at one connection and at many."""

from __future__ import annotations

import wire
from stand import CODE, RUNTIME, Stand, timed_invoke
from table import put

CONTENDERS = ("lambent", "ministack", "awslambdaric", "socket")
CONNECTIONS = (1, 8, 32)


async def measure(stand: Stand) -> None:
    """Each level runs twice: the first run starts environments and fills caches, the second counts."""
    connection = await stand.connect()
    if stand.contender.deploys:
        await wire.create(connection, "warm", RUNTIME, CODE)
    await timed_invoke(connection, "warm")
    connection.close()
    message, seconds = wire.invoke_request("warm"), stand.options.seconds
    for connections in CONNECTIONS:
        await wire.load(stand.port, message, connections, min(1.0, seconds))
        result = await wire.load(stand.port, message, connections, seconds)
        label = f"warm, {connections} connection{'s' if connections > 1 else ''}"
        if not result.latencies:
            raise RuntimeError(f"{stand.contender.name}: no invoke succeeded at {connections} connections")
        put(stand.figures, label, result.latencies)
        stand.figures[f"{label} (invokes/s)"] = result.per_second
        if result.failures:
            stand.figures[f"{label}, failed (invokes)"] = result.failures
