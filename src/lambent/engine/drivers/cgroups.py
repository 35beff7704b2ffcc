"""Memory, process, CPU and freezer limits, behind one interface for cgroup v1 and v2."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

MIB = 1 << 20
FULL_CPU = 1769  # MiB of memory that AWS gives one vCPU for
PROCESSES = 1024  # processes and threads of one environment, as on AWS
V1_CONTROLLERS = ("memory", "pids", "cpu", "freezer")
V2_CONTROLLERS = ("memory", "pids", "cpu")


class Group(Protocol):
    """The limits of one sandbox."""

    can_freeze: bool

    def attach(self, pid: int) -> None: ...
    def entrances(self) -> list[int]:
        """Descriptors for the caller to close: a process that writes "0" to each joins the group."""

    def limit(self, memory: int) -> None:
        """Bound memory to `memory` MiB and give CPU in proportion to it."""

    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def peak(self) -> int:
        """Bytes; 0 when nothing measures it."""

    def cached(self) -> int:
        """Bytes of file cache that `peak` counts and the function did not ask for."""

    def out_of_memory(self) -> int:
        """How often the kernel killed a process of the group for want of memory."""

    def processes(self) -> list[int]: ...
    def freezer_fd(self) -> int | None:
        """A descriptor that thaws the group when b"THAWED" is written to it (v1 only: v2 frozen groups die)."""

    def remove(self) -> None:
        """Kill what is left and remove the group."""


class Groups(Protocol):
    """Makes the groups of one server."""

    version: str
    can_limit: bool

    hierarchies: tuple[Path, ...]
    """Where the cgroup v1 hierarchies in use are mounted."""

    def start(self) -> None:
        """Make the parent group and clear what a killed server left in it."""

    def path(self, name: str) -> str | None:
        """Of a group, from its hierarchy's root; None where there are no groups."""

    def create(self, name: str) -> Group: ...
    def stop(self) -> None: ...


