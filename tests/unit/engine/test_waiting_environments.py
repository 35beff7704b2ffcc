"""The invoker's environments that wait initialised: provisioned ones, and spares of versions with SnapStart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from lambent.base.memory import Reading
from lambent.control.records import Function
from lambent.engine import spares
from lambent.engine.held import INIT_TRIES
from lambent.engine.invocation import Outcome
from lambent.engine.sandbox import Exit, SandboxError
from lambent.engine.states import State

from .factory import make_function
from .scripted import ScriptedRuntime, echo
from .test_invoker import Stage, slow

SNAP = {"version": "1", "snap_start": "PublishedVersions"}


async def snapshotting(runtime: ScriptedRuntime) -> None:
    """What AWS's client does with SnapStart."""
    assert (await runtime.call("GET", "/runtime/restore/next"))[0] == 200
    await echo(runtime)


async def broken(runtime: ScriptedRuntime) -> None:
    headers = {"Lambda_Runtime_Function_Error_Type": "Runtime.Unknown"}
    await runtime.call("POST", "/runtime/init/error", b'{"errorType": "E", "errorMessage": "m"}', **headers)


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def states(stage: Stage) -> list[State]:
    return [environment.state for environment in stage.invoker.environments()]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spares, "REFILL_SECONDS", 0)


# Provisioned concurrency


def version(**settings: Any) -> Function:
    return make_function(**({"version": "1"} | settings))


async def test_what_is_held_is_initialised_and_used_first() -> None:
    stage = Stage(slow, idle_seconds=0.0)
    function = version()
    assert await stage.invoker.held.hold(function, 2) is None
    assert stage.invoker.held.counts(function.key) == {"1": 2}
    await asyncio.gather(*(stage.invoke(function) for _ in range(3)))
    assert len(stage.driver.sandboxes) == 3  # one more than is held
    await until(lambda: states(stage) == [State.IDLE] * 3)
    stage.invoker._end_surplus()
    assert len(stage.invoker.environments()) == 2
    await stage.invoker.stop()


async def test_what_is_held_is_never_evicted_for_others() -> None:
    stage = Stage(budget=2)
    function = version()
    await stage.invoker.held.hold(function, 1)
    for name in ("a", "b"):
        await stage.invoke(make_function(name))
    assert stage.invoker.held.counts(function.key) == {"1": 1}
    with pytest.raises(SandboxError, match="max_environments"):
        await stage.invoker.held.hold(version(name="g"), 2)
    await stage.invoker.stop()


async def test_a_lost_one_is_replaced_and_its_place_is_kept() -> None:
    stage = Stage()
    function = version()
    await stage.invoker.held.hold(function, 1)
    stage.driver.sandboxes[0].exit(Exit(-9))
    await until(lambda: len(stage.driver.sandboxes) == 2 and stage.invoker.held.counts(function.key) == {"1": 1})
    assert (await stage.invoke(function, b"7")).payload == b"7"
    assert len(stage.driver.sandboxes) == 2
    await stage.invoker.stop()


async def test_six_failed_init_phases_are_enough() -> None:
    stage = Stage(broken)
    function = version()
    failure = await stage.invoker.held.hold(function, 1)
    assert isinstance(failure, Outcome)
    assert len(stage.driver.sandboxes) == INIT_TRIES
    stage.invoker.held.release(function.key, {})
    await until(lambda: not stage.invoker.environments())
    assert stage.invoker._fleets == {}
    await stage.invoker.stop()


async def test_released_ones_end_and_nothing_is_kept_of_them() -> None:
    stage = Stage()
    function = version()
    await stage.invoker.held.hold(function, 3)
    stage.invoker.held.release(function.key, {"1": 1})
    await until(lambda: stage.invoker.held.counts(function.key) == {"1": 1})
    stage.invoker.held.release(function.key, {})
    await until(lambda: not stage.invoker.environments())
    assert (stage.invoker._fleets, stage.invoker.held.counts(function.key)) == ({}, {})
    await stage.invoker.stop()


# SnapStart


async def test_a_spare_waits_is_restored_and_replaced() -> None:
    stage = Stage(snapshotting)
    function = make_function(**SNAP)
    assert await stage.invoker.spares.make(function) is None
    stage.invoker.spares.keep(function)
    assert states(stage) == [State.SNAPSHOT]
    assert (await stage.invoke(function, b"1")).payload == b"1"
    await until(lambda: sorted(states(stage)) == [State.IDLE, State.SNAPSHOT])
    assert (await stage.invoke(function, b"2")).payload == b"2"
    assert len(stage.driver.sandboxes) == 2
    await stage.invoker.stop()


async def test_more_than_wait_are_initialised_and_restored_at_once() -> None:
    stage = Stage(snapshotting)
    function = make_function(**SNAP)
    outcomes = await asyncio.gather(*(stage.invoke(function, str(n).encode()) for n in range(4)))
    assert [outcome.payload for outcome in outcomes] == [b"0", b"1", b"2", b"3"]
    await until(lambda: State.SNAPSHOT in states(stage))
    await stage.invoker.stop()


async def test_a_version_that_is_not_served_yet_keeps_its_spare_and_a_deleted_one_loses_it() -> None:
    stage = Stage(snapshotting)
    function = make_function(**SNAP)
    await stage.invoker.spares.make(function)
    stage.invoker.retire(function.key, [])  # something else of the function has changed
    assert states(stage) == [State.SNAPSHOT]
    stage.invoker.spares.keep(function)
    stage.invoker.retire(function.key, [])
    await until(lambda: not stage.invoker.environments())
    assert stage.invoker._fleets == {}
    await stage.invoker.stop()


async def test_a_failed_init_phase_is_told_and_leaves_nothing() -> None:
    stage = Stage(broken)
    function = make_function(**SNAP)
    failure = await stage.invoker.spares.make(function)
    assert isinstance(failure, Outcome)
    assert b"errorMessage" in failure.payload
    stage.invoker.spares.drop(function)
    await until(lambda: not stage.invoker.environments())
    assert stage.invoker._fleets == {}
    await stage.invoker.stop()


async def test_a_spare_gives_way_when_places_or_memory_run_short() -> None:
    reading = Reading(total=4 << 30, available=2 << 30)
    stage = Stage(snapshotting, budget=1, read_memory=lambda: reading)
    function = make_function(**SNAP)
    for _ in range(2):
        assert await stage.invoker.spares.make(function) is None
        stage.invoker.spares.keep(function)
        assert states(stage) == [State.SNAPSHOT]
        if len(stage.driver.sandboxes) == 1:
            reading = Reading(total=4 << 30, available=1 << 20)
            stage.invoker._relieve()
            assert stage.invoker.environments() == []
    other = asyncio.ensure_future(stage.invoke(make_function("g", version="1", snap_start="PublishedVersions")))
    await other
    assert [environment.function.key.name for environment in stage.invoker.environments()] == ["g"]
    await stage.invoker.stop()


async def test_a_spare_that_is_lost_while_it_waits_is_replaced() -> None:
    stage = Stage(snapshotting)
    function = make_function(**SNAP)
    await stage.invoker.spares.make(function)
    stage.invoker.spares.keep(function)
    stage.driver.sandboxes[0].exit(Exit(-9))
    await until(lambda: len(stage.driver.sandboxes) == 2 and states(stage) == [State.SNAPSHOT])
    await stage.invoker.stop()
