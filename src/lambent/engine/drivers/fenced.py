"""One sandbox made of namespaces: an init process, all it starts, and the server's ways to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lambent.engine.drivers import cgroups, disks, mounts, root
from lambent.engine.drivers.network import Network
from lambent.engine.drivers.shares import Shares
from lambent.engine.drivers.zygote import Zygote
from lambent.engine.guest import layout, tracee, wire
from lambent.engine.sandbox import Assignment, Exit, Launch, MountError, SandboxError

MIB = 1 << 20
END_SECONDS = 5.0  # a killed sandbox is given to end
HOLD_SECONDS = 10.0  # a runtime is given to come to its fork

_Answer = tuple[dict[str, Any], list[int]]  # of the init to an order: its message and descriptors


@dataclass(frozen=True, slots=True)
class Means:
    """What this machine gives sandboxes."""

    user_namespace: bool  # without root: privileges only inside a namespace of our own
    groups: cgroups.Groups
    disks: disks.Disks | None  # None: /tmp is kept in memory
    mounts: mounts.Mounts | None  # None: sandboxes look for their trees themselves
    shares: Shares | None = None  # directories that stand for file systems; None: it mounts none
    network: Network = field(default_factory=Network)
    no_disks: str = ""  # why there are none
    makers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "sandbox-maker"))
    removers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "sandbox-remover"))
    """Threads of their own: what ends by the hundred must not stand in the way of what begins."""

    async def start(self) -> None:
        """Get ready and clear what a killed server left. SandboxError."""
        await asyncio.to_thread(self.groups.start)
        if self.disks is not None:
            await asyncio.to_thread(self.disks.start)
        await self.network.start()

    async def stop(self) -> None:
        """Give back what all sandboxes have shared."""
        await self.network.stop()
        await asyncio.to_thread(self.groups.stop)
        for threads in (self.makers, self.removers):
            threads.shutdown(wait=False)

    @property
    def weaknesses(self) -> tuple[str, ...]:
        found = []
        if not self.groups.can_limit:
            found.append("memory is bounded per process only, process counts are not: this server may not use cgroups")
        if self.disks is None:
            found.append(f"/tmp lives in memory and counts as the function's: {self.no_disks}")
        return (*found, *self.network.weaknesses)

    @property
    def no_file_systems(self) -> str:
        if self.mounts is None or self.shares is None:
            return "file systems (FileSystemConfigs) take a server that is root and may mount"
        return ""


class NamespaceSandbox:
    """One init process and all it starts."""

    def __init__(
        self,
        means: Means,
        zygote: Zygote,
        slot: int,
        released: Callable[[NamespaceSandbox], None],
    ) -> None:
        """`slot` gives it a user id of its own; `released` is called once `destroy` has given everything back."""
        self._means = means
        self._released = released
        self.zygote = zygote
        self.slot = slot
        self.id = f"{slot}-{os.urandom(4).hex()}"
        self.listener: socket.socket
        self.door: socket.socket | None = None
        self._connection: int | None = None  # its number in the network
        self.log_fd = -1
        self._group: cgroups.Group = cgroups.NoGroup()
        self._channel: socket.socket | None = None
        self._pid = 0
        self._pidfd = -1
        self._tmp: int | None = None
        self._waiting: deque[asyncio.Future[_Answer]] = deque()
        self._entrances: list[int] = []
        self._fenced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._spoiled = False  # what waits for the function has ended before it came
        self._exit: Callable[[Exit], None] | None = None
        self._destruction: asyncio.Task[None] | None = None
        self._kills = 0
        self._frozen = False
        self._memory = 0  # MiB
        self._charged = 0
        self._peak = 0  # bytes
        self.make_fork: Callable[[NamespaceSandbox, int], Awaitable[NamespaceSandbox]] | None = None
        self._forks: dict[int, Callable[[Exit, int], None]] = {}  # by their numbers here: what hears of their end
        self._early: dict[int, tuple[Exit, int]] = {}  # ends of forks that nobody waits for yet
        self._forkless = asyncio.Event()  # no fork is left

    @property
    def pid(self) -> int:
        """Of its init."""
        return self._pid

    @property
    def alive(self) -> bool:
        """Whether it can still take a function."""
        return self._channel is not None and not self._spoiled

    async def create(self) -> None:
        """Everything that can be done before the function is known."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reader, False)
        self.log_fd = reader
        theirs = self._open_channel()
        try:
            await asyncio.get_running_loop().run_in_executor(self._means.makers, self._prepare_limits)
            files = [("channel", theirs.fileno()), ("output", writer)]
            if self._tmp is not None:
                files.append(("tmp", self._tmp))
            if (freezer := self._group.freezer_fd()) is not None:
                files.append(("freezer", freezer))
            files += [("group", fd) for fd in self._entrances]
            self._pid, self._pidfd, listeners = await self.zygote.spawn(root.spawn_plan(self.slot), files)
            self._listen(listeners)
            await self._connect(self._pidfd)
        finally:
            theirs.close()
            os.close(writer)
            self._drop_tmp()
            self._close_entrances()
        await self._fenced

    def _listen(self, listeners: Sequence[socket.socket]) -> None:
        """Take the sockets of `root.listeners`."""
        for listener in listeners:
            listener.setblocking(False)
        self.listener, self.door = listeners[0], listeners[1] if len(listeners) > 1 else None

    async def _connect(self, namespace: int) -> None:
        """Let the network namespace behind a descriptor, its own or a process's, reach the internet."""
        self._connection = await self._means.network.attach(namespace)

    def _open_channel(self) -> socket.socket:
        """Our end of a new way to an init becomes `_channel`; returns the other."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, wire.LIMIT * 2)
        self._channel = ours
        asyncio.get_running_loop().add_reader(ours, self._read)
        return theirs

    def _prepare_limits(self) -> None:
        self._group = self._means.groups.create(self.id)
        self._entrances = self._group.entrances()
        if self._means.disks is not None:
            self._tmp = self._means.disks.create(disks.DEFAULT_SIZE)

    def _close_entrances(self) -> None:
        for fd in self._entrances:
            os.close(fd)
        self._entrances = []

    def _read(self) -> None:
        while self._channel is not None:
            try:
                message, fds = wire.receive(self._channel)
            except BlockingIOError:
                return
            if message is None:
                self._lost()
            elif message["op"] == "fenced":
                self._fenced.set_result(None)
            elif message["op"] == "done":
                waiter = self._waiting.popleft()
                if not waiter.done():
                    waiter.set_result((message, fds))
                else:
                    for fd in fds:
                        os.close(fd)
            elif message["op"] == "fork_exited":
                end = Exit(message["code"]), message["peak"]
                if (heard := self._forks.get(message["pid"])) is not None:
                    heard(*end)
                else:
                    self._early[message["pid"]] = end
            elif message["op"] == "exited" and self._exit is None:
                self._spoiled = True
            elif message["op"] == "exited" and self._exit is not None:
                self._raise_peak(message["peak"])
                failure = message["failure"] or {"type": "", "message": ""}
                memory, extension = self._ran_out_of_memory(), message["extension"]
                self._exit(Exit(message["code"], memory, extension, failure["type"], failure["message"]))

    def _ran_out_of_memory(self) -> bool:
        kills = self._group.out_of_memory()
        happened, self._kills = kills > self._kills, kills
        return happened

    def _lost(self) -> None:
        """The init is gone, and with it every process of the sandbox."""
        if self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._channel.close()
            self._channel = None
        error = SandboxError(f"the sandbox ended while it was being prepared: {self._last_words()}")
        waiters: list[asyncio.Future[Any]] = [self._fenced, *self._waiting]
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)
                waiter.exception()  # nobody may be waiting
        self._waiting.clear()
        if self._exit is not None:
            self._exit(Exit(-signal.SIGKILL, self._ran_out_of_memory()))

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            return os.read(self.log_fd, 4096).decode(errors="replace").strip()
        return "no message"

    async def _order(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> _Answer:
        if self._channel is None:
            raise SandboxError("the sandbox has ended")
        waiter: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        try:
            wire.send(self._channel, message, fds)
        except OSError as error:
            raise SandboxError("the sandbox has ended") from error
        self._waiting.append(waiter)
        return await waiter

    def _tell(self, message: dict[str, Any]) -> None:
        """An order that nobody waits for."""
        if self._channel is not None:
            with contextlib.suppress(OSError):  # its init has just ended, which is noticed when it is read from
                wire.send(self._channel, message)
                self._waiting.append(asyncio.get_running_loop().create_future())

    def on_exit(self, callback: Callable[[Exit], None]) -> None:
        self._exit = callback

    async def assign(self, assignment: Assignment) -> Sequence[Launch]:
        if self._channel is None:
            raise SandboxError("the sandbox has ended")
        self._memory = assignment.memory
        self._group.limit(assignment.memory)
        found = await self._mounts(assignment)
        order = {
            **self._start_order(assignment),
            "mounts": list(found),
            "code": assignment.code,
            "layers": assignment.layers,
            "image": assignment.image,
            "tmp_size": assignment.ephemeral_storage * MIB if self._means.disks is None else None,
        }
        try:
            return launches(await self._order(order, tuple(found.values())))
        finally:
            for fd in found.values():
                os.close(fd)

    def _start_order(self, assignment: Assignment) -> dict[str, Any]:
        """What makes a waiting init start its function."""
        start = {
            "environment": dict(assignment.environment),
            "command": assignment.command,
            "data_limit": self._data_limit(),
            "directory": assignment.directory,
        }
        return {
            "op": "assign",
            "fresh": assignment.command is not None,
            "data_limit": start["data_limit"],
            "extensions": self._extensions(assignment),
            "start": json.dumps(start),
        }

    def _extensions(self, assignment: Assignment) -> dict[str, Any] | None:
        """What external extensions are started with; None where there can be none."""
        if not assignment.layers and not assignment.image:
            return None
        return {"environment": dict(assignment.extension_environment), "data_limit": self._data_limit()}

    async def _mounts(self, assignment: Assignment) -> dict[str, int]:
        """Where → the detached mount, as a descriptor for the caller to close, that goes there."""
        found: dict[str, int] = {}
        run, makers = asyncio.get_running_loop().run_in_executor, self._means.makers
        try:
            if self._means.mounts is not None and assignment.image:
                found[layout.IMAGE] = await run(makers, self._means.mounts.image, assignment.image)
            if self._means.mounts is not None and assignment.code:
                found["/var/task"] = self._means.mounts.tree(assignment.code)
                if assignment.layers:
                    layers = await run(makers, self._means.mounts.layers, assignment.layers)
                    found |= {} if layers is None else {"/opt": layers}
            if self._means.disks is not None and assignment.ephemeral_storage != disks.DEFAULT_SIZE:
                found["/tmp"] = await run(makers, self._means.disks.create, assignment.ephemeral_storage)
            for arn, path in assignment.file_systems:
                found[path] = await run(makers, self._shares().mount, arn, root.spawn_plan(self.slot)["uid"])
        except BaseException:
            for fd in found.values():
                os.close(fd)
            raise
        return found

    def _shares(self) -> Shares:
        if self._means.no_file_systems or self._means.shares is None:
            raise MountError(self._means.no_file_systems)
        return self._means.shares

    @property
    def forkable(self) -> bool:
        """Only as root, with all limits and /tmp on disk: a fork must lack nothing that its template has."""
        means, group = self._means, self._group
        full = not means.user_namespace and means.disks is not None and means.groups.can_limit and group.can_freeze
        return full and tracee.AVAILABLE and self.make_fork is not None

    async def hold(self, let_go: Callable[[], None]) -> str | None:
        self.thaw()
        await self._template_order({"op": "trace"})
        let_go()
        answer, _fds = await self._template_order({"op": "hold"})
        problem: str | None = answer["problem"]
        return problem

    async def fork(self, memory: int) -> NamespaceSandbox:
        assert self.make_fork is not None
        return await self.make_fork(self, memory)

    async def spawn_fork(
        self, uid: int, files: Sequence[tuple[str, int]], heard: Callable[[Exit, int], None]
    ) -> tuple[int, int, list[socket.socket]]:
        """(number, pidfd of its init, listeners) of a fork; `heard` gets its end and the bytes of its memory's peak."""
        order = {"op": "fork", "uid": uid, "files": [name for name, _fd in files]}
        answer, [pidfd, *listeners] = await self._template_order(order, tuple(fd for _name, fd in files))
        number: int = answer["pid"]
        self._forks[number] = heard
        if (early := self._early.pop(number, None)) is not None:
            heard(*early)
        return number, pidfd, [socket.socket(fileno=fd) for fd in listeners]

    async def _template_order(self, order: dict[str, Any], fds: tuple[int, ...] = ()) -> _Answer:
        try:
            answer, received = await asyncio.wait_for(asyncio.shield(self._order(order, fds)), HOLD_SECONDS)
        except TimeoutError as error:
            raise SandboxError("the template does not stand still") from error
        if "error" in answer:
            raise SandboxError(f"the template cannot {order['op']}: {answer['error']}")
        return answer, received

    def fork_gone(self, number: int) -> None:
        self._forks.pop(number, None)
        if not self._forks:
            self._forkless.set()

    async def _retire(self) -> None:
        """Forks live on in sandboxes inside this one, which needs no template any more but has to stay."""
        if self._forks:
            self._forkless.clear()
            self._tell({"op": "retire"})
            await self._forkless.wait()

    async def start_runtime(self) -> None:
        await self._order({"op": "start"})

    def terminate(self, number: int, extension: str | None = None) -> None:
        self._tell({"op": "terminate", "signal": number, "extension": extension})

    async def open_socket(self) -> socket.socket:
        _message, fds = await self._order({"op": "socket"})
        made = socket.socket(fileno=fds[0])
        made.setblocking(False)
        return made

    def _data_limit(self) -> int | None:
        """Without cgroups a process at least cannot allocate more than the function's memory."""
        return None if self._means.groups.can_limit else self._memory * MIB

    def _drop_tmp(self) -> None:
        if self._tmp is not None:
            os.close(self._tmp)
            self._tmp = None

    async def restart(self) -> Sequence[Launch]:
        self.thaw()
        return launches(await self._order({"op": "restart"}))

    async def stop_runtime(self) -> None:
        self.peak_memory()  # the last chance to look at the processes
        self.thaw()
        await self._order({"op": "stop"})

    def freeze(self) -> None:
        if self._frozen or self._channel is None:
            return
        self._frozen = True
        if self._group.can_freeze:
            self._group.freeze()
        else:
            self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if not self._frozen:
            return
        self._frozen = False
        if self._group.can_freeze:
            self._group.thaw()
        else:
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        self._tell({"op": "signal", "signal": number})

    def peak_memory(self) -> int:
        charged = self._group.peak()
        if charged != self._charged or not charged:  # nothing new means no new peak: the usual case, and quick
            self._charged = charged
            self._raise_peak(max(charged - self._group.cached(), self._resident()))
        return self._peak

    def _raise_peak(self, measured: int) -> None:
        self._peak = min(max(measured, self._peak), self._memory * MIB)

    def _resident(self) -> int:
        """Bytes: the sum of the resident high-water marks of the function's processes."""
        total = 0
        for pid in self._group.processes() or _descendants(host_pid(self._pidfd)):
            if pid == self._pid:  # the init of a container is in its group
                continue
            with contextlib.suppress(OSError, ValueError, IndexError):
                status = Path(f"/proc/{pid}/status").read_text()
                total += int(status.split("VmHWM:")[1].split()[0]) * 1024
        return total

    async def destroy(self) -> None:
        if self._destruction is None:
            self._destruction = asyncio.get_running_loop().create_task(self._destroy())
        await asyncio.shield(self._destruction)  # whoever calls again waits for the same end

    async def _destroy(self) -> None:
        self._exit = None
        await self._retire()
        pidfd, self._pidfd, pid, self._pid = self._pidfd, -1, self._pid, 0
        if pidfd >= 0:
            self._kill(pidfd)
            self.zygote.forget(pid)
        if self._channel is not None:
            self._lost()
        if self.log_fd >= 0:
            os.close(self.log_fd)
            self.log_fd = -1
        if hasattr(self, "listener"):
            self.listener.close()
        if self.door is not None:
            self.door.close()
        if self._connection is not None:
            self._means.network.detach(self._connection)
            self._connection = None
        self._drop_tmp()
        if pidfd >= 0:
            await ended(pidfd)
            os.close(pidfd)
        group, self._group = self._group, cgroups.NoGroup()
        await asyncio.get_running_loop().run_in_executor(self._means.removers, group.remove)
        await self._give_back()
        self._released(self)

    def _kill(self, pidfd: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        self.thaw()

    async def _give_back(self) -> None:
        """What else a kind of sandbox holds."""


async def ended(pidfd: int) -> None:
    """Until the init is gone: every other process of its namespace has gone before it."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(pidfd, gone.set)
    try:
        await asyncio.wait_for(gone.wait(), END_SECONDS)
    except TimeoutError:
        pass  # stuck in the kernel; removing the group tries once more
    finally:
        loop.remove_reader(pidfd)


def launches(answer: _Answer) -> list[Launch]:
    message, outputs = answer
    found = message["extensions"]
    outputs = outputs or [-1] * len(found)
    return [Launch(one["name"], fd, one["error"], one["message"]) for one, fd in zip(found, outputs, strict=True)]


def host_pid(pidfd: int) -> int:
    """The number that a process of another process namespace has here; -1 when it is gone."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/self/fdinfo/{pidfd}").read_text().split("Pid:")[1].split()[0])
    return -1


def _descendants(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [found for child in children for found in (child, *_descendants(child))]
    return []
