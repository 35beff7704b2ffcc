"""Going on from a snapshot: what AWS calls the Restore phase.

The runtime has run its init phase and asked for `/restore/next`; the environment waits there, frozen. Restoring answers
that call; the runtime runs the function's hooks and asks for its first event. Source: "Restore phase" of AWS's guide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lambent.base.clock import Clock
from lambent.engine.invocation import Outcome
from lambent.engine.platform_events import PlatformEvents
from lambent.wire.errors import AwsError

SNAP_START = "snap-start"
RESTORE_SECONDS = 10.0  # AWS's limit for the hooks
_LATE = Outcome(b"", "Unhandled", None, "timeout")


class RestorePhase:
    def __init__(self, clock: Clock, events: PlatformEvents) -> None:
        self._clock = clock
        self._events = events
        self._outcome: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self._started = clock.monotonic()
        self.seconds = 0.0

    async def run(self, go_on: Callable[[], None]) -> Outcome | None:
        """Let the runtime go on and wait until it asks for its first event: None for success, else how it failed."""
        self._events.restore_start()
        go_on()
        try:
            return await asyncio.wait_for(asyncio.shield(self._outcome), RESTORE_SECONDS)
        except TimeoutError:
            self.end(_LATE)
            return _LATE

    def end(self, outcome: Outcome | None) -> bool:
        """Over; None for success. False when it was over already."""
        if self._outcome.done():
            return False
        self.seconds = self._clock.monotonic() - self._started
        self._outcome.set_result(outcome)
        self._events.restore_report(self.seconds, outcome)
        return True


def refusal(outcome: Outcome) -> AwsError:
    """What an invocation that waited for the restore gets to hear."""
    if outcome.status == "timeout":
        problem = "Lambda couldn't restore the snapshot within the timeout limit."
        return AwsError("SnapStartTimeoutException", problem, Type="User")
    problem = "The afterRestore() runtime hook encountered an error. For more information, check the function's logs."
    return AwsError("SnapStartException", problem, Type="User")
