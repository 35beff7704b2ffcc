"""Environments that are forked from a template, as the invoker sees them: the test plays the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from lambent.engine import spares
from lambent.engine.runtimes import Runtime
from lambent.engine.sandbox import Assignment, Exit, Launch, Sandbox, SandboxError
from lambent.engine.states import State

from .factory import make_function
from .scripted import ScriptedDriver, ScriptedRuntime, ScriptedSandbox, echo
from .test_invoker import Stage
from .test_waiting_environments import SNAP, states, until


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spares, "REFILL_SECONDS", 0)


async def forking(runtime: ScriptedRuntime) -> None:
    """What Lambent's client does with SnapStart; the script of a fork begins behind it."""
    status = (await runtime.call("GET", "/runtime/restore/next", Lambent_Forks="1"))[0]
    if status == 200:
        await echo(runtime)


async def forked(runtime: ScriptedRuntime) -> None:
    assert (await runtime.call("GET", "/runtime/restore/next"))[0] == 200
    await echo(runtime)


class Fork(ScriptedSandbox):
    async def assign(self, assignment: Assignment) -> list[Launch]:
        self._run()
        return []

    async def restart(self) -> list[Launch]:
        raise SandboxError("no second start")


class Template(ScriptedSandbox):
    forkable = True

    def __init__(self, driver: Driver) -> None:
        super().__init__(forking)
        self.driver = driver

    async def hold(self, let_go: Callable[[], None]) -> str | None:
        let_go()
        if self.driver.problem:
            asyncio.get_running_loop().create_task(forked(ScriptedRuntime(self.port)))
        return self.driver.problem

    async def fork(self, memory: int) -> Sandbox:
        if self.driver.broken:
            raise SandboxError("cannot fork")
        fork = Fork(forked)
        self.driver.forks.append(fork)
        return fork


class Driver(ScriptedDriver):
    problem: str | None = None
    broken = False

    def __init__(self) -> None:
        super().__init__(forking)
        self.forks: list[Fork] = []

    async def acquire(self, runtime: Runtime) -> ScriptedSandbox:
        sandbox = Template(self)
        self.sandboxes.append(sandbox)
        return sandbox


def stage_with(driver: Driver, **settings: int) -> Stage:
    stage = Stage(forking, **settings)
    stage.driver = driver
    stage.invoker._maker._driver = driver
    return stage


async def test_one_init_phase_serves_them_all() -> None:
    driver = Driver()
    stage, function = stage_with(driver), make_function(**SNAP)
    assert await stage.invoker.spares.make(function) is None
    assert sorted(states(stage)) == [State.SNAPSHOT, State.TEMPLATE]  # one waits already
    stage.invoker.spares.keep(function)
    outcomes = await asyncio.gather(*(stage.invoke(function, b"%d" % n) for n in range(5)))
    assert [outcome.payload for outcome in outcomes] == [b"0", b"1", b"2", b"3", b"4"]
    assert len(driver.sandboxes) == 1
    await stage.invoker.stop()
    assert driver.sandboxes[0].history[-1] == "destroy"


async def test_what_cannot_be_forked_is_a_snapshot_of_the_ordinary_kind() -> None:
    driver = Driver()
    driver.problem = "it has threads"
    stage, function = stage_with(driver), make_function(**SNAP)
    assert await stage.invoker.spares.make(function) is None
    assert states(stage) == [State.SNAPSHOT]
    stage.invoker.spares.keep(function)
    assert (await stage.invoke(function, b"1")).payload == b"1"
    await until(lambda: sorted(states(stage)) == [State.IDLE, State.SNAPSHOT])
    assert (len(driver.sandboxes), driver.forks) == (2, [])
    await stage.invoker.stop()


async def test_a_template_that_fails_is_given_up_and_nobody_hears_of_it() -> None:
    driver = Driver()
    stage, function = stage_with(driver), make_function(**SNAP)
    assert await stage.invoker.spares.make(function) is None
    driver.broken = True
    stage.invoker.spares.keep(function)
    outcomes = await asyncio.gather(*(stage.invoke(function, b"%d" % n) for n in range(3)))
    assert [outcome.payload for outcome in outcomes] == [b"0", b"1", b"2"]
    await until(lambda: State.TEMPLATE not in states(stage))
    await stage.invoker.stop()


async def test_a_lost_template_is_replaced_and_its_forks_live_on() -> None:
    driver = Driver()
    stage, function = stage_with(driver), make_function(**SNAP)
    assert await stage.invoker.spares.make(function) is None
    stage.invoker.spares.keep(function)
    assert (await stage.invoke(function, b"1")).payload == b"1"
    driver.sandboxes[0].exit(Exit(-9))
    await until(lambda: len(driver.sandboxes) == 2 and State.TEMPLATE in states(stage))
    assert (await stage.invoke(function, b"2")).payload == b"2"
    await stage.invoker.stop()


async def test_a_template_takes_no_place() -> None:
    driver = Driver()
    stage, function = stage_with(driver, budget=1), make_function(**SNAP)
    assert await stage.invoker.spares.make(function) is None
    stage.invoker.spares.keep(function)
    assert (await stage.invoke(function, b"1")).payload == b"1"
    await stage.invoker.stop()


async def test_a_fork_that_has_lost_its_runtime_ends() -> None:
    driver = Driver()
    stage, function = stage_with(driver), make_function(**SNAP)
    assert await stage.invoker.spares.make(function) is None
    stage.invoker.spares.keep(function)
    await stage.invoke(function, b"1")
    driver.forks[0].exit(Exit(1))
    await until(lambda: State.IDLE not in states(stage))
    assert (await stage.invoke(function, b"2")).payload == b"2"
    assert len(driver.sandboxes) == 1
    await stage.invoker.stop()
