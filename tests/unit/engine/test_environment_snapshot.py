"""An execution environment that waits with a snapshot and is restored, with the test as its runtime."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lambent.base.clock import SystemClock
from lambent.engine import restore_phase
from lambent.engine.container_credentials import ContainerCredentials
from lambent.engine.credentials import EXPIRY
from lambent.engine.environment import Environment
from lambent.engine.failures import platform_error
from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.restore_phase import SNAP_START, refusal
from lambent.engine.sandbox import Exit
from lambent.engine.states import State
from lambent.testing import FakeClock

from .factory import make_function
from .scripted import ScriptedExtension, ScriptedRuntime, ScriptedSandbox, scripted_runtime

KEYS = {"AWS_ACCESS_KEY_ID": "first", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}


class Stage:
    def __init__(self, initialization: str = SNAP_START) -> None:
        self.sandbox = ScriptedSandbox()
        self.runtime = ScriptedRuntime(self.sandbox.port)
        self.log: list[str] = []
        self.function = make_function()
        self.environment = Environment(
            self.function,
            scripted_runtime(),
            self.sandbox,
            SystemClock(),
            log_stream="stream",
            write_log=self.log.append,
            credentials=KEYS,
            changed=lambda environment: None,
            initialization=initialization,
            renew=lambda: {**KEYS, "AWS_ACCESS_KEY_ID": "second"},
        )
        self.parked: asyncio.Task[Any]

    async def snapshot(self) -> None:
        """Through the init phase, to the parked `/restore/next`."""
        starting = asyncio.ensure_future(self.environment.start())
        self.parked = asyncio.ensure_future(self.runtime.call("GET", "/runtime/restore/next"))
        assert await starting is None

    async def restoring(self) -> asyncio.Task[Outcome | None]:
        restoring = asyncio.ensure_future(self.environment.restore())
        assert (await self.parked)[0] == 200
        return restoring


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.environment.destroy()


async def test_from_the_snapshot_to_an_answer(stage: Stage) -> None:
    await stage.snapshot()
    environment = stage.environment
    assert environment.state is State.SNAPSHOT
    while not environment.frozen:
        await asyncio.sleep(0.001)
    restoring = await stage.restoring()
    assert stage.sandbox.history[-1] == "thaw"
    event = asyncio.ensure_future(stage.runtime.next())
    assert await restoring is None
    assert environment.state is State.IDLE
    invocation = Invocation("id-1", stage.function, b"{}", stage.function.arn, "Root=1")
    environment.invoke(invocation)
    await event
    await stage.runtime.answer("id-1", b"1")
    assert (await invocation.done).payload == b"1"
    kinds = [line.split(" ", 1)[0] for line in stage.log]
    assert kinds == ["INIT_START", "INIT_REPORT", "RESTORE_START", "RESTORE_REPORT", "START", "END", "REPORT"]
    assert re.search(r"\tRestore Duration: [\d.]+ ms\tBilled Restore Duration: \d+ ms\t\n", stage.log[-1])
    assert "Init Duration" not in stage.log[-1]


async def test_a_hook_that_fails(stage: Stage) -> None:
    await stage.snapshot()
    restoring = await stage.restoring()
    body = b'{"errorType": "ValueError", "errorMessage": "no"}'
    headers = {"Lambda_Runtime_Function_Error_Type": "Runtime.AfterRestoreError"}
    assert (await stage.runtime.call("POST", "/runtime/restore/error", body, **headers))[0] == 202
    failure = await restoring
    assert failure is not None
    assert (failure.status, failure.error_type) == ("error", "Runtime.AfterRestoreError")
    assert stage.environment.state is State.STALE
    assert stage.log[-1].endswith("\tStatus: error\tError Type: Runtime.AfterRestoreError\n")
    assert refusal(failure).code == "SnapStartException"


async def test_a_hook_that_takes_too_long(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore_phase, "RESTORE_SECONDS", 0.02)
    await stage.snapshot()
    failure = await (await stage.restoring())
    assert failure is not None
    assert failure.status == "timeout"
    assert stage.log[-1].endswith("\tStatus: timeout\n")
    assert refusal(failure).code == "SnapStartTimeoutException"
    assert "stop" in stage.sandbox.history


async def test_a_runtime_that_dies_while_it_is_restored(stage: Stage) -> None:
    await stage.snapshot()
    restoring = await stage.restoring()
    stage.sandbox.exit(Exit(3))
    failure = await restoring
    assert failure is not None
    assert failure.error_type == "Runtime.ExitError"


async def test_a_runtime_that_dies_while_it_waits(stage: Stage) -> None:
    await stage.snapshot()
    stage.sandbox.exit(Exit(-9))
    assert stage.environment.state is State.STALE


async def test_an_environment_that_ends_while_it_is_restored(stage: Stage) -> None:
    await stage.snapshot()
    restoring = await stage.restoring()
    await stage.environment.destroy()
    assert (await restoring) is not None


async def test_nobody_restores_an_ordinary_environment() -> None:
    stage = Stage("on-demand")
    starting = asyncio.ensure_future(stage.environment.start())
    status, _, body = await stage.runtime.call("GET", "/runtime/restore/next")
    assert (status, json.loads(body)["errorType"]) == (403, "InvalidStateTransition")
    assert (await stage.runtime.call("POST", "/runtime/restore/error"))[0] == 403
    headers = {"Authorization": "anything"}
    credentials = ScriptedExtension(stage.sandbox.port, "x")  # another prefix
    assert (await credentials.call("GET", "/2021-04-23/credentials", **headers))[0] == 404
    await stage.environment.destroy()
    assert await starting is not None


async def test_an_init_phase_that_an_invocation_waits_for_goes_through(stage: Stage) -> None:
    await stage.snapshot()
    stage.sandbox.exit(Exit(-9))
    restarting = asyncio.ensure_future(stage.environment.restart(5))
    while stage.environment.state is not State.STARTING:
        await asyncio.sleep(0)
    assert (await stage.runtime.call("GET", "/runtime/restore/next"))[0] == 200
    event = asyncio.ensure_future(stage.runtime.next())
    assert await restarting is None
    assert stage.environment.state is State.IDLE
    event.cancel()


async def test_credentials_are_handed_out_for_the_token_and_new_after_the_restore(stage: Stage) -> None:
    await stage.snapshot()
    assert stage.sandbox.assignment is not None
    variables = stage.sandbox.assignment.environment
    assert variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] == "http://127.0.0.1:9001/2021-04-23/credentials"
    assert not set(KEYS) & set(variables)
    runtime = ScriptedExtension(stage.sandbox.port, "x")

    async def fetch(token: str) -> tuple[int, Any]:
        status, _, body = await runtime.call("GET", "/2021-04-23/credentials", Authorization=token)
        return status, json.loads(body)

    token = variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    status, found = await fetch(token)
    assert (status, found["AccessKeyId"], found["SecretAccessKey"], found["Token"]) == (200, "first", "secret", "token")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["Expiration"])
    assert (await fetch("wrong"))[0] == 404
    restoring = await stage.restoring()
    assert (await fetch(token))[1]["AccessKeyId"] == "second"
    restoring.cancel()


async def test_credentials_that_come_to_their_end_are_replaced_by_new_ones() -> None:
    clock, numbers = FakeClock(), itertools.count(2)
    given = ContainerCredentials(clock, KEYS, lambda: {**KEYS, "AWS_ACCESS_KEY_ID": str(next(numbers))})
    token = given.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"]

    def found() -> tuple[str, str]:
        answer = given.answer(token)
        assert answer is not None
        return answer["AccessKeyId"], answer["Expiration"]

    assert found() == ("first", "2026-11-21T17:04:33Z")
    clock.advance(EXPIRY - 1)
    assert found() == ("first", "2026-11-21T17:04:33Z")
    clock.advance(1)
    assert found() == ("2", "2026-11-22T04:04:33Z")
    assert found() == ("2", "2026-11-22T04:04:33Z")
    given.renew()
    assert found()[0] == "3"


def test_a_lost_sandbox_is_no_fault_of_the_hook() -> None:
    assert refusal(platform_error("", "Runtime.ExitError", "gone")).code == "SnapStartException"
