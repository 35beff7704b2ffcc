"""An execution environment with extensions, with the test as runtime and as extensions."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from lambent.engine import shutdown
from lambent.engine.extensions import INVOKE, SHUTDOWN
from lambent.engine.invocation import Outcome
from lambent.engine.sandbox import Exit, Launch
from lambent.engine.states import State

from .scripted import ScriptedExtension
from .test_environment import Stage

ERROR = {"Lambda_Extension_Function_Error_Type": "Watcher.Broken"}


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


_tasks: list[asyncio.Task[Any]] = []


def later(coroutine: Any) -> asyncio.Task[Any]:
    _tasks.append(asyncio.ensure_future(coroutine))
    return _tasks[-1]


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    yield
    for task in _tasks:
        task.cancel()
    await asyncio.gather(*_tasks, return_exceptions=True)
    _tasks.clear()


class Company(Stage):
    """A stage with external extensions of the given names."""

    def __init__(self, *names: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.extensions = {name: ScriptedExtension(self.sandbox.port, name) for name in names}
        self.pipes: dict[str, int] = {}
        self.launch(*names)

    def launch(self, *names: str) -> None:
        launches = []
        for name in names:
            output, self.pipes[name] = os.pipe()
            os.set_blocking(output, False)
            launches.append(Launch(name, output))
        self.sandbox.launches = launches

    def exit(self, name: str, code: int = 0) -> None:
        self.sandbox.exit(Exit(code, extension=name))

    async def registered(self, *events: str) -> asyncio.Task[Any]:
        """All extensions have registered and the runtime has been started: the start that goes on."""
        starting = later(self.environment.start())
        await until(lambda: self.sandbox.assignment)
        for extension in self.extensions.values():
            assert (await extension.register(*events))[0] == 200
        await until(lambda: "start" in self.sandbox.history)
        return starting

    async def idle(self, *events: str) -> tuple[asyncio.Task[Any], list[asyncio.Task[Any]]]:
        """Through the init phase: the runtime's and every extension's parked request."""
        starting = await self.registered(*events)
        parked = later(self.runtime.next())
        waiting = [later(extension.event()) for extension in self.extensions.values()]
        assert await starting is None
        return parked, waiting

    def line(self, start: str) -> str:
        return next((line for line in self.log if line.startswith(start)), "")


@pytest.fixture
async def company(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Company]:
    monkeypatch.setattr(shutdown, "EXTERNAL_SECONDS", 0.2)
    monkeypatch.setattr(shutdown, "INTERNAL_SECONDS", 0.1)
    company = Company("watcher")
    yield company
    await company.environment.destroy()


async def test_the_runtime_waits_for_extensions_to_register(company: Company) -> None:
    starting = later(company.environment.start())
    await until(lambda: company.sandbox.assignment)
    await asyncio.sleep(0.01)
    assert company.sandbox.history == ["assign"]
    status, answer = await company.extensions["watcher"].register(INVOKE)
    assert (status, answer) == (
        200,
        {"functionName": "f", "functionVersion": "$LATEST", "handler": "function.handler"},
    )
    await until(lambda: "start" in company.sandbox.history)
    later(company.runtime.next())
    await asyncio.sleep(0.01)
    assert not starting.done(), "an extension has not asked for its first event"
    later(company.extensions["watcher"].event())
    assert await starting is None
    assert company.environment.state is State.IDLE
    assert company.line("EXTENSION") == "EXTENSION\tName: watcher\tState: Ready\tEvents: [INVOKE]\n"


async def test_an_invocation_ends_when_all_have_come_back(company: Company) -> None:
    parked, [waiting] = await company.idle(INVOKE)
    invocation = company.invocation()
    invocation.tail = None
    await parked
    event = await waiting
    assert event == {
        "eventType": "INVOKE",
        "deadlineMs": int(invocation.deadline_epoch * 1000),
        "requestId": "id-1",
        "invokedFunctionArn": company.function.arn,
        "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1"},
    }
    assert await company.runtime.answer("id-1", b"1") == 202
    assert await invocation.done == Outcome(b"1")
    later(company.runtime.next())
    await asyncio.sleep(0.03)
    assert company.environment.state is State.FINISHING
    assert not company.line("REPORT")
    waiting = later(company.extensions["watcher"].event())
    await until(lambda: company.environment.state is State.IDLE)
    duration = float(company.line("REPORT").split("Duration: ")[1].split(" ms")[0])
    assert duration >= 30, "the time of extensions counts"


async def test_who_asks_for_the_tail_gets_the_report_with_it(company: Company) -> None:
    parked, [waiting] = await company.idle(INVOKE)
    invocation = company.invocation()
    await asyncio.gather(parked, waiting)
    os.write(company.pipes["watcher"], b"seen\n")
    await company.runtime.answer("id-1", b"1")
    later(company.runtime.next())
    await asyncio.sleep(0.02)
    assert not invocation.done.done()
    waiting = later(company.extensions["watcher"].event())
    assert await invocation.done == Outcome(b"1")
    assert invocation.tail is not None
    lines = invocation.tail.content().decode().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["START", "seen", "END", "REPORT"]


async def test_an_extension_without_events_does_not_hold_anybody_up(company: Company) -> None:
    parked, [waiting] = await company.idle()
    invocation = company.invocation()
    await parked
    await company.runtime.answer("id-1", b"1")
    later(company.runtime.next())
    await invocation.done
    await until(lambda: company.environment.state is State.IDLE)
    assert not waiting.done()


async def test_time_runs_out_for_extensions_too() -> None:
    company = Company("watcher", timeout=1)
    parked, [waiting] = await company.idle(INVOKE)
    invocation = company.invocation()
    invocation.tail = None
    await asyncio.gather(parked, waiting)
    await company.runtime.answer("id-1", b"1")
    assert await invocation.done == Outcome(b"1"), "the function has answered in time"
    later(company.runtime.next())
    await until(lambda: company.environment.state is State.SHUTDOWN)
    assert company.line("REPORT").endswith("Status: timeout\t\n")
    company.sandbox.exit(Exit(-15))
    company.exit("watcher", -9)
    await until(lambda: company.environment.state is State.STALE)
    await company.environment.destroy()


async def test_a_timeout_tells_extensions_and_kills_who_stays(company: Company) -> None:
    company.environment.function = dataclasses.replace(company.function, timeout=1)
    parked, [waiting] = await company.idle(INVOKE, SHUTDOWN)
    invocation = company.invocation()
    await asyncio.gather(parked, waiting)
    waiting = later(company.extensions["watcher"].event())
    assert (await invocation.done).status == "timeout"
    farewell = await waiting
    assert (farewell["eventType"], farewell["shutdownReason"]) == ("SHUTDOWN", "timeout")
    await until(lambda: company.environment.state is State.STALE)
    assert company.sandbox.history[-3:] == ["SIGTERM runtime", "SIGKILL runtime", "stop"]


async def test_the_end_of_an_environment_is_announced(company: Company) -> None:
    parked, [waiting] = await company.idle(SHUTDOWN)
    ending = later(company.environment.destroy())
    await until(lambda: "SIGTERM runtime" in company.sandbox.history)
    assert not waiting.done(), "first the runtime, then the extensions"
    company.sandbox.exit(Exit(-15))
    farewell = await waiting
    assert farewell["shutdownReason"] == "spindown"
    assert not ending.done()
    company.exit("watcher")
    await ending
    assert company.sandbox.history[-2:] == ["stop", "destroy"]
    assert "SIGKILL runtime" not in company.sandbox.history


async def test_who_did_not_ask_for_the_announcement_is_killed_at_once(company: Company) -> None:
    parked, [waiting] = await company.idle(INVOKE)
    ending = later(company.environment.destroy())
    await until(lambda: "SIGTERM runtime" in company.sandbox.history)
    company.sandbox.exit(Exit(-15))
    await ending
    assert company.sandbox.history[-3:] == ["SIGKILL watcher", "stop", "destroy"]


async def test_a_runtime_that_crashes_takes_the_extensions_with_it(company: Company) -> None:
    parked, [waiting] = await company.idle(INVOKE, SHUTDOWN)
    invocation = company.invocation()
    await asyncio.gather(parked, waiting)
    waiting = later(company.extensions["watcher"].event())
    company.sandbox.exit(Exit(1))
    outcome = await invocation.done
    assert outcome.error_type == "Runtime.ExitError"
    assert (await waiting)["shutdownReason"] == "failure"
    company.exit("watcher")
    await until(lambda: company.environment.state is State.STALE)
    assert "SIGTERM runtime" not in company.sandbox.history, "it is gone already"


@pytest.mark.parametrize(
    ("code", "message"),
    [(0, "exit code 0"), (7, "exit status 7"), (-9, "signal: killed"), (-11, "signal: segmentation fault")],
)
async def test_an_extension_that_crashes_fails_the_invocation(company: Company, code: int, message: str) -> None:
    parked, [waiting] = await company.idle(INVOKE)
    invocation = company.invocation()
    await asyncio.gather(parked, waiting)
    company.exit("watcher", code)
    outcome = await invocation.done
    assert json.loads(outcome.payload) == {
        "errorType": "Extension.Crash",
        "errorMessage": f"RequestId: id-1 Error: {message}",
    }
    assert company.log[-1] == f"RequestId: id-1 Error: {message}\nExtension.Crash\n"
    await until(lambda: company.environment.state is State.STALE)


async def test_an_extension_that_crashes_after_the_answer_spoils_the_report_only(company: Company) -> None:
    parked, [waiting] = await company.idle(INVOKE)
    invocation = company.invocation()
    invocation.tail = None
    await asyncio.gather(parked, waiting)
    await company.runtime.answer("id-1", b"1")
    company.exit("watcher", 1)
    assert await invocation.done == Outcome(b"1")
    assert company.line("REPORT").endswith("Status: error\tError Type: Extension.Crash\t\n")
    await until(lambda: company.environment.state is State.STALE)


async def test_an_extension_that_crashes_before_it_registers_fails_the_init_phase(company: Company) -> None:
    starting = later(company.environment.start())
    await until(lambda: company.sandbox.assignment)
    company.exit("watcher", 3)
    failure = await starting
    assert failure is not None
    assert failure.error_type == "Extension.Crash"
    assert company.environment.state is State.STALE
    assert "start" not in company.sandbox.history
    assert company.line("EXTENSION") == "EXTENSION\tName: watcher\tState: Exited\tEvents: []\n"
    assert company.line("INIT_REPORT").endswith("\tStatus: error\tError Type: Extension.Crash\n")


@pytest.mark.parametrize(("phase", "kind"), [("init", "Extension.InitError"), ("exit", "Extension.ExitError")])
async def test_an_extension_reports_why_it_will_exit(company: Company, phase: str, kind: str) -> None:
    starting = await company.registered(INVOKE)
    extension = company.extensions["watcher"]
    status, refused = await extension.report(phase)
    assert (status, refused["errorType"]) == (403, "Extension.MissingHeader")
    assert (await extension.report(phase, **ERROR)) == (202, {"status": "OK"})
    status, refused = await extension.ask("GET", "/2020-01-01/extension/event/next")
    assert (status, refused["errorType"]) == (403, "Extension.InvalidExtensionState")
    company.exit("watcher", 1)
    failure = await starting
    assert failure is not None
    assert failure.error_type == kind
    assert company.line("EXTENSION").endswith("\tError Type: Watcher.Broken\n")


async def test_what_cannot_be_launched_fails_the_init_phase(company: Company) -> None:
    company.sandbox.launches = [
        Launch("watcher", -1, "PermissionDenied", "fork/exec /opt/extensions/watcher: permission denied")
    ]
    failure = await company.environment.start()
    assert failure is not None
    assert json.loads(failure.payload) == {
        "errorType": "Extension.LaunchError",
        "errorMessage": "RequestId:  Error: fork/exec /opt/extensions/watcher: permission denied",
    }
    assert company.line("EXTENSION") == (
        "EXTENSION\tName: watcher\tState: LaunchError\tEvents: []\tError Type: PermissionDenied\n"
    )


async def test_an_init_phase_that_an_extension_holds_up_ends_in_time(company: Company) -> None:
    starting = later(company.environment.restart(0.1))
    company.environment.state = State.STALE
    failure = await starting
    assert failure is not None
    assert failure.status == "timeout"
    assert company.environment.state is State.STALE


async def test_a_fresh_generation_registers_anew(company: Company) -> None:
    parked, [waiting] = await company.idle(INVOKE)
    former = company.extensions["watcher"].identifier
    company.sandbox.exit(Exit(1))
    await until(lambda: company.environment.state is State.STALE)
    for task in (parked, waiting):
        task.cancel()
    company.launch("watcher")
    company.sandbox.history.clear()
    restarting = later(company.environment.restart(5))
    await until(lambda: company.sandbox.history == ["restart"])
    status, refused = await company.extensions["watcher"].ask("GET", "/2020-01-01/extension/event/next")
    assert (status, refused["errorType"]) == (403, "Extension.UnknownExtensionIdentifier")
    assert (await company.extensions["watcher"].register(INVOKE))[0] == 200
    assert company.extensions["watcher"].identifier != former
    await until(lambda: "start" in company.sandbox.history)
    later(company.runtime.next())
    later(company.extensions["watcher"].event())
    assert await restarting is None


async def test_an_internal_extension(company: Company) -> None:
    company.sandbox.launches = []
    inside = ScriptedExtension(company.sandbox.port, "inside")
    starting = later(company.environment.start())
    await until(lambda: company.sandbox.assignment)
    status, refused = await inside.register(INVOKE, SHUTDOWN)
    assert (status, refused) == (
        403,
        {
            "errorType": "Extension.InvalidEventType",
            "errorMessage": "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension",
        },
    )
    status, answer = await inside.register(INVOKE, Lambda_Extension_Accept_Feature="accountId, other")
    assert (status, answer["accountId"]) == (200, "000000000000")
    parked, waiting = later(company.runtime.next()), later(inside.event())
    assert await starting is None
    late = ScriptedExtension(company.sandbox.port, "late")
    assert (await late.register())[1]["errorType"] == "Extension.RegistrationClosed"
    invocation = company.invocation()
    await asyncio.gather(parked, waiting)
    await company.runtime.answer("id-1", b"1")
    later(company.runtime.next())
    later(inside.event())
    await invocation.done
    await company.environment.destroy()
    assert "SIGTERM runtime" in company.sandbox.history


async def test_calls_that_are_refused(company: Company) -> None:
    starting = later(company.environment.start())
    await until(lambda: company.sandbox.assignment)
    extension = ScriptedExtension(company.sandbox.port, "")
    register, following = "/2020-01-01/extension/register", "/2020-01-01/extension/event/next"
    named = {"Lambda_Extension_Name": "watcher"}
    for call, status, kind in (
        (extension.register(), 403, "Extension.InvalidExtensionName"),
        (extension.ask("POST", register, b"{", **named), 403, "InvalidRequestFormat"),
        (extension.ask("POST", register, [], **named), 403, "InvalidRequestFormat"),
        (extension.ask("POST", register, {"events": "INVOKE"}, **named), 403, "InvalidRequestFormat"),
        (extension.ask("POST", register, {"configurationKeys": ["a"]}, **named), 403, "InvalidRequestFormat"),
        (extension.ask("POST", register, {"events": ["TEA"]}, **named), 403, "Extension.InvalidEventType"),
        (extension.ask("GET", following), 403, "Extension.MissingExtensionIdentifier"),
        (extension.ask("GET", following, Lambda_Extension_Identifier="x"), 403, "Extension.InvalidExtensionIdentifier"),
        (
            extension.ask("GET", following, Lambda_Extension_Identifier=str(uuid.uuid4())),
            403,
            "Extension.UnknownExtensionIdentifier",
        ),
        (extension.ask("PUT", following), 404, "NotFound"),
        (extension.ask("GET", "/2020-01-01/extension/elsewhere"), 404, "NotFound"),
        (extension.ask("GET", "/2019-01-01/else"), 404, "NotFound"),
        (extension.ask("POST", register, b"x" * 70_000, **named), 413, "RequestEntityTooLarge"),
    ):
        answered, refused = await call
        assert (answered, refused["errorType"]) == (status, kind)
    starting.cancel()


async def test_who_has_lost_its_connection_asks_again(company: Company) -> None:
    parked, [waiting] = await company.idle(INVOKE)
    waiting.cancel()
    await asyncio.sleep(0.02)
    again = later(company.extensions["watcher"].event())
    await asyncio.sleep(0.02)
    company.invocation()
    assert (await again)["eventType"] == "INVOKE"
    await parked


class Listener:
    """A port that keeps the events that are posted to it."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.server: asyncio.Server | None = None

    async def open(self) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self.server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.split("Content-Length: ")[1].split("\r\n")[0])
        self.events += json.loads(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    def kinds(self) -> list[str]:
        return [event["type"].removeprefix("platform.") for event in self.events]


def wish(port: int, schema: str = "2022-12-13") -> dict[str, Any]:
    return {
        "schemaVersion": schema,
        "types": ["platform", "function", "extension"],
        "buffering": {"timeoutMs": 25},
        "destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{port}"},
    }


