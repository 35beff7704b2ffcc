"""What printing costs: invokes that print beside the same ones to /dev/null, a silent neighbour, a flood."""

from __future__ import annotations

import argparse
import asyncio
import json
import time

import wire
from logs import NOISY, beside, noise
from stand import CODE, RUNTIME, Stand
from table import put

CONTENDERS = ("lambent",)
LINES = 100  # of one invoke
RATE = 20_000  # lines a second
LONGEST = 2.5  # seconds of one invoke: functions have three
PRINTS = f"""
import sys

NULL = open("/dev/null", "w", buffering=1)


def lambda_handler(event, context):
    out = sys.stdout if event["print"] else NULL
    for number in range({LINES}):
        print("line", number, "x" * 80, file=out)
    return {{}}
"""


async def measure(stand: Stand) -> None:
    connection = await stand.connect()
    await wire.create(connection, "prints", RUNTIME, PRINTS)
    await _its_own_invokes(stand, connection)
    await wire.create(connection, "silent", RUNTIME, CODE)
    await wire.create(connection, "noisy", RUNTIME, NOISY)
    connection.close()
    await noise(stand, "print", RATE, 0.5)
    options = argparse.Namespace(rate=RATE, seconds=min(LONGEST, stand.options.seconds))
    for how in ("throw away", "print"):
        taken, lines = await beside(stand, how, options)
        put(stand.figures, f"silent neighbour of one that makes 20,000 lines/s, to {how}", taken)
        stand.figures[f"lines made, to {how} (lines/s)"] = lines / options.seconds
    begin = time.perf_counter()
    lines = await noise(stand, "print", 0, options.seconds)
    stand.figures["as fast as it can print (lines/s)"] = lines / (time.perf_counter() - begin)


async def _its_own_invokes(stand: Stand, connection: wire.Connection) -> None:
    """In turns, so that both see the same machine; RATE lines a second when it is fast enough."""
    taken: dict[bool, list[float]] = {False: [], True: []}
    end, pause = time.perf_counter() + 2 * stand.options.seconds, LINES / RATE
    while time.perf_counter() < end:
        for prints, found in taken.items():
            begin = time.perf_counter()
            event = json.dumps({"print": prints}).encode()
            status, body = await connection.call(wire.invoke_request("prints", event))
            found.append(time.perf_counter() - begin)
            if status != 200:
                raise RuntimeError(f"{status}: {body[:200]!r}")
            await asyncio.sleep(max(0.0, pause - found[-1]))
    put(stand.figures, f"{LINES} lines to /dev/null", taken[False][5:])
    put(stand.figures, f"{LINES} lines printed", taken[True][5:])
