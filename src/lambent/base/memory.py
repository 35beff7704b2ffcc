"""How much memory the machine, or the container that the server runs in, still has."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_KIB = 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """Memory in bytes, and how much of the last ten seconds something stalled for it."""

    total: int
    available: int
    stalled: float = 0.0  # percent; 0 where the kernel does not measure pressure


def read(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> Reading:
    """The tightest of what the machine has and what the cgroup at `groups` (a container's) allows."""
    figures = {}
    for line in (proc / "meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        figures[name] = int(rest.split()[0]) * _KIB
    total, available = figures["MemTotal"], figures["MemAvailable"]
    for directory, limit_name, used_name, cache in (
        (groups, "memory.max", "memory.current", "inactive_file"),
        (groups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):  # no such group, or "max"
            limit = int((directory / limit_name).read_text())
            if limit < total:
                used = int((directory / used_name).read_text()) - _statistic(directory / "memory.stat", cache)
                total, available = limit, min(available, limit - used)
    return Reading(total, max(0, available), _stalled(proc))


def _statistic(path: Path, wanted: str) -> int:
    for line in path.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == wanted:
            return int(value)
    return 0


def _stalled(proc: Path) -> float:
    with suppress(OSError, ValueError, IndexError):  # not built in, or switched off
        line = (proc / "pressure/memory").read_text().splitlines()[0]
        return float(line.split("avg10=")[1].split()[0])
    return 0.0
