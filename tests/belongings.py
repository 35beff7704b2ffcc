"""What one server has on this machine, told apart from everything that others have: they run servers here too."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


def groups(data_dir: Path) -> set[str]:
    """The cgroups of the server with this data directory, by path."""
    tag = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:12]
    found = set()
    for directory, children, _files in os.walk(
        "/sys/fs/cgroup"
    ):  # others' groups come and go meanwhile: walk minds not
        if f"/lambent-{tag}-" in directory:
            found.add(directory)
        elif os.path.basename(directory).startswith("lambent-"):
            children.clear()
    return found


def loop_devices(data_dir: Path) -> set[str]:
    """Loop devices whose image lay in this data directory; the image itself is unlinked as soon as it is used."""
    found = set()
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if path.read_text().startswith(str(data_dir.resolve())):
                found.add(path.parts[3])
        except OSError:  # it has just gone
            continue
    return found


@dataclass(frozen=True)
class Process:
    pid: int
    started: str  # in clock ticks: a number that is used again is another process

    @property
    def alive(self) -> bool:
        fields = _fields(self.pid)
        return bool(fields) and fields[19] == self.started and fields[0] != "Z"


def _fields(pid: int) -> list[str]:
    """Of /proc/PID/stat, behind the command: state, parent, …"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def family(pid: int) -> set[Process]:
    """The descendants of a process: zygotes, inits, runtimes and what those started."""
    children = defaultdict(list)
    started = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _fields(int(entry.name))):
            children[int(fields[1])].append(int(entry.name))
            started[int(entry.name)] = fields[19]
    found, queue = set(), list(children[pid])
    while queue:
        child = queue.pop()
        found.add(Process(child, started[child]))
        queue += children[child]
    return found


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