async def test_telemetry_of_a_whole_life(company: Company) -> None:
    listener = Listener()
    port = await listener.open()
    starting = await company.registered(INVOKE, SHUTDOWN)
    extension = company.extensions["watcher"]
    assert await extension.ask("PUT", "/2022-07-01/telemetry", wish(port)) == (200, "OK")
    parked, waiting = later(company.runtime.next()), later(extension.event())
    assert await starting is None
    invocation = company.invocation()
    invocation.tail = None
    await asyncio.gather(parked, waiting)
    company.print("from the function\n")
    os.write(company.pipes["watcher"], b"from the extension\n")
    await company.runtime.answer("id-1", b"1")
    await invocation.done
    parked = later(company.runtime.next())
    await until(lambda: "runtimeDone" in listener.kinds())
    assert "report" not in listener.kinds(), "the extension is still at work"
    waiting = later(extension.event())
    await until(lambda: company.environment.frozen)
    ending = later(company.environment.destroy())
    await until(lambda: "report" in listener.kinds())
    company.sandbox.exit(Exit(-15))
    await waiting
    company.exit("watcher")
    await ending
    assert sorted(listener.kinds()) == sorted([
        "initStart", "telemetrySubscription", "initRuntimeDone", "extension", "initReport", "start", "function",
        "extension", "runtimeDone", "report",
    ])  # fmt: skip
    start = next(event["record"] for event in listener.events if event["type"] == "platform.start")
    assert start["tracing"] == {"type": "X-Amzn-Trace-Id", "value": "Root=1"}
    assert company.line("TELEMETRY") == (
        "TELEMETRY\tName: watcher\tState: Subscribed\tTypes: [Platform, Function, Extension]\n"
    )