def shares(memory: int) -> int:
    """CPU weight of a function of `memory` MiB, in the measure of cgroup v1: 1024 is one CPU's."""
    return max(2, memory * 1024 // FULL_CPU)


def _write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _remove_directory(path: Path) -> None:
    """The kernel gives a group up a little after its last process: try again for a second."""
    for _attempt in range(100):
        try:
            path.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(0.01)


def _statistics(text: str) -> dict[str, int]:
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _kill_all(processes: list[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _group_name(tag: str) -> str:
    """Of the parent of a server's groups: whose data directory, and which process."""
    return f"lambent-{tag}-{os.getpid()}"


def _left_behind(directory: Path, tag: str) -> list[Path]:
    """The parents that dead servers left: all with our `tag` (only one server has it), others whose process is gone."""
    found = []
    for path in directory.glob("lambent-*-*"):
        _name, owner, pid = path.name.rsplit("-", 2)
        if path.name != _group_name(tag) and (owner == tag or not Path("/proc", pid).exists()):
            found.append(path)
    return found


@contextmanager
def _gone() -> Iterator[None]:
    """A group may go at any moment: servers that start together clear the groups of the same dead one."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise


def _children(parent: Path) -> list[Path]:
    with _gone():
        return [path for path in parent.iterdir() if path.is_dir()]
    return []


class V1Group:
    def __init__(self, paths: dict[str, Path]) -> None:
        self._paths = paths
        self.can_freeze = "freezer" in paths
        for path in paths.values():
            path.mkdir(exist_ok=True)
        if "pids" in paths:
            _write(paths["pids"] / "pids.max", str(PROCESSES))
        self._freezer = self._open("freezer", "freezer.state", os.O_RDWR)
        self._peak = self._open("memory", "memory.max_usage_in_bytes", os.O_RDONLY)

    def _open(self, controller: str, name: str, flags: int) -> int | None:
        path = self._paths.get(controller)
        return os.open(path / name, flags | os.O_CLOEXEC) if path else None

    def attach(self, pid: int) -> None:
        for path in self._paths.values():
            _write(path / "cgroup.procs", str(pid))

    def entrances(self) -> list[int]:
        return [os.open(path / "tasks", os.O_WRONLY | os.O_CLOEXEC) for path in self._paths.values()]

    def limit(self, memory: int) -> None:
        if path := self._paths.get("memory"):
            _write(path / "memory.limit_in_bytes", str(memory * MIB))
            with suppress(OSError):  # kernels without swap accounting have no such file
                _write(path / "memory.memsw.limit_in_bytes", str(memory * MIB))
        if path := self._paths.get("cpu"):
            _write(path / "cpu.shares", str(shares(memory)))

    def freeze(self) -> None:
        if self._freezer is not None:
            os.pwrite(self._freezer, b"FROZEN", 0)

    def thaw(self) -> None:
        if self._freezer is not None:
            os.pwrite(self._freezer, b"THAWED", 0)

    def peak(self) -> int:
        return int(os.pread(self._peak, 32, 0)) if self._peak is not None else 0

    def cached(self) -> int:
        if path := self._paths.get("memory"):
            figures = _statistics((path / "memory.stat").read_text())
            return max(0, figures.get("cache", 0) - figures.get("shmem", 0))
        return 0

    def out_of_memory(self) -> int:
        if path := self._paths.get("memory"):
            return _statistics((path / "memory.oom_control").read_text()).get("oom_kill", 0)
        return 0

    def processes(self) -> list[int]:
        path = next(iter(self._paths.values())) / "cgroup.procs"
        with suppress(FileNotFoundError):
            return [int(pid) for pid in path.read_text().split()]
        return []

    def freezer_fd(self) -> int | None:
        return self._freezer

    def remove(self) -> None:
        _kill_all(self.processes())
        with suppress(OSError):
            self.thaw()
        for fd in (self._freezer, self._peak):
            if fd is not None:
                os.close(fd)
        self._freezer = self._peak = None
        for path in self._paths.values():
            _remove_directory(path)


class V1Groups:
    version = "v1"

    def __init__(self, tag: str, mounts: dict[str, Path]) -> None:
        self._tag = tag
        self._mounts = mounts
        self.hierarchies = tuple(dict.fromkeys(mounts.values()))
        self._parents = {name: mount / _group_name(tag) for name, mount in mounts.items()}
        self.can_limit = "memory" in mounts and "pids" in mounts

    def start(self) -> None:
        self._clear([(name, path) for name, mount in self._mounts.items() for path in _left_behind(mount, self._tag)])
        for name, parent in self._parents.items():
            parent.mkdir(exist_ok=True)
            if name == "memory":
                with suppress(OSError):
                    _write(parent / "memory.use_hierarchy", "1")
            elif name == "cpuset":  # empty ones take no process; children get a copy of these
                for file in ("cpuset.cpus", "cpuset.mems"):
                    _write(parent / file, (self._mounts[name] / file).read_text())
                _write(parent / "cgroup.clone_children", "1")

    @staticmethod
    def _clear(parents: list[tuple[str, Path]]) -> None:
        """Kill everything, thaw what was frozen so that it can die, and only then remove the groups of any kind."""
        for name, parent in parents:
            for child in _children(parent):
                with _gone():
                    _kill_all([int(pid) for pid in (child / "cgroup.procs").read_text().split()])
                    if name == "freezer":
                        _write(child / "freezer.state", "THAWED")
        for _name, parent in parents:
            for child in [*_children(parent), parent]:
                _remove_directory(child)

    def path(self, name: str) -> str:
        return f"/{_group_name(self._tag)}/{name}"

    def create(self, name: str) -> Group:
        return V1Group({controller: parent / name for controller, parent in self._parents.items()})

    def stop(self) -> None:
        for parent in self._parents.values():
            with suppress(OSError):
                parent.rmdir()


class V2Group:
    can_freeze = True

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir(exist_ok=True)
        _write(path / "pids.max", str(PROCESSES))
        with suppress(OSError):
            _write(path / "memory.swap.max", "0")
        self._freezer: int | None = os.open(path / "cgroup.freeze", os.O_RDWR | os.O_CLOEXEC)

    def attach(self, pid: int) -> None:
        _write(self._path / "cgroup.procs", str(pid))

    def entrances(self) -> list[int]:
        return [os.open(self._path / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)]

    def limit(self, memory: int) -> None:
        _write(self._path / "memory.max", str(memory * MIB))
        _write(self._path / "cpu.weight", str(min(10000, max(1, memory * 100 // FULL_CPU))))

    def freeze(self) -> None:
        if self._freezer is not None:
            os.pwrite(self._freezer, b"1", 0)

    def thaw(self) -> None:
        if self._freezer is not None:
            os.pwrite(self._freezer, b"0", 0)

    def peak(self) -> int:
        with suppress(OSError):  # memory.peak came with Linux 5.19
            return int((self._path / "memory.peak").read_text())
        return int((self._path / "memory.current").read_text())

    def cached(self) -> int:
        figures = _statistics((self._path / "memory.stat").read_text())
        return max(0, figures.get("file", 0) - figures.get("shmem", 0))

    def out_of_memory(self) -> int:
        return _statistics((self._path / "memory.events").read_text()).get("oom_kill", 0)

    def processes(self) -> list[int]:
        with suppress(FileNotFoundError):
            return [int(pid) for pid in (self._path / "cgroup.procs").read_text().split()]
        return []

    def freezer_fd(self) -> int | None:
        return None

    def remove(self) -> None:
        with suppress(OSError):  # cgroup.kill came with Linux 5.14
            _write(self._path / "cgroup.kill", "1")
        _kill_all(self.processes())
        if self._freezer is not None:
            os.close(self._freezer)
            self._freezer = None
        _remove_directory(self._path)


class V2Groups:
    version = "v2"
    can_limit = True
    hierarchies: tuple[Path, ...] = ()

    def __init__(self, tag: str, root: Path, inside: str = "/") -> None:
        """`root` is where groups may be made, `inside` what it is called from the hierarchy's root."""
        self._tag = tag
        self._root = root
        self._inside = inside
        self._parent = root / _group_name(tag)

    def start(self) -> None:
        enable = " ".join(f"+{name}" for name in V2_CONTROLLERS)
        _write(self._root / "cgroup.subtree_control", enable)
        for parent in _left_behind(self._root, self._tag):
            for child in _children(parent):
                with _gone():
                    V2Group(child).remove()
            _remove_directory(parent)
        self._parent.mkdir(exist_ok=True)
        _write(self._parent / "cgroup.subtree_control", enable)

    def path(self, name: str) -> str:
        return f"{self._inside.rstrip('/')}/{_group_name(self._tag)}/{name}"

    def create(self, name: str) -> Group:
        return V2Group(self._parent / name)

    def stop(self) -> None:
        with suppress(OSError):
            self._parent.rmdir()


class NoGroup:
    """Where the machine gives no cgroups: nothing is bounded but by resource limits."""

    can_freeze = False

    def attach(self, pid: int) -> None: ...
    def entrances(self) -> list[int]:
        return []

    def limit(self, memory: int) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def peak(self) -> int:
        return 0

    def cached(self) -> int:
        return 0

    def out_of_memory(self) -> int:
        return 0

    def processes(self) -> list[int]:
        return []

    def freezer_fd(self) -> int | None:
        return None

    def remove(self) -> None: ...


class NoGroups:
    version = "none"
    can_limit = False
    hierarchies: tuple[Path, ...] = ()

    def start(self) -> None: ...
    def path(self, name: str) -> None:
        return None

    def create(self, name: str) -> Group:
        return NoGroup()

    def stop(self) -> None: ...


def _mounts() -> dict[str, tuple[str, str, str]]:
    """mount point → (filesystem type, options, device) of every cgroup mount."""
    found = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, point, kind, options = line.split()[:4]
        if kind in ("cgroup", "cgroup2"):
            found[point] = (kind, options, device)
    return found


def _own_v2_path() -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return line[3:]
    return "/"


def detect(tag: str, controllers: Sequence[str] = V1_CONTROLLERS) -> Groups:
    """What this machine lets us use. `tag` tells the groups of one data directory from another's.

    `controllers` are those of cgroup v1 that every group joins; v2 has one hierarchy for all.
    """
    v1: dict[str, Path] = {}
    for point, (kind, options, _device) in _mounts().items():
        path = Path(point)
        if kind == "cgroup2" and "memory" in (path / "cgroup.controllers").read_text().split():
            inside = _own_v2_path()
            for root, name in ((path, "/"), (path / inside.lstrip("/"), inside)):
                if os.access(root / "cgroup.subtree_control", os.W_OK) and os.access(root, os.W_OK):
                    return V2Groups(tag, root, name)
        elif kind == "cgroup":
            for controller in controllers:
                if controller in options.split(",") and os.access(path, os.W_OK):
                    v1[controller] = path
    return V1Groups(tag, v1) if v1 else NoGroups()
