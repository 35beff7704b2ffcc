"""An execution environment, with the test as its runtime."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.base.clock import SystemClock
from lambent.engine.environment import RUNTIME_CONNECTIONS, Environment
from lambent.engine.invocation import Invocation, Outcome, Tail
from lambent.engine.sandbox import Exit
from lambent.engine.states import TRANSITIONS, State

from .factory import make_function
from .scripted import ScriptedRuntime, ScriptedSandbox, scripted_runtime

RUNTIME = scripted_runtime()


class Stage:
    """An environment, its sandbox, its runtime and its log."""

    def __init__(self, **settings: Any) -> None:
        self.function = make_function(**settings)
        self.sandbox = ScriptedSandbox()
        self.runtime = ScriptedRuntime(self.sandbox.port)
        self.log: list[str] = []
        self.states: list[State] = []
        self.environment = Environment(
            self.function,
            RUNTIME,
            self.sandbox,
            SystemClock(),
            log_stream="stream",
            write_log=self.log.append,
            credentials={},
            changed=lambda environment: self.states.append(environment.state),
        )

    async def ready(self) -> asyncio.Task[Any]:
        """Through the init phase; the parked `/next`."""
        starting = asyncio.ensure_future(self.environment.start())
        self.parked = asyncio.ensure_future(self.runtime.next())  # held: the loop alone would let it be collected
        assert await starting is None
        return self.parked

    def invocation(self, payload: bytes = b"{}") -> Invocation:
        invocation = Invocation("id-1", self.function, payload, self.function.arn, "Root=1", tail=Tail())
        self.environment.begin(invocation)
        self.environment.invoke(invocation)
        return invocation

    def print(self, text: str) -> None:
        os.write(self.sandbox.output, text.encode())


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.environment.destroy()


async def test_the_life_of_one_invocation(stage: Stage) -> None:
    parked = await stage.ready()
    invocation = stage.invocation(b'{"a": 1}')
    request_id, headers, body = await parked
    assert (request_id, body) == ("id-1", b'{"a": 1}')
    assert headers["lambda-runtime-invoked-function-arn"] == stage.function.arn
    assert headers["lambda-runtime-trace-id"] == "Root=1"
    assert abs(int(headers["lambda-runtime-deadline-ms"]) / 1000 - SystemClock().time() - 3) < 2
    stage.print("hello\n")
    assert await stage.runtime.answer("id-1", b'"done"') == 202
    assert await invocation.done == Outcome(b'"done"')
    assert stage.states == [State.IDLE, State.BUSY, State.FINISHING]
    assert invocation.tail is not None
    lines = invocation.tail.content().decode().splitlines()
    assert lines[:3] == ["START RequestId: id-1 Version: $LATEST", "hello", "END RequestId: id-1"]
    assert "Max Memory Used: 10 MB\tInit Duration: " in lines[3]
    assert stage.log[0].startswith("INIT_START Runtime Version: python:3.11.v2\t")
    again = asyncio.ensure_future(stage.runtime.next())
    while stage.environment.state is not State.IDLE:
        await asyncio.sleep(0)
    again.cancel()


async def test_an_idle_environment_is_frozen_and_thawed_for_the_next_event(stage: Stage) -> None:
    parked = await stage.ready()
    while "freeze" not in stage.sandbox.history:
        await asyncio.sleep(0.001)
    assert stage.environment.frozen
    stage.invocation()
    await parked
    assert stage.sandbox.history == ["assign", "freeze", "thaw"]


async def test_the_functions_own_error(stage: Stage) -> None:
    parked = await stage.ready()
    invocation = stage.invocation()
    await parked
    error = b'{"errorMessage": "no", "errorType": "E"}'
    status, _headers, _body = await stage.runtime.call("POST", "/runtime/invocation/id-1/error", error)
    assert status == 202
    assert await invocation.done == Outcome(error, "Unhandled", None, "error")


async def test_answers_that_nobody_waits_for_are_refused(stage: Stage) -> None:
    parked = await stage.ready()
    status, _headers, body = await stage.runtime.call("POST", "/runtime/invocation/id-1/response", b"1")
    assert (status, json.loads(body)["errorType"]) == (400, "InvalidRequestID")
    stage.invocation()
    await parked
    assert await stage.runtime.answer("another", b"1") == 400
    assert await stage.runtime.answer("id-1", b"1") == 202
    assert await stage.runtime.answer("id-1", b"2") == 400


async def test_the_rest_of_the_runtime_api(stage: Stage) -> None:
    parked = await stage.ready()  # without a reference it would be collected, and its connection closed
    call = stage.runtime.call
    assert (await call("GET", "/ping"))[2] == b"pong"
    assert (await call("GET", "/runtime/elsewhere"))[0] == 404
    assert (await call("POST", "/runtime/invocation/next"))[0] == 405
    status, _headers, body = await call("GET", "/runtime/invocation/next")
    assert (status, json.loads(body)["errorType"]) == (403, "InvalidStateTransition")
    status, _headers, body = await call("POST", "/runtime/init/error", b"{}")
    assert (status, json.loads(body)["errorType"]) == (403, "InvalidStateTransition")
    assert not parked.done()
    parked.cancel()


async def test_a_wrong_response_mode_is_refused(stage: Stage) -> None:
    parked = await stage.ready()
    stage.invocation()
    await parked
    mode = {"Lambda_Runtime_Function_Response_Mode": "odd"}
    status, _headers, body = await stage.runtime.call("POST", "/runtime/invocation/id-1/response", b"1", **mode)
    assert (status, json.loads(body)["errorType"]) == (400, "InvalidFunctionResponseMode")


async def test_a_response_that_is_too_large(stage: Stage) -> None:
    parked = await stage.ready()
    invocation = stage.invocation()
    await parked
    assert await stage.runtime.answer("id-1", b"x" * (6 * 1024 * 1024 + 101)) == 413
    outcome = await invocation.done
    assert outcome.error_type == "Function.ResponseSizeTooLarge"
    assert outcome.function_error == "Unhandled"


async def test_a_failed_init(stage: Stage) -> None:
    starting = asyncio.ensure_future(stage.environment.start())
    kind = {"Lambda_Runtime_Function_Error_Type": "Runtime.ImportModuleError"}
    status, _headers, _body = await stage.runtime.call("POST", "/runtime/init/error", b'{"e": 1}', **kind)
    assert status == 202
    assert await starting == Outcome(b'{"e": 1}', "Unhandled", "Runtime.ImportModuleError", "error")
    assert stage.environment.state is State.STALE
    assert stage.log[-1].startswith("INIT_REPORT Init Duration: ")
    assert stage.log[-1].endswith("Phase: init\tStatus: error\tError Type: Runtime.ImportModuleError\n")


async def test_a_runtime_that_dies_while_loading(stage: Stage) -> None:
    starting = asyncio.ensure_future(stage.environment.start())
    while stage.sandbox.assignment is None:
        await asyncio.sleep(0)
    stage.sandbox.exit(Exit(3))
    failure = await starting
    assert failure is not None
    assert failure.error_type == "Runtime.ExitError"


async def test_a_timeout() -> None:
    stage = Stage(timeout=1)
    parked = await stage.ready()
    invocation = stage.invocation()
    await parked
    outcome = await invocation.done
    assert outcome.status == "timeout"
    assert json.loads(outcome.payload)["errorType"] == "Sandbox.Timedout"
    assert stage.sandbox.history[-1] == "stop"
    assert stage.environment.state is State.STALE
    assert await stage.runtime.answer("id-1", b"late") == 400
    await stage.environment.destroy()


async def test_a_crash_ends_the_invocation(stage: Stage) -> None:
    parked = await stage.ready()
    invocation = stage.invocation()
    await parked
    stage.sandbox.exit(Exit(-9))
    outcome = await invocation.done
    assert json.loads(outcome.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": "RequestId: id-1 Error: Runtime exited with error: signal: killed",
    }
    assert stage.environment.state is State.STALE


async def test_a_runtime_that_does_not_answer_but_asks_again(stage: Stage) -> None:
    parked = await stage.ready()
    invocation = stage.invocation()
    await parked
    again = asyncio.ensure_future(stage.runtime.next())
    outcome = await invocation.done
    assert outcome.error_type == "Runtime.Unknown"
    assert stage.environment.state is State.IDLE
    stage.invocation(b"2")
    assert (await again)[2] == b"2"
    again.cancel()


async def test_destroying_ends_a_running_invocation(stage: Stage) -> None:
    parked = await stage.ready()
    invocation = stage.invocation()
    await parked
    await stage.environment.destroy()
    assert (await invocation.done).error_type == "Sandbox.Failure"
    assert stage.sandbox.history[-1] == "destroy"
    await stage.environment.destroy()


async def test_an_environment_takes_one_event_at_a_time(stage: Stage) -> None:
    parked = await stage.ready()
    stage.invocation()
    await parked
    with pytest.raises(RuntimeError, match="busy"):
        stage.invocation()


@given(st.sampled_from(State), st.sampled_from(State))
def test_the_dead_stay_dead_and_everybody_can_die(first: State, second: State) -> None:
    assert State.DEAD in TRANSITIONS[first] or first is State.DEAD
    assert second not in TRANSITIONS[State.DEAD]


async def test_a_runtime_cannot_hoard_connections(stage: Stage) -> None:
    parked = await stage.ready()
    opened = [await asyncio.open_connection("127.0.0.1", stage.sandbox.port) for _ in range(RUNTIME_CONNECTIONS)]
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.sandbox.port)
    with pytest.raises(OSError):
        writer.write(b"GET /2018-06-01/ping HTTP/1.1\r\nHost: x\r\n\r\n")
        if not await reader.read(1):
            raise ConnectionResetError
    for _reader, extra in [*opened, (reader, writer)]:
        extra.close()
    parked.cancel()