async def test_subscriptions_that_are_refused(company: Company) -> None:
    starting = await company.registered(INVOKE)
    extension = company.extensions["watcher"]
    stranger = ScriptedExtension(company.sandbox.port, "stranger")
    path = "/2022-07-01/telemetry"
    for call, status, kind in (
        (stranger.ask("PUT", path, wish(4243)), 403, "Extension.MissingExtensionIdentifier"),
        (extension.ask("PUT", path, {}), 400, "ValidationError"),
        (extension.ask("PUT", "/2020-08-15/logs", {}), 400, "Logs.ValidationError"),
        (extension.ask("PUT", "/2022-07-01/logs", wish(4243)), 404, "NotFound"),
        (extension.ask("GET", path), 404, "NotFound"),
    ):
        answered, refused = await call
        assert (answered, refused["errorType"]) == (status, kind)
    assert (await extension.ask("PUT", path, wish(4243)))[0] == 200
    status, refused = await extension.ask("PUT", "/2020-08-15/logs", wish(4243, "2020-08-15"))
    assert (status, refused["errorType"]) == (403, "Logs.SubscriptionClosed")
    later(company.runtime.next())
    later(extension.event())
    assert await starting is None
    status, refused = await extension.ask("PUT", path, wish(4244))
    assert (status, refused) == (
        403,
        {"errorType": "Telemetry.SubscriptionClosed", "errorMessage": "Telemetry API subscription is closed already"},
    )
