"""The sandboxes of one runtime that wait for their function, and the zygote that makes them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from lambent.base import memory
from lambent.engine.drivers import sizing
from lambent.engine.drivers.fenced import NamespaceSandbox
from lambent.engine.drivers.zygote import Zygote
from lambent.engine.sandbox import SandboxError

_log = logging.getLogger("lambent.sandbox")

QUIET_SECONDS = 0.02  # without a cold start, until the pool is refilled: that takes a processor


class Stems:
    """The waiting sandboxes of one runtime, and the zygote that makes them."""

    def __init__(
        self,
        runtime: str,
        least: int,
        plan: Callable[[], dict[str, Any]],
        common: dict[str, Any],
        make: Callable[[Zygote], NamespaceSandbox],
    ) -> None:
        """Keeps `least` sandboxes of `runtime` waiting, more after busy times. `make` gives one to be created.

        `plan` and `common` are what its zygote is booted with.
        """
        self._runtime = runtime
        self._least = least
        self._plan = plan
        self._common = common
        self._new = make
        self._waiting: deque[NamespaceSandbox] = deque()
        self._zygote: Zygote | None = None
        self._booting = asyncio.Lock()
        self._refill: asyncio.Task[None] | None = None
        self._recent = sizing.Recent()
        self._needed = 0  # sandboxes that somebody waits for while they are made
        self._quiet = 0.0  # when, on the loop's clock, refilling stands in nobody's way any more
        self._review: asyncio.TimerHandle | None = None
        self.stopping = False

    async def zygote(self) -> Zygote:
        async with self._booting:
            if self._zygote is None or not self._zygote.alive:
                zygote = Zygote()
                await zygote.boot(self._plan(), self._common)
                self._zygote = zygote
        return self._zygote

    async def take(self) -> NamespaceSandbox:
        self._recent.note(asyncio.get_running_loop().time())
        self.fill()
        sandbox = await self._first_alive()
        if sandbox is None:
            self._needed += 1
            try:
                sandbox = await self._make()
            finally:
                self._needed -= 1
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
        """Have the pool brought to its size in the background, once nobody has needed a sandbox for a moment."""
        loop = asyncio.get_running_loop()
        self._quiet = loop.time() + QUIET_SECONDS
        if not self.stopping and (self._refill is None or self._refill.done()):
            self._refill = loop.create_task(self._fill())

    async def _fill(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while not self.stopping:
                if self._needed or loop.time() < self._quiet:
                    await asyncio.sleep(max(QUIET_SECONDS / 2, self._quiet - loop.time()))
                    continue
                surplus = len(self._waiting) - self._target()
                if surplus < 0:
                    self._waiting.append(await self._make())
                elif surplus > 0:
                    await self._waiting.popleft().destroy()
                else:
                    break
        except (SandboxError, OSError) as error:
            _log.error("cannot prepare a sandbox for %s: %s", self._runtime, error)
        if not self.stopping and len(self._waiting) > self._least and self._review is None:
            self._review = loop.call_later(sizing.RECENT, self._look_again)

    def _look_again(self) -> None:
        """Demand may have been forgotten: let go of what waits in vain."""
        self._review = None
        self.fill()

    def _target(self) -> int:
        peak = self._recent.peak(asyncio.get_running_loop().time())
        return sizing.target(self._least, peak, memory.read().available if peak > self._least else 0)

    async def _make(self) -> NamespaceSandbox:
        zygote = await self.zygote()
        try:
            return await self._create(zygote)
        except SandboxError:
            if zygote.alive or self.stopping:
                raise
        return await self._create(await self.zygote())  # it died under our hands: the next one can

    async def _create(self, zygote: Zygote) -> NamespaceSandbox:
        sandbox = self._new(zygote)
        try:
            await sandbox.create()
        except BaseException:
            await sandbox.destroy()
            raise
        return sandbox

    async def stop(self) -> None:
        self.stopping = True
        if self._review is not None:
            self._review.cancel()
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
