"""The control plane: creating, listing and publishing, by the hundred and by the thousand."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.parse

import wire
from stand import CODE, RUNTIME, Stand, timed_invoke
from table import put

CONTENDERS = ("lambent", "ministack", "moto")
PAGES = 20  # pages of 50 at either end of a long list
VERSIONS = 200


async def measure(stand: Stand) -> None:
    figures, options = stand.figures, stand.options
    connection = await stand.connect()
    if stand.contender.runs:
        await first_answers(stand, connection)
    figures["memory of the server before many functions (MB)"] = before = stand.contender.own_memory() / 1e6
    figures[f"{options.functions:,} functions created, each (ms)"] = await create_many(connection, 0, options.functions)
    await asyncio.sleep(options.settle)
    figures["  memory of a stored function (kB)"] = (
        (stand.contender.own_memory() / 1e6 - before) / options.functions * 1000
    )
    begin = time.perf_counter()
    found = len(await pages(connection))
    if found < options.functions:
        raise RuntimeError(f"{found} of {options.functions} functions are listed")
    figures[f"  all {options.functions:,} listed (ms)"] = (time.perf_counter() - begin) * 1000
    figures[f"{VERSIONS} versions published, each (ms)"] = await publish_many(connection)
    if stand.contender.name == "lambent" and options.listed > options.functions:
        await create_many(connection, options.functions, options.listed)
        taken: list[float] = []
        await pages(connection, taken)
        put(figures, f"a page of {options.listed:,} functions, first {PAGES}", taken[:PAGES])
        put(figures, f"a page of {options.listed:,} functions, last {PAGES}", taken[-PAGES:])
    connection.close()


async def first_answers(stand: Stand, connection: wire.Connection) -> None:
    taken = []
    for number in range(20):
        begin = time.perf_counter()
        await wire.create(connection, f"answering-{number}", RUNTIME, CODE)
        await timed_invoke(connection, f"answering-{number}")
        taken.append(time.perf_counter() - begin)
    put(stand.figures, "created, Active, first answer", taken)


async def create_many(connection: wire.Connection, start: int, end: int) -> float:
    """Milliseconds for each."""
    begin = time.perf_counter()
    for number in range(start, end):
        status, body = await connection.call(wire.create_request(f"many-{number:05}", RUNTIME, CODE))
        if status != 201:
            raise RuntimeError(f"CreateFunction answered {status}: {body.decode(errors='replace')[:300]}")
    return (time.perf_counter() - begin) / (end - start) * 1000


async def pages(connection: wire.Connection, taken: list[float] | None = None) -> list[str]:
    """The names in every page of ListFunctions; the seconds of each page go to `taken`."""
    names: list[str] = []
    marker = ""
    while True:
        begin = time.perf_counter()
        status, body = await connection.call(wire.request("GET", f"{wire.FUNCTIONS}/?MaxItems=50{marker}"))
        if taken is not None:
            taken.append(time.perf_counter() - begin)
        answer = json.loads(body)
        if status != 200:
            raise RuntimeError(f"ListFunctions answered {status}: {answer}")
        names += [function["FunctionName"] for function in answer["Functions"]]
        if not answer.get("NextMarker"):
            return names
        marker = f"&Marker={urllib.parse.quote(answer['NextMarker'], safe='')}"


async def publish_many(connection: wire.Connection) -> float:
    """Milliseconds for each version; what is published changes each time, or it would be the same version."""
    path = f"{wire.FUNCTIONS}/many-00000"
    spent = 0.0
    for number in range(VERSIONS):
        settings = json.dumps({"Description": f"version {number}"}).encode()
        await connection.call(wire.request("PUT", f"{path}/configuration", settings))
        await settled(connection, path)
        begin = time.perf_counter()
        status, body = await connection.call(wire.request("POST", f"{path}/versions", b"{}"))
        spent += time.perf_counter() - begin
        if status != 201:
            raise RuntimeError(f"PublishVersion answered {status}: {body.decode(errors='replace')[:300]}")
    return spent / VERSIONS * 1000


async def settled(connection: wire.Connection, path: str) -> None:
    while True:
        _status, body = await connection.call(wire.request("GET", f"{path}/configuration"))
        if json.loads(body).get("LastUpdateStatus") in (None, "Successful"):
            return
        await asyncio.sleep(0.001)
