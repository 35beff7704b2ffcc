"""Isolation by an OCI runtime: crun, runc, or gVisor's runsc. One bundle serves them all.

A container is made when its function is known, for its mounts are part of the bundle. What runs in it, and how the
server speaks with it, is the same as in a sandbox of namespaces.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambent.base import containers
from lambent.base.archives import remove_tree
from lambent.base.machine import OK
from lambent.engine.drivers import bundle, cgroups, disks, interpreter, mounts, root
from lambent.engine.drivers.fenced import MIB, Means, NamespaceSandbox, launches
from lambent.engine.drivers.keeper import Keeper
from lambent.engine.drivers.network import Network
from lambent.engine.drivers.shares import Shares
from lambent.engine.guest import layout, wire
from lambent.engine.runtimes import Runtime, images
from lambent.engine.sandbox import Assignment, Launch, SandboxError

_CONTROLLERS = (  # of cgroup v1: OCI runtimes insist on some that Lambent has no use for
    *cgroups.V1_CONTROLLERS, "blkio", "cpuacct", "cpuset", "devices", "hugetlb", "net_cls", "net_prio", "perf_event",
)  # fmt: skip
_GVISOR_MEMORY = 64  # MiB that gVisor's own kernel may use above the function's memory


@dataclass(frozen=True, slots=True)
class Engine:
    """An OCI runtime as it is installed here."""

    isolation: str  # "oci" or "gvisor"
    command: Path
    options: tuple[str, ...]  # before its subcommand
    memory: int  # MiB that it needs beside the function's

    @classmethod
    def find(cls, isolation: str, wanted: str) -> Engine:
        """`wanted` is the name of the OCI runtime, a path or "auto". SandboxError where there is none."""
        command = containers.find(isolation, wanted)
        if command is None:
            check = containers.check(isolation, wanted)
            raise SandboxError(f"{check.detail}. {check.remedy or ''}".strip())
        return cls(isolation, command, containers.options(isolation), _GVISOR_MEMORY if isolation == "gvisor" else 0)


class ContainerSandbox(NamespaceSandbox):
    """One container, made anew when it has been lost."""

    def __init__(
        self,
        means: Means,
        driver: OciDriver,
        runtime: Runtime,
        keeper: Keeper,
        slot: int,
        released: Callable[[NamespaceSandbox], None],
    ) -> None:
        super().__init__(means, keeper, slot, released)
        self._driver = driver
        self._runtime = runtime
        self._keeper = keeper
        self._order_of_start: dict[str, Any] = {}
        self._output = -1
        self._network = ""
        self._directory = Path()

    async def create(self) -> None:
        """A network namespace with the server's sockets: the rest waits for the function."""
        reader, self._output = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reader, False)
        self.log_fd = reader
        request = {"op": "open", "sandbox": self.id, "listeners": root.listeners(door=self._driver.door)}
        answer, fds = await self._keeper.ask(request)
        self._listen([socket.socket(fileno=fd) for fd in fds])
        self._network, self._directory = answer["network"], Path(answer["directory"])
        namespace = os.open(self._network, os.O_RDONLY | os.O_CLOEXEC)
        try:
            await self._connect(namespace)
        finally:
            os.close(namespace)

    async def assign(self, assignment: Assignment) -> Sequence[Launch]:
        if self.log_fd < 0:
            raise SandboxError("the sandbox has ended")
        self._memory = assignment.memory
        await self._fill(assignment)
        self._order_of_start = self._start_order(assignment)
        return await self._start()

    async def _fill(self, assignment: Assignment) -> None:
        """Write the bundle and mount what goes into it."""
        found = await self._mounts(assignment)
        trees = self._driver.trees(assignment)
        tops = {"/mnt" if target.startswith("/mnt/") else target for target in ("/tmp", *found, *trees)}
        places = {target: self._directory / _place(target) for target in sorted(tops)}
        container = self._driver.container(
            self._runtime,
            image=places.pop(layout.IMAGE, None),
            binds=places,
            network=self._network,
            sandbox=self.id,
            memory=assignment.memory,
        )
        request = {
            "op": "fill",
            "sandbox": self.id,
            "mounts": [_place(target) for target in found],
            "trees": {_place(target): layers for target, layers in trees.items()},
            "tmp_size": assignment.ephemeral_storage * MIB,
            "config": bundle.config(container),
        }
        try:
            await self._keeper.ask(request, tuple(found.values()))
        finally:
            for fd in found.values():
                os.close(fd)

    async def _mounts(self, assignment: Assignment) -> dict[str, int]:
        found = await super()._mounts(assignment)
        if self._means.disks is not None and "/tmp" not in found:  # no disk has waited
            found["/tmp"] = await self._make(self._means.disks.create, assignment.ephemeral_storage)
        return found

    async def _make(self, make: Callable[[Any], Any], what: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._means.makers, make, what)

    async def _start(self) -> Sequence[Launch]:
        """Have the container made and the runtime started in it."""
        self._group = await self._make(self._means.groups.create, self.id)
        self._group.limit(self._memory + self._driver.engine.memory)
        self._fenced, self._kills = asyncio.get_running_loop().create_future(), 0
        with self._open_channel() as theirs:
            assert self._channel is not None
            common = root.common_plan(self._runtime, user_namespace=self._means.user_namespace, door=self._driver.door)
            own = {"passes_descriptors": self._driver.engine.isolation != "gvisor"}
            wire.send(self._channel, common | root.spawn_plan(self.slot) | own)
            try:
                self._pid, self._pidfd = await self._keeper.run(self.id, theirs, self._output)
            except SandboxError as error:
                raise SandboxError(f"{error}: {self._last_words()}") from error
        if (freezer := self._group.freezer_fd()) is not None:
            await self._keeper.ask({"op": "guard", "sandbox": self.id}, [freezer])
        await self._fenced
        return launches(await self._order(self._order_of_start))

    def _resident(self) -> int:
        """What gVisor's processes show of the function's memory they show more than once."""
        return 0 if self._driver.engine.isolation == "gvisor" else super()._resident()

    async def stop_runtime(self) -> None:
        if self._channel is not None:
            await super().stop_runtime()

    async def restart(self) -> Sequence[Launch]:
        if self._channel is not None:
            return await super().restart()
        if self.log_fd < 0 or not self._order_of_start:
            raise SandboxError("the sandbox has ended")
        await self._discard()
        return await self._start()

    async def open_socket(self) -> socket.socket:
        """Made by the keeper, for no descriptor comes out of gVisor."""
        if self.log_fd < 0:
            raise SandboxError("the sandbox has ended")
        _answer, fds = await self._keeper.ask({"op": "socket", "sandbox": self.id})
        made = socket.socket(fileno=fds[0])
        made.setblocking(False)
        return made

    async def _discard(self) -> None:
        """Delete what is left of a container that has ended; what its bundle holds stays."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._pidfd, self._pid, self._frozen = -1, 0, False
        group, self._group = self._group, cgroups.NoGroup()
        await asyncio.get_running_loop().run_in_executor(self._means.removers, group.remove)
        await self._keeper.ask({"op": "delete", "sandbox": self.id})

    async def _give_back(self) -> None:
        if self._output >= 0:
            os.close(self._output)
            self._output = -1
        with contextlib.suppress(SandboxError):  # the keeper is gone, and with it what it kept
            await self._keeper.ask({"op": "delete", "sandbox": self.id})
            await self._keeper.ask({"op": "close", "sandbox": self.id})


def _place(target: str) -> str:
    """In a bundle, of what lies at `target` in the container."""
    return target.strip("/")


class OciDriver:
    """Root, or with crun an unprivileged user where user namespaces are allowed."""

    no_images = ""

    def __init__(
        self,
        directory: Path,
        trees: Path,
        *,
        tag: str,
        engine: Engine,
        tmp: str = "auto",
        file_systems: Mapping[str, Path] | None = None,
        door: int | None = None,
        network: Network | None = None,
    ) -> None:
        """`engine` is the OCI runtime; all else is as with the namespace driver."""
        self.engine = engine
        self.door = door
        self.name = engine.isolation
        self._directory = directory
        self._trees = trees
        no_disks, user_namespace = disks.wanted(tmp), os.geteuid() != 0
        self._means = Means(
            user_namespace,
            groups=cgroups.NoGroups() if user_namespace else cgroups.detect(tag, _CONTROLLERS),
            disks=None if no_disks else disks.Disks(directory / "disks"),
            no_disks=no_disks,
            mounts=None if mounts.available(trees) else mounts.Mounts(trees, above=(layout.INIT,)),
            shares=Shares(file_systems or {}, through_root=engine.isolation == "gvisor"),
            network=network or Network(),
        )
        self._keeper: Keeper | None = None
        self._booting = asyncio.Lock()
        self._plans: dict[str, dict[str, Any]] = {}  # by runtime: the root that the keeper has laid out
        self._slots = itertools.count()
        self._sandboxes: set[NamespaceSandbox] = set()

    @property
    def no_file_systems(self) -> str:
        return self._means.no_file_systems

    @property
    def weaknesses(self) -> tuple[str, ...]:
        return self._means.weaknesses

    async def start(self) -> None:
        check = await asyncio.to_thread(containers.check, self.engine.isolation, str(self.engine.command))
        if check.status != OK:
            raise SandboxError(f"{check.detail}. {check.remedy or ''}".strip())
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._means.start()
        await asyncio.to_thread(self._clear)
        await asyncio.to_thread(mounts.make_skeleton, self._trees, self._means.network.resolv_conf)

    def _clear(self) -> None:
        """Forget what a killed server left."""
        for name in ("state", "containers", "roots"):
            remove_tree(self._directory / name)
            (self._directory / name).mkdir(mode=0o700)
        (self._directory / "passwd").write_text(root.users(user_namespace=self._means.user_namespace))

    async def _ready(self, runtime: Runtime) -> Keeper:
        """The keeper, with the root of `runtime` laid out where it does not bring its own."""
        async with self._booting:
            if self._keeper is None or not self._keeper.alive:
                self._plans.clear()
                self._keeper = Keeper()
                await self._keeper.boot(self._keeper_plan())
            if runtime.name not in self._plans and not _brings_root(runtime):
                plan = root.launch_plan(
                    runtime,
                    self._directory,
                    None,
                    user_namespace=self._means.user_namespace,
                    resolv_conf=self._means.network.resolv_conf,
                )
                plan["root"] = str(self._directory / "roots" / runtime.name)
                await self._keeper.ask({"op": "root", "plan": plan})
                self._plans[runtime.name] = plan
            return self._keeper

    def _keeper_plan(self) -> dict[str, Any]:
        engine = self.engine
        return {
            "directory": str(self._directory / "containers"),
            "command": [str(engine.command), *engine.options, "--root", str(self._directory / "state")],
            "user_namespace": self._means.user_namespace,
            "hierarchies": [str(path) for path in self._means.groups.hierarchies],
        }

    def trees(self, assignment: Assignment) -> dict[str, list[str]]:
        """Where → the directories, upmost first, that the keeper lays over each other there: none where mounts come."""
        if self._means.mounts is not None:
            return {}
        found = {}
        if assignment.image:
            found[layout.IMAGE] = [layout.INIT, *layout.stack(assignment.image)]
        if assignment.code:
            found["/var/task"] = [assignment.code]
        if assignment.layers:
            found["/opt"] = list(dict.fromkeys(reversed(assignment.layers)))
        return {target: [str(self._trees / name) for name in names] for target, names in found.items()}

    def container(
        self, runtime: Runtime, image: Path | None, binds: Mapping[str, Path], **known: Any
    ) -> bundle.Container:
        """What the bundle of a sandbox says. `image` is its root, None for that of the runtime; `known` is what differs
        between those of one runtime."""
        if image is not None:
            place, command, environment = image, root.image_command(), {"LANG": "C.UTF-8"}
            binds = {**{inside: path for path, inside in interpreter.binds().items()}, **binds}
        else:
            plan = self._plans[runtime.name]
            place, command, environment = Path(plan["root"]), root.container_command(plan), plan["environment"]
        return bundle.Container(
            root=place,
            command=command,
            environment=environment,
            binds=binds,
            rlimits=root.RLIMITS,
            group=self._means.groups.path(known.pop("sandbox")),
            memory=known.pop("memory") + self.engine.memory,
            user_namespace=self._means.user_namespace,
            **known,
        )

    async def warm(self, runtime: Runtime) -> None:
        """A container is made of its function's bundle, so none can wait; the root of the runtime can."""
        await self._ready(runtime)

    async def acquire(self, runtime: Runtime) -> ContainerSandbox:
        keeper = await self._ready(runtime)
        sandbox = ContainerSandbox(self._means, self, runtime, keeper, next(self._slots), self._sandboxes.discard)
        self._sandboxes.add(sandbox)
        try:
            await sandbox.create()
        except BaseException:
            await sandbox.destroy()
            raise
        return sandbox

    async def stop(self) -> None:
        await asyncio.gather(*(sandbox.destroy() for sandbox in list(self._sandboxes)))
        if self._keeper is not None:
            self._keeper.stop()
        await self._means.stop()


def _brings_root(runtime: Runtime) -> bool:
    return bool(runtime.layers) or runtime is images.RUNTIME
