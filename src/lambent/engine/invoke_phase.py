"""The invocations of one execution environment, from the event to the report: what AWS calls the Invoke phase.

At most one is with the runtime. Its report may come later than its answer: once the answer has left, or once the
extensions are done too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lambent.base.clock import Clock
from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.platform_events import PlatformEvents
from lambent.engine.processes import Processes

_Answered = tuple[Invocation, Outcome]


class InvokePhase:
    def __init__(
        self,
        clock: Clock,
        processes: Processes,
        events: PlatformEvents,
        *,
        seconds: float,
        peak_memory: Callable[[], int],
        overdue: Callable[[], None],
    ) -> None:
        """`seconds` is the function's timeout; `overdue` is called when it is up and something is still here."""
        self._clock = clock
        self._processes = processes
        self._events = events
        self._seconds = seconds
        self._peak_memory = peak_memory
        self._overdue = overdue
        self._loop = asyncio.get_running_loop()
        self.reported = 0  # invocations
        self.current: Invocation | None = None
        self.held: _Answered | None = None
        """What has been answered while an extension is still at work: its report comes when all are done."""
        self._late: _Answered | None = None
        """What has been answered just now: its report follows once the answer has left."""
        self._timeout: asyncio.TimerHandle | None = None
        self.init_seconds: float | None = None
        """Seconds of the init phase, until the first invocation has reported it."""
        self.restore_seconds: float | None = None
        """Seconds of the restore phase, until the first invocation has reported it."""

    @property
    def latest(self) -> Invocation | None:
        """The one that what happens now belongs to."""
        return self.current or (self.held[0] if self.held is not None else None)

    @property
    def request_id(self) -> str:
        return self.latest.request_id if self.latest is not None else ""

    def waits_for(self, request_id: str) -> bool:
        current = self.current
        return current is not None and current.request_id == request_id and not current.done.done()

    def begin(self, invocation: Invocation) -> None:
        """The invocation's clock starts here, unless a repeated init phase was already part of it."""
        self.report_late()
        self.current = invocation
        if not invocation.started:
            invocation.started = self._clock.monotonic()
            invocation.deadline_epoch = self._clock.time() + self._seconds
            self._events.start(invocation)

    def give(self, invocation: Invocation) -> None:
        """The runtime gets the event now."""
        self.begin(invocation)
        self._timeout = self._loop.call_later(invocation.deadline_epoch - self._clock.time(), self._time_is_up)

    def _time_is_up(self) -> None:
        self._timeout = None
        if self.request_id:
            self._overdue()

    def conclude(self, outcome: Outcome, *, goes_on: bool, extensions: bool) -> None:
        """Settle the current invocation. If the runtime `goes_on`, its report can wait, or has to for `extensions`."""
        invocation = self.current
        if invocation is None:
            return
        invocation.answered = self._clock.monotonic()
        if goes_on and not extensions and invocation.tail is None:
            self._late = (invocation, outcome)
            self.current = None
            self.call_off_timeout()
            invocation.finish(outcome)
            self._loop.call_soon(self.report_late)
        elif goes_on and extensions:
            self._processes.drain()
            self.held = (invocation, outcome)
            self.current = None
            if invocation.tail is None:  # else the answer holds the report
                invocation.finish(outcome)
        else:
            self._processes.drain()
            self._events.runtime_done(invocation, outcome, invocation.answered)
            self._report(invocation, outcome, invocation.answered)

    def report_late(self) -> None:
        if self._late is None:
            return
        (invocation, outcome), self._late = self._late, None
        self._processes.drain()
        self._events.runtime_done(invocation, outcome, invocation.answered)
        self._report(invocation, outcome, invocation.answered)

    def report_held(self, failure: Outcome | None = None) -> None:
        """The invoke phase of what was answered before is over; `failure`: an extension has spoilt its end."""
        if self.held is None:
            return
        (invocation, outcome), self.held = self.held, None
        self._processes.drain()
        self._report(invocation, failure or outcome, self._clock.monotonic(), outcome)

    def _report(self, invocation: Invocation, outcome: Outcome, ended: float, answer: Outcome | None = None) -> None:
        """Write the last lines of an invocation and answer it."""
        self.call_off_timeout()
        self.current = None
        self.reported += 1
        init_seconds, self.init_seconds = self.init_seconds, None
        restore_seconds, self.restore_seconds = self.restore_seconds, None
        peak = self._peak_memory()
        self._events.ended(invocation, outcome, ended, peak, init_seconds, restore_seconds)
        invocation.finish(answer or outcome)

    def call_off_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None
