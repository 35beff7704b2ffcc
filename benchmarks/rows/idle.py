"""What an idle execution environment costs: memory of its own, and the freeze and thaw around an invoke."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import contenders
import wire
from stand import CODE, RUNTIME, Stand, timed_invoke

from lambent.engine.drivers import cgroups

CONTENDERS = ("lambent",)
COUNT = 8


async def measure(stand: Stand) -> None:
    connection = await stand.connect()
    names = [f"idle-{number}" for number in range(COUNT)]
    for name in names:
        await wire.create(connection, name, RUNTIME, CODE)
        await timed_invoke(connection, name)
        await timed_invoke(connection, name)
    await asyncio.sleep(stand.options.settle)
    stand.figures["private memory of an idle environment (MB)"] = private_memory(stand.contender.pid) / 1e6
    freezes, thaws = await asyncio.to_thread(freeze_and_thaw)
    if freezes:
        stand.figures["freeze, after the answer, p50 (µs)"] = statistics.median(freezes) * 1e6
        stand.figures["thaw, before the event, p50 (µs)"] = statistics.median(thaws) * 1e6
    connection.close()


def private_memory(server: int) -> float:
    """Bytes: the median over the environments, each an init and all its descendants."""
    inits = [pid for pid in contenders.tree(server) if starts_namespace(pid)]
    found = [sum(private(pid) for pid in contenders.tree(init)) for init in inits]
    return statistics.median(found)


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def namespace(pid: int) -> str | None:
    """Of its processes; None when it has ended."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None


def starts_namespace(pid: int, depth: int = 1) -> bool:
    """Whether it is process 1 of a namespace of its own, at least `depth` below ours."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    numbers = status.split("NSpid:")[1].splitlines()[0].split()
    return len(numbers) > depth and numbers[-1] == "1"


def private(pid: int) -> int:
    """Bytes of memory that no other process shares."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def freeze_and_thaw() -> tuple[list[float], list[float]]:
    """Seconds of each, of a group with one sleeping process; nothing where the machine gives no groups."""
    groups = cgroups.detect(f"bench{os.getpid()}")
    groups.start()
    group = groups.create("freezer")
    freezes, thaws = [], []
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        try:
            group.attach(process.pid)
            for _ in range(200 if group.can_freeze else 0):
                begin = time.perf_counter()
                group.freeze()
                middle = time.perf_counter()
                group.thaw()
                thaws.append(time.perf_counter() - middle)
                freezes.append(middle - begin)
                time.sleep(0.001)
        finally:
            process.kill()
            process.wait()
            group.remove()
            groups.stop()
    return freezes, thaws
