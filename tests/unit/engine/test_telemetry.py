"""Who gets which events, without a network: the sender is a list."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from lambent.engine import telemetry as module
from lambent.engine.telemetry import LOGS_API, TELEMETRY_API, Record, Subscription, Telemetry
from lambent.engine.telemetry_buffer import Allowance, Buffering
from lambent.engine.telemetry_delivery import Connect, Destination
from lambent.testing import FakeClock


class Sink:
    """A sender that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    async def send(self, records: Sequence[bytes]) -> None:
        self.events += [json.loads(record) for record in records]

    def close(self) -> None: ...


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, parse: bool = False) -> None:
        self.sinks: dict[int, Sink] = {}
        monkeypatch.setattr(module, "sender", self._sender)
        self.telemetry = Telemetry(FakeClock(), None, parse=parse)  # type: ignore[arg-type]

    def _sender(self, destination: Destination, connect: Connect) -> Sink:
        return self.sinks.setdefault(destination.port, Sink())

    def subscribe(self, port: int, schema: str = "2022-12-13", *types: str, api: str = TELEMETRY_API) -> None:
        subscription = Subscription(
            api, schema, types or ("platform", "function", "extension"), Destination("TCP", port), Buffering()
        )
        self.telemetry.subscribe(f"extension-{port}", subscription)

    def emit(self, *kinds: str) -> None:
        for kind in kinds:
            record: Record = {"k": kind} if kind.startswith("platform.") else f"from {kind}\n"
            self.telemetry.emit(kind, record)

    async def received(self, port: int) -> list[dict[str, Any]]:
        self.telemetry.flush()
        for _ in range(5):
            await asyncio.sleep(0)
        return self.sinks[port].events

    async def kinds(self, port: int) -> list[str]:
        return [event["type"].removeprefix("platform.") for event in await self.received(port)]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


EVERYTHING = [
    "platform.initStart", "platform.initRuntimeDone", "platform.initReport", "platform.start", "platform.end",
    "platform.runtimeDone", "platform.report", "platform.fault", "platform.extension", "platform.telemetrySubscription",
    "platform.logsSubscription", "function", "extension",
]  # fmt: skip


async def test_an_event(stage: Stage) -> None:
    stage.telemetry.begin()
    stage.subscribe(1)
    stage.emit("platform.start", "function")
    assert await stage.received(1) == [
        {"time": "2026-11-21T05:04:33.120Z", "type": "platform.start", "record": {"k": "platform.start"}},
        {"time": "2026-11-21T05:04:33.120Z", "type": "function", "record": "from function\n"},
    ]


async def test_each_api_and_schema_has_its_events(stage: Stage) -> None:
    stage.telemetry.begin()
    stage.subscribe(1)
    stage.subscribe(2, "2020-08-15", api=LOGS_API)
    stage.subscribe(3, "2021-03-18", api=LOGS_API)
    stage.subscribe(4, "2022-07-01", "extension")
    stage.emit(*EVERYTHING)
    telemetry = [kind.removeprefix("platform.") for kind in EVERYTHING]
    assert await stage.kinds(1) == [kind for kind in telemetry if kind not in ("end", "fault", "logsSubscription")]
    logs = ["start", "end", "report", "fault", "extension", "logsSubscription", "function", "extension"]
    assert await stage.kinds(2) == logs
    assert await stage.kinds(3) == [*logs[:2], "runtimeDone", *logs[2:]]
    assert await stage.kinds(4) == ["extension"]


async def test_who_subscribes_later_in_the_init_phase_misses_nothing(stage: Stage) -> None:
    stage.telemetry.begin()
    stage.emit("platform.initStart", "extension")
    assert stage.telemetry.open
    stage.subscribe(1)
    stage.emit("function")
    stage.telemetry.close()
    assert not stage.telemetry.open
    assert stage.telemetry.active
    assert await stage.kinds(1) == ["initStart", "extension", "function"]


async def test_nobody_listens(stage: Stage) -> None:
    assert not stage.telemetry.active
    stage.telemetry.begin()
    assert stage.telemetry.active, "somebody may subscribe yet"
    stage.telemetry.close()
    assert not stage.telemetry.active


async def test_the_backlog_is_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKLOG", 40)
    stage.telemetry.begin()
    stage.emit(*["function"] * 10)
    stage.subscribe(1)
    assert len(await stage.received(1)) == 3


async def test_subscribing_again_changes_nothing_or_replaces(stage: Stage) -> None:
    stage.telemetry.begin()
    stage.emit("function")
    stage.subscribe(1)
    stage.subscribe(1)
    assert await stage.kinds(1) == ["function"]
    stage.subscribe(1, "2022-12-13", "platform")
    stage.emit("function", "platform.start")
    assert await stage.kinds(1) == ["function", "start"]


async def test_json_logs_are_objects_for_newer_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, parse=True)
    stage.telemetry.begin()
    stage.subscribe(1, "2022-07-01")
    stage.subscribe(2, "2022-12-13")
    stage.subscribe(3, "2025-01-29")
    lines = ['{"level": "INFO"}\n', "plain\n", "12\n"]
    for line in lines:
        stage.telemetry.emit("function", line)
    assert [event["record"] for event in await stage.received(1)] == lines
    for port in (2, 3):
        assert [event["record"] for event in await stage.received(port)] == [{"level": "INFO"}, *lines[1:]]


async def test_subscribers_of_all_environments_share_an_allowance(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    everybody = Allowance(200)
    for _ in range(2):
        telemetry = Telemetry(FakeClock(), None, parse=False, allowance=everybody)  # type: ignore[arg-type]
        telemetry.begin()
        subscription = Subscription(TELEMETRY_API, "2022-12-13", ("function",), Destination("TCP", 1), Buffering())
        telemetry.subscribe("x", subscription)
        telemetry.pause()
        for _ in range(10):
            telemetry.emit("function", "line\n")
        await telemetry.stop()
    assert everybody.take(200)
    assert stage.sinks[1].events == []


async def test_a_stop_forgets_every_subscriber(stage: Stage) -> None:
    stage.telemetry.begin()
    stage.subscribe(1)
    stage.emit("function")
    await stage.telemetry.stop()
    assert not stage.telemetry.active
    stage.telemetry.begin()
    stage.emit("function")
    await asyncio.sleep(0)
    assert stage.sinks[1].events == []
