"""The shutdown phase: the runtime and the extensions may tidy up, for as long as AWS gives them.

Source: "Shutdown phase" of AWS's Extensions API and the runtime interface emulator. Without extensions nothing is
waited for. The runtime gets SIGTERM, then the extensions that asked for it their SHUTDOWN event; who has not ended in
time is killed.
"""

from __future__ import annotations

import asyncio
import signal

from lambent.base.clock import Clock
from lambent.engine.extensions import SHUTDOWN, Registry
from lambent.engine.sandbox import Exit, Sandbox

INTERNAL_SECONDS = 0.5  # where all extensions are part of the runtime's process
EXTERNAL_SECONDS = 2.0
RUNTIME_SHARE = 0.3  # of these, for the runtime

SPINDOWN, TIMEOUT, FAILURE = "spindown", "timeout", "failure"  # the reasons that extensions are told


class Shutdown:
    """One shutdown of one sandbox's processes."""

    def __init__(self, sandbox: Sandbox, extensions: Registry, clock: Clock, *, runtime_runs: bool) -> None:
        self._sandbox = sandbox
        self._extensions = extensions
        self._clock = clock
        self._runtime_runs = runtime_runs
        self._changed = asyncio.Event()

    def exited(self, exit: Exit) -> None:
        """A process of the sandbox has ended."""
        if exit.extension is None:
            self._runtime_runs = False
        else:
            self._extensions.exited(exit.extension)
        self._changed.set()

    async def run(self, reason: str) -> None:
        """Through the whole phase, until no process of the function is left."""
        self._sandbox.thaw()
        if self._extensions.members:
            external = any(extension.running for extension in self._extensions.external)
            seconds = EXTERNAL_SECONDS if external else INTERNAL_SECONDS
            start = self._clock.monotonic()
            await self._end_runtime(start + (seconds * RUNTIME_SHARE if external else seconds))
            if external:
                await self._end_extensions(start + seconds, reason)
        await self._sandbox.stop_runtime()

    async def _end_runtime(self, deadline: float) -> None:
        if not self._runtime_runs:
            return
        self._sandbox.terminate(signal.SIGTERM)
        while self._runtime_runs:
            if not await self._change_before(deadline):
                self._sandbox.terminate(signal.SIGKILL)
                return

    async def _end_extensions(self, deadline: float, reason: str) -> None:
        left = deadline - self._clock.monotonic()
        event = {
            "eventType": SHUTDOWN,
            "shutdownReason": reason,
            "deadlineMs": int((self._clock.time() + left) * 1000),
        }
        leaving = self._extensions.shutdown(event)
        for extension in self._extensions.external:
            if extension.running and extension not in leaving:
                self._sandbox.terminate(signal.SIGKILL, extension.name)
        while any(extension.running for extension in leaving):
            if not await self._change_before(deadline):
                return

    async def _change_before(self, deadline: float) -> bool:
        """Wait until a process has ended; False when `deadline` (monotonic seconds) comes first."""
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), max(0.0, deadline - self._clock.monotonic()))
        except TimeoutError:
            return False
        return True
