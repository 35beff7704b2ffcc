"""The sandboxes of one runtime that wait for their function, and the zygote that makes them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from lambent.engine.drivers.fenced import NamespaceSandbox
from lambent.engine.drivers.zygote import Zygote
from lambent.engine.sandbox import SandboxError

_log = logging.getLogger("lambent.sandbox")


class Stems:
    """The waiting sandboxes of one runtime, and the zygote that makes them."""

    def __init__(
        self,
        runtime: str,
        target: int,
        plan: Callable[[], dict[str, Any]],
        common: dict[str, Any],
        make: Callable[[Zygote], NamespaceSandbox],
    ) -> None:
        """Keeps `target` sandboxes of `runtime` waiting; `make` gives one that is not created yet.

        `plan` and `common` are what its zygote is booted with.
        """
        self._runtime = runtime
        self._target = target
        self._plan = plan
        self._common = common
        self._new = make
        self._waiting: deque[NamespaceSandbox] = deque()
        self._zygote: Zygote | None = None
        self._booting = asyncio.Lock()
        self._refill: asyncio.Task[None] | None = None
        self.stopping = False

    async def zygote(self) -> Zygote:
        async with self._booting:
            if self._zygote is None or not self._zygote.alive:
                zygote = Zygote()
                await zygote.boot(self._plan(), self._common)
                self._zygote = zygote
        return self._zygote

    async def take(self) -> NamespaceSandbox:
        sandbox = await self._first_alive() or await self._make()
        self.fill()
        return sandbox

    async def _first_alive(self) -> NamespaceSandbox | None:
        """A waiting sandbox; those that have died while they waited are cleared away."""
        while self._waiting:
            sandbox = self._waiting.popleft()
            if sandbox.alive:
                return sandbox
            await sandbox.destroy()
        return None

    async def warm(self) -> None:
        if not self._waiting:
            self._waiting.append(await self._make())
        self.fill()

    def fill(self) -> None:
        """Have the pool refilled in the background, off everybody's path."""
        if not self.stopping and (self._refill is None or self._refill.done()):
            self._refill = asyncio.get_running_loop().create_task(self._fill())

    async def _fill(self) -> None:
        try:
            while len(self._waiting) < self._target and not self.stopping:
                self._waiting.append(await self._make())
        except (SandboxError, OSError) as error:
            _log.error("cannot prepare a sandbox for %s: %s", self._runtime, error)

    async def _make(self) -> NamespaceSandbox:
        sandbox = self._new(await self.zygote())
        try:
            await sandbox.create()
        except BaseException:
            await sandbox.destroy()
            raise
        return sandbox

    async def stop(self) -> None:
        self.stopping = True
        if self._refill is not None:
            self._refill.cancel()
            await asyncio.gather(self._refill, return_exceptions=True)

    async def drain(self) -> None:
        """Stop, and let go of what waits."""
        await self.stop()
        while self._waiting:
            await self._waiting.popleft().destroy()

    def stop_zygote(self) -> None:
        if self._zygote is not None:
            self._zygote.stop()
