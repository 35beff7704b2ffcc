"""One init phase: the extensions register, then the runtime loads the function, until all ask for their first event.

Source: "Init phase" of AWS's Extensions API. It happens again, as part of an invocation, after a failed one and after
a lost runtime.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from lambent.base.clock import Clock
from lambent.engine.extensions import Registry
from lambent.engine.failures import platform_error
from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.platform_events import PlatformEvents
from lambent.engine.processes import Processes
from lambent.engine.sandbox import Launch, SandboxError

INIT_SECONDS = 10.0  # AWS's cap on the init phase of an on-demand environment
_LATE = Outcome(b"", "Unhandled", None, "timeout")


class InitPhase:
    def __init__(
        self,
        name: str,
        clock: Clock,
        processes: Processes,
        events: PlatformEvents,
        extensions: Registry,
        *,
        told: bool = True,
    ) -> None:
        """`name`: "init", or "invoke" for one that is part of an invocation. `extensions`: none yet.

        `told` is False where a snapshot of what has been told of already is taken up again.
        """
        self.name = name
        self._told = told
        self._clock = clock
        self._processes = processes
        self._events = events
        self._extensions = extensions
        self._outcome: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self._started = clock.monotonic()

    @property
    def over(self) -> bool:
        return self._outcome.done()

    def succeed(self) -> None:
        self._outcome.set_result(None)

    def fail(self, outcome: Outcome) -> bool:
        """False when it is over already."""
        if self.over:
            return False
        self._outcome.set_result(outcome)
        return True

    async def run(
        self, begin: Callable[[], Awaitable[Sequence[Launch]]], seconds: float, request_id: str
    ) -> Outcome | None:
        """Start what `begin` starts and wait, for `seconds` at most: None for success, else how it failed."""
        if self._told:
            self._events.init_start(self.name)
        unlaunched = await self._processes.start(begin, self._extensions)
        starting = None
        if unlaunched is not None:
            self.fail(platform_error(request_id, "Extension.LaunchError", unlaunched))
        elif self._extensions.members:
            starting = asyncio.get_running_loop().create_task(self._start_runtime(request_id))
        try:
            return await asyncio.wait_for(asyncio.shield(self._outcome), seconds)
        except TimeoutError:
            self.fail(_LATE)
            return _LATE
        finally:
            if starting is not None:
                starting.cancel()

    async def _start_runtime(self, request_id: str) -> None:
        try:
            await self._processes.start_runtime()
        except SandboxError as error:
            self.fail(platform_error(request_id, "Sandbox.Failure", str(error)))

    def report(self, outcome: Outcome | None, invocation: Invocation | None) -> float:
        """Tell how it ended, and how the extensions stand; the seconds that it took."""
        seconds = self._clock.monotonic() - self._started
        if not self._told:
            return seconds
        if outcome is not None:
            self._events.init_runtime_done(self.name, outcome)
        for extension in self._extensions:
            self._events.extension(extension, invocation)
        self._events.init_report(self.name, seconds, outcome, invocation)
        return seconds
