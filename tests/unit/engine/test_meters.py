"""What is counted of invocations."""

from __future__ import annotations

from typing import Any

import pytest

from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.lease import Leases, NoReservations
from lambent.engine.meters import Count, Meters
from lambent.testing import FakeClock
from lambent.wire.errors import AwsError

from .factory import make_function
from .scripted import ScriptedRuntime
from .test_invoker import Stage

FAILED = Outcome(b"{}", "Unhandled", None, "error")


class Counter:
    def __init__(self) -> None:
        self.clock = FakeClock(600.0)
        self.meters = Meters(self.clock)

    async def run(self, seconds: float = 0.1, outcome: Outcome | None = None, **members: Any) -> None:
        function = make_function()
        invocation = Invocation("id", function, b"{}", members.get("invoked", function.key.arn()), "")
        levels = self.meters.began(invocation, members.get("unreserved", True))
        invocation.started = self.clock.monotonic() + 1
        self.clock.advance(seconds)
        invocation.answered = self.clock.monotonic() + 1
        ended = outcome or Outcome(b"{}")
        self.meters.ended(invocation, levels, ended, members.get("provisioned", False), members.get("spilled", False))

    def take(self) -> dict[tuple[str, int], Count]:
        return {(count.resource, count.minute): count for count in self.meters.take()}


async def test_invocations_errors_and_durations() -> None:
    counter = Counter()
    await counter.run(0.2)
    await counter.run(0.4, FAILED, spilled=True)
    await counter.run(0.6, provisioned=True, spilled=True)
    [count] = counter.take().values()
    tally = count.tally
    assert (tally.invocations, tally.errors, tally.provisioned, tally.spilled) == (3, 1, 1, 1)
    assert (tally.duration.least, tally.duration.most) == (pytest.approx(200), pytest.approx(600))
    assert counter.take() == {}
    await counter.run()
    counter.take()
    [total] = counter.meters.totals.values()
    assert total.invocations == 4


async def test_an_invocation_counts_in_the_minute_it_began_in_under_the_name_it_was_invoked_by() -> None:
    counter = Counter()
    key = make_function().key
    await counter.run(130, invoked=key.arn("live"))
    await counter.run(0.1)
    counter.meters.note(key, "live", "AsyncEventAge", 5.0)
    taken = counter.take()
    assert set(taken) == {(f"{key.name}:live", 10), (key.name, 12), (f"{key.name}:live", 12)}
    assert taken[f"{key.name}:live", 12].tally.others["AsyncEventAge"].sum == 5


async def test_peaks_of_concurrency() -> None:
    meters = Meters(FakeClock())
    function = make_function()
    invocations = [Invocation(str(n), function, b"{}", function.arn, "") for n in range(3)]
    levels = [meters.began(one, unreserved) for one, unreserved in zip(invocations, (True, True, False), strict=True)]
    place = (function.key.account, function.key.region)
    peaks = {("function", *place, function.key.name): 3, ("all", *place): 3, ("unreserved", *place): 2}
    for one, its in zip(invocations[1:], levels[1:], strict=True):
        meters.ended(one, its, None, False, False)
    assert meters.peaks() == peaks
    assert set(meters.peaks().values()) == {1}
    assert meters.running()["all", *place] == 1
    meters.ended(invocations[0], levels[0], None, False, False)
    meters.peaks()
    assert meters.peaks() == {}
    assert list(meters.take()) == []  # none of them got as far as an environment


async def test_the_invoker_counts() -> None:
    async def fails(runtime: ScriptedRuntime) -> None:
        while True:
            request_id, _headers, body = await runtime.next()
            if body == b"fail":
                await runtime.call("POST", f"/2018-06-01/runtime/invocation/{request_id}/error", b"{}")
            else:
                await runtime.answer(request_id, body)

    limits = NoReservations(1)
    stage = Stage(fails, leases=Leases(limits))
    await stage.invoker.start()
    function = make_function()
    for payload in (b"1", b"fail"):
        await stage.invoke(function, payload)
    limits._limit = 0
    with pytest.raises(AwsError, match="Rate Exceeded"):
        await stage.invoke(function)
    await stage.invoker.stop()
    [count] = stage.invoker.meters.take()
    tally = count.tally
    assert (tally.invocations, tally.errors, tally.throttles) == (2, 1, 1)
    assert (tally.duration.count, count.version) == (2, function.version)
    [cold] = stage.invoker.meters.cold_starts.values()
    assert cold.count == 1
