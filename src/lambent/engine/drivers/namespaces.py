"""Isolation by Linux namespaces, cgroups and seccomp: a zygote per runtime and waiting sandboxes in front of it."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lambent.base import machine
from lambent.engine.drivers import cgroups, disks, mounts, root
from lambent.engine.drivers.fenced import Means, NamespaceSandbox
from lambent.engine.drivers.forks import Fork
from lambent.engine.drivers.network import Network
from lambent.engine.drivers.shares import Shares
from lambent.engine.drivers.stems import Stems
from lambent.engine.drivers.zygote import Zygote
from lambent.engine.runtimes import Runtime, python
from lambent.engine.sandbox import SandboxError


class NamespaceDriver:
    """Root, or an unprivileged user where user namespaces are allowed."""

    name = "namespaces"
    no_images = ""

    def __init__(
        self,
        directory: Path,
        trees: Path,
        *,
        tag: str,
        stems: int = 2,
        tmp: str = "auto",
        own_client: bool = True,
        file_systems: Mapping[str, Path] | None = None,
        door: int | None = None,
        network: Network | None = None,
    ) -> None:
        """`directory` is ours to use; `trees` holds the unpacked code; `tag` tells servers of one machine apart.

        `stems` sandboxes of each runtime wait ready. `tmp` is "disk", "memory", or "auto" for disk where it can be.
        `own_client` False runs AWS's C extension in the Python runtime client where it fits. `file_systems` are the
        directories that stand for access points, by ARN. At the port `door` of its own network a sandbox can reach this
        server's AWS API. `network` is what it reaches outside; None: nothing.
        """
        self._directory = directory
        self._trees = trees
        self._stems_per_runtime = stems
        self._own_client = own_client
        self._door = door
        no_disks = disks.wanted(tmp)
        user_namespace = os.geteuid() != 0
        self._means = Means(
            user_namespace,
            groups=cgroups.NoGroups() if user_namespace else cgroups.detect(tag),
            disks=None if no_disks else disks.Disks(directory / "disks"),
            no_disks=no_disks,
            mounts=None if mounts.available(trees) else mounts.Mounts(trees),
            shares=Shares(file_systems or {}),
            network=network or Network(),
        )
        self._pools: dict[str, tuple[Runtime, Stems]] = {}
        self._retired: list[Stems] = []
        self._draining: set[asyncio.Task[None]] = set()
        self._slots = itertools.count()
        self._sandboxes: set[NamespaceSandbox] = set()

    @property
    def no_file_systems(self) -> str:
        return self._means.no_file_systems

    @property
    def weaknesses(self) -> tuple[str, ...]:
        return self._means.weaknesses

    async def start(self) -> None:
        await asyncio.to_thread(_check_machine)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._directory / "root").mkdir(exist_ok=True)
        (self._directory / "passwd").write_text(root.users(user_namespace=self._means.user_namespace))
        await self._means.start()
        await asyncio.to_thread(mounts.make_skeleton, self._trees, self._means.network.resolv_conf)

    def _plan(self, runtime: Runtime) -> dict[str, Any]:
        if not self._own_client and _fits_c_extension(runtime):
            runtime = python.with_aws_transport(runtime)
        trees = self._trees if self._means.mounts is None else None
        means = self._means
        return root.launch_plan(
            runtime,
            self._directory,
            trees,
            user_namespace=means.user_namespace,
            resolv_conf=means.network.resolv_conf,
        )

    def _make(self, zygote: Zygote) -> NamespaceSandbox:
        sandbox = NamespaceSandbox(self._means, zygote, next(self._slots), self._sandboxes.discard)
        sandbox.make_fork = self._fork
        self._sandboxes.add(sandbox)
        return sandbox

    async def _fork(self, template: NamespaceSandbox, memory: int) -> NamespaceSandbox:
        fork = Fork(self._means, template, next(self._slots), self._sandboxes.discard, memory)
        self._sandboxes.add(fork)
        try:
            await fork.create()
        except BaseException:
            await fork.destroy()
            raise
        return fork

    def _pool(self, runtime: Runtime) -> Stems:
        """The pool of exactly this runtime: one that was installed anew has a pool of its own."""
        known, pool = self._pools.get(runtime.name, (None, None))
        if pool is None or known is not runtime:
            if pool is not None:
                self._retire(pool)
            common = root.common_plan(runtime, user_namespace=self._means.user_namespace, door=self._door)
            plan, make = functools.partial(self._plan, runtime), self._make
            pool = Stems(runtime.name, self._stems_per_runtime, plan, common, make)
            self._pools[runtime.name] = runtime, pool
        return pool

    def _retire(self, pool: Stems) -> None:
        """Let a pool make and hand out no more. Its zygote guards the sandboxes that still run."""
        self._retired.append(pool)
        task = asyncio.get_running_loop().create_task(pool.drain())
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    def _every_pool(self) -> list[Stems]:
        return [*(pool for _runtime, pool in self._pools.values()), *self._retired]

    async def warm(self, runtime: Runtime) -> None:
        await self._pool(runtime).warm()

    async def acquire(self, runtime: Runtime) -> NamespaceSandbox:
        return await self._pool(runtime).take()

    async def stop(self) -> None:
        for pool in self._every_pool():
            await pool.stop()
        await asyncio.gather(*self._draining, return_exceptions=True)
        await asyncio.gather(*(sandbox.destroy() for sandbox in list(self._sandboxes)))
        for pool in self._every_pool():
            pool.stop_zygote()
        await self._means.stop()


def _check_machine() -> None:
    """Try what every sandbox needs, in a child, so that a machine that will not do says so at the start."""
    checks = [machine.namespaces(), machine.seccomp()]
    if missing := [check for check in checks if check.status == machine.MISSING]:
        lines = [f"{check.detail} {check.remedy or ''}".strip() for check in missing]
        raise SandboxError(
            "this machine allows no sandbox: " + "; ".join(lines) + ". `lambent doctor` says more; --isolation process"
            " runs functions without any isolation"
        )


def _fits_c_extension(runtime: Runtime) -> bool:
    return runtime.name == f"python{sys.version_info[0]}.{sys.version_info[1]}"
