"""The invoker over scripted sandboxes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from lambent.base.clock import SystemClock
from lambent.base.memory import Reading
from lambent.control.records import Function
from lambent.engine.credentials import EXPIRY
from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.invoker import CREATIONS, Invoker
from lambent.engine.lease import Leases, NoReservations
from lambent.engine.logs import LogBook
from lambent.engine.runtimes import Missing, Runtime
from lambent.engine.sandbox import SandboxError
from lambent.wire.errors import AwsError

from .factory import make_function
from .scripted import ScriptedDriver, ScriptedRuntime, echo, scripted_runtime


class FakeRuntimes:
    def find(self, name: str) -> Runtime | Missing:
        if name == "python3.11":
            return scripted_runtime(name)
        return Missing(name, "no such interpreter", None)


class Stage:
    def __init__(self, script: Callable[[ScriptedRuntime], Any] = echo, **settings: Any) -> None:
        self.driver = ScriptedDriver(script)
        self.logs = LogBook(SystemClock())
        options = {"budget": 10, "idle_seconds": 60.0} | settings
        self.clock = Aging()
        self.invoker = Invoker(self.driver, FakeRuntimes(), self.clock, self.logs, lambda function: {}, **options)  # type: ignore[arg-type]
        self._numbers = 0

    async def invoke(self, function: Function, payload: bytes = b"{}", **members: Any) -> Outcome:
        self._numbers += 1
        invocation = Invocation(f"id-{self._numbers}", function, payload, function.arn, "", **members)
        return await self.invoker.invoke(invocation)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    await stage.invoker.start()
    yield stage
    await stage.invoker.stop()


async def slow(runtime: ScriptedRuntime) -> None:
    while True:
        request_id, _headers, body = await runtime.next()
        await asyncio.sleep(0.05)
        await runtime.answer(request_id, body)


async def test_one_environment_serves_one_after_another(stage: Stage) -> None:
    function = make_function()
    for number in range(5):
        assert await stage.invoke(function, str(number).encode()) == Outcome(str(number).encode())
    assert len(stage.driver.sandboxes) == 1


async def test_no_environment_serves_two_tenants(stage: Stage) -> None:
    function = make_function(extras={"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}})
    for tenant in ("blue", "green", "blue", "green"):
        await stage.invoke(function, tenant=tenant)
    assert len(stage.driver.sandboxes) == 2
    stage.invoker.retire(function.key, ())
    assert stage.invoker.environments() == []


async def test_concurrent_invocations_get_environments_of_their_own() -> None:
    stage = Stage(slow)
    function = make_function()
    await asyncio.gather(*(stage.invoke(function) for _ in range(5)))
    assert len(stage.driver.sandboxes) == 5
    await stage.invoker.stop()
    assert all(sandbox.history[-1] == "destroy" for sandbox in stage.driver.sandboxes)


async def test_the_budget_makes_invocations_wait_their_turn() -> None:
    stage = Stage(slow, budget=2)
    function = make_function()
    outcomes = await asyncio.gather(*(stage.invoke(function, str(n).encode()) for n in range(6)))
    assert [outcome.payload for outcome in outcomes] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert len(stage.driver.sandboxes) == 2
    await stage.invoker.stop()


async def test_another_functions_idle_environment_makes_room() -> None:
    stage = Stage(budget=1)
    await stage.invoke(make_function("a"))
    await stage.invoke(make_function("b"))
    assert [sandbox.history[-1] == "destroy" for sandbox in stage.driver.sandboxes] == [True, False]
    await stage.invoker.stop()


async def test_an_update_retires_what_runs_the_old_code(stage: Stage) -> None:
    old, new = make_function(revision_id="r1"), make_function(revision_id="r2")
    await stage.invoke(old)
    stage.invoker.retire(old.key, [new])
    await asyncio.sleep(0.01)
    assert stage.driver.sandboxes[0].history[-1] == "destroy"
    await stage.invoke(new)
    stage.invoker.retire(new.key, [new])
    await asyncio.sleep(0.01)
    assert "destroy" not in stage.driver.sandboxes[1].history


class Aging(SystemClock):
    """Real time, and what a test adds to it."""

    age = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.age


async def _aged(stage: Stage, seconds: float) -> None:
    stage.clock.age += seconds
    stage.invoker._end_expired()
    await asyncio.sleep(0.01)


async def test_an_environment_ends_before_its_credentials_do(stage: Stage) -> None:
    function = make_function()
    await stage.invoke(function)
    await _aged(stage, EXPIRY - 10)
    await stage.invoke(function)
    assert len(stage.driver.sandboxes) == 1
    await _aged(stage, 11)
    assert stage.driver.sandboxes[0].history[-1] == "destroy"
    await stage.invoke(function)
    assert len(stage.driver.sandboxes) == 2


async def test_old_credentials_end_an_environment_even_while_invocations_wait() -> None:
    stage = Stage(slow, budget=1)
    function = make_function()
    running = [asyncio.ensure_future(stage.invoke(function, str(n).encode())) for n in range(3)]
    while not stage.driver.sandboxes or stage.driver.sandboxes[0].assignment is None:
        await asyncio.sleep(0.001)
    await _aged(stage, EXPIRY + 1)
    assert [outcome.payload for outcome in await asyncio.gather(*running)] == [b"0", b"1", b"2"]
    assert len(stage.driver.sandboxes) == 2
    await stage.invoker.stop()


async def test_provisioned_environments_with_old_credentials_are_replaced_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    function = make_function(version="1")
    assert await stage.invoker.held.hold(function, 2) is None
    end, initialised = stage.invoker._end, []

    def watched(slot: Any) -> None:
        initialised.append(dict(stage.invoker.held.counts(function.key)))
        end(slot)

    monkeypatch.setattr(stage.invoker, "_end", watched)
    await _aged(stage, EXPIRY + 1)
    while len(initialised) < 2:
        await _aged(stage, 0)
    assert initialised == [{"1": 2}, {"1": 2}]
    monkeypatch.undo()
    await stage.invoker.stop()


async def test_what_goes_on_from_a_snapshot_asks_for_new_credentials_instead() -> None:
    stage = Stage()
    function = make_function(version="1", snap_start="PublishedVersions")
    await stage.invoke(function)
    await _aged(stage, EXPIRY + 1)
    assert "destroy" not in stage.driver.sandboxes[0].history
    await stage.invoker.stop()


async def test_a_busy_environment_is_retired_after_its_answer() -> None:
    stage = Stage(slow)
    function = make_function()
    running = asyncio.ensure_future(stage.invoke(function, b"7"))
    while not stage.driver.sandboxes or stage.driver.sandboxes[0].assignment is None:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    stage.invoker.retire(function.key, [])
    assert await running == Outcome(b"7")
    for _ in range(100):
        if stage.driver.sandboxes[0].history[-1] == "destroy":
            break
        await asyncio.sleep(0.01)
    assert stage.driver.sandboxes[0].history[-1] == "destroy"
    await stage.invoker.stop()


async def test_a_failed_init_is_tried_once_more_for_the_invocation() -> None:
    attempts = []

    async def broken(runtime: ScriptedRuntime) -> None:
        attempts.append(1)
        kind = {"Lambda_Runtime_Function_Error_Type": "Runtime.ImportModuleError"}
        await runtime.call("POST", "/runtime/init/error", b'{"errorMessage": "no"}', **kind)

    stage = Stage(broken)
    outcome = await stage.invoke(make_function())
    assert outcome.payload == b'{"errorMessage": "no"}'
    assert outcome.function_error == "Unhandled"
    assert len(attempts) == 2
    messages = [event.message for event in stage.logs.read("000000000000", "us-east-1", "/aws/lambda/f")]
    assert [message.split(" ")[0] for message in messages] == [
        "INIT_START",
        "INIT_REPORT",
        "START",
        "INIT_REPORT",
        "END",
        "REPORT",
    ]
    await stage.invoker.stop()


async def test_an_init_that_succeeds_the_second_time_serves() -> None:
    attempts = []

    async def shaky(runtime: ScriptedRuntime) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            await runtime.call("POST", "/runtime/init/error", b"{}")
        else:
            await echo(runtime)

    stage = Stage(shaky)
    assert await stage.invoke(make_function(), b"5") == Outcome(b"5")
    assert await stage.invoke(make_function(), b"6") == Outcome(b"6")
    assert len(stage.driver.sandboxes) == 1
    await stage.invoker.stop()


async def test_a_missing_runtime_is_an_error_of_the_platform(stage: Stage) -> None:
    with pytest.raises(AwsError) as refusal:
        await stage.invoke(make_function(runtime="python3.9"))
    assert refusal.value.code == "InvalidRuntimeException"
    assert "no such interpreter" in (refusal.value.message or "")


async def test_idle_environments_end() -> None:
    stage = Stage(idle_seconds=0.05)
    await stage.invoker.start()
    await stage.invoke(make_function())
    for _ in range(200):
        if stage.driver.sandboxes[0].history[-1] == "destroy":
            break
        await asyncio.sleep(0.01)
    assert stage.driver.sandboxes[0].history[-1] == "destroy"
    assert stage.invoker.environments() == []
    await stage.invoker.stop()


async def test_the_account_concurrency_is_kept() -> None:
    stage = Stage(slow, leases=Leases(NoReservations(1)))
    function = make_function()
    running = asyncio.ensure_future(stage.invoke(function))
    await asyncio.sleep(0)
    with pytest.raises(AwsError, match="Rate Exceeded"):
        await stage.invoke(function)
    await running
    await stage.invoke(function)
    await stage.invoker.stop()


async def test_a_client_that_leaves_gives_its_place_back() -> None:
    stage = Stage(slow, budget=1, leases=Leases(NoReservations(2)))
    function = make_function()
    running = asyncio.ensure_future(stage.invoke(function))
    waiting = asyncio.ensure_future(stage.invoke(function))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    assert (await stage.invoke(function, b"9")).payload == b"9"
    await stage.invoker.stop()


async def test_one_function_with_hundreds_waiting_does_not_starve_another() -> None:
    stage = Stage(slow, budget=4)
    crowd = [asyncio.ensure_future(stage.invoke(make_function("crowd"))) for _ in range(200)]
    await asyncio.sleep(0.06)  # all four environments are the crowd's by now
    outcome = await stage.invoke(make_function("single"), b"5")
    assert outcome.payload == b"5"
    assert sum(task.done() for task in crowd) < 100, "it did not wait for the crowd to pass"
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    await stage.invoker.stop()


async def test_a_full_house_is_shared_evenly() -> None:
    stage = Stage(slow, budget=6)
    names = ["a", "b", "c"]
    crowd = [asyncio.ensure_future(stage.invoke(make_function(name))) for name in names for _ in range(60)]
    await asyncio.sleep(0.5)
    running = [environment.function.key.name for environment in stage.invoker.environments()]
    assert sorted(running) == ["a", "a", "b", "b", "c", "c"]
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    await stage.invoker.stop()


async def test_only_so_many_sandboxes_are_made_at_once() -> None:
    stage = Stage(slow, budget=1000)
    acquire, making, most = stage.driver.acquire, 0, 0

    async def counted(runtime: Runtime) -> Any:
        nonlocal making, most
        making += 1
        most = max(most, making)
        await asyncio.sleep(0.01)
        making -= 1
        return await acquire(runtime)

    stage.driver.acquire = counted  # type: ignore[method-assign]
    function = make_function()
    await asyncio.gather(*(stage.invoke(function) for _ in range(60)))
    assert 1 < most <= CREATIONS
    await stage.invoker.stop()


async def test_idle_environments_end_when_memory_runs_short() -> None:
    reading = Reading(total=4 << 30, available=2 << 30)
    stage = Stage(idle_seconds=60.0, read_memory=lambda: reading)
    await stage.invoker.start()
    await stage.invoke(make_function("a"))
    await stage.invoke(make_function("b"))
    stage.invoker._relieve()
    assert len(stage.invoker.environments()) == 2
    reading = Reading(total=4 << 30, available=(384 << 20) - 1)
    stage.invoker._relieve()
    assert len(stage.invoker.environments()) == 2, "still above the reserve"
    reading = Reading(total=4 << 30, available=250 << 20)
    stage.driver.sandboxes[0].peak = 200 << 20
    stage.invoker._relieve()
    assert [environment.function.key.name for environment in stage.invoker.environments()] == ["b"]
    assert (await stage.invoke(make_function("a"), b"1")).payload == b"1"
    await stage.invoker.stop()


async def test_a_sandbox_that_dies_before_it_begins_is_replaced(stage: Stage) -> None:
    acquire, lost = stage.driver.acquire, []

    async def dying(runtime: Runtime) -> Any:
        sandbox = await acquire(runtime)
        if not lost:
            lost.append(sandbox)

            async def assign(assignment: Any) -> None:
                raise SandboxError("the sandbox has ended")

            sandbox.assign = assign  # type: ignore[method-assign]
        return sandbox

    stage.driver.acquire = dying  # type: ignore[method-assign]
    assert (await stage.invoke(make_function(), b"5")).payload == b"5"
    assert lost[0].history == ["destroy"]
    assert len(stage.invoker.environments()) == 1


async def test_keys_are_revoked_when_their_environment_has_ended() -> None:
    revoked: list[Any] = []
    stage = Stage(revoke=revoked.append)
    await stage.invoke(make_function())
    assert revoked == []
    await stage.invoker.stop()
    assert revoked == [{}]


async def test_nothing_is_kept_of_functions_that_are_gone(stage: Stage) -> None:
    for number in range(20):
        function = make_function(f"f{number}")
        await stage.invoke(function)
        stage.invoker.retire(function.key, [])
    await asyncio.sleep(0.05)
    for table in ("_fleets", "_slots", "_resting", "_ending"):
        assert not getattr(stage.invoker, table), table
    assert not stage.invoker._turns
