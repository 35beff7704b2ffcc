"""A sandbox whose runtime is a fork of a template: the initialised runtime of another sandbox."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from lambent.engine.drivers import copies, root
from lambent.engine.drivers.fenced import Means, NamespaceSandbox, ended, host_pid
from lambent.engine.sandbox import Assignment, Exit, Launch, SandboxError


class Fork(NamespaceSandbox):
    """Its namespaces lie inside those of its template, which it cannot see."""

    def __init__(
        self,
        means: Means,
        template: NamespaceSandbox,
        slot: int,
        released: Callable[[NamespaceSandbox], None],
        memory: int,
    ) -> None:
        """`memory` is its limit, in MiB."""
        super().__init__(means, template.zygote, slot, released)
        self._template = template
        self._memory = memory
        self._number = 0  # of its runtime, in the template's namespace
        self._ended: Exit | None = None

    async def create(self) -> None:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reader, False)
        self.log_fd = reader
        theirs = self._open_channel()
        uid = root.spawn_plan(self.slot)["uid"]
        try:
            await asyncio.get_running_loop().run_in_executor(self._means.makers, self._prepare, uid)
            files = [("channel", theirs.fileno()), ("output", writer)]
            if self._tmp is not None:
                files.append(("tmp", self._tmp))
            files += [("group", fd) for fd in self._entrances]
            self._number, self._pidfd, listeners = await self._template.spawn_fork(uid, files, self._heard)
            self._listen(listeners)
            await self._connect(self._pidfd)
            self._pid = host_pid(self._pidfd)
            if (freezer := self._group.freezer_fd()) is not None:
                self.zygote.guard(self._pid, freezer)
        finally:
            theirs.close()
            os.close(writer)
            self._drop_tmp()
            self._close_entrances()

    def _prepare(self, uid: int) -> None:
        self._prepare_limits()
        self._group.limit(self._memory)
        if self._tmp is not None:
            copies.copy(Path(f"/proc/{self._template.pid}/root/tmp"), self._tmp, uid)

    def _heard(self, exit: Exit, peak: int) -> None:
        self._raise_peak(peak)
        self._ended = Exit(exit.code, self._ran_out_of_memory())
        if self._exit is not None:
            self._exit(self._ended)

    async def assign(self, assignment: Assignment) -> Sequence[Launch]:
        """It has its function already."""
        if self._ended is not None and self._exit is not None:
            self._exit(self._ended)
        return []

    async def restart(self) -> Sequence[Launch]:
        raise SandboxError("what was restored from a snapshot cannot start again")

    async def stop_runtime(self) -> None:
        self.peak_memory()
        self.thaw()
        if self._pidfd >= 0:
            self._kill(self._pidfd)
            await ended(self._pidfd)

    async def _give_back(self) -> None:
        self._template.fork_gone(self._number)
