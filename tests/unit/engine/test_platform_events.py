from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.control.records import LoggingConfig
from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.platform_events import PlatformEvents
from lambent.engine.platform_records import Subject
from lambent.engine.telemetry import Telemetry
from lambent.testing import FakeClock

from .factory import make_function

SUCCESS, FAILURE = Outcome(b"1"), Outcome(b"{}", "Unhandled", "Runtime.Unknown", "error")


class Stage:
    """The events of one environment and the log that they leave."""

    def __init__(self, **settings: Any) -> None:
        self.function = make_function(**settings)
        self.telemetry = Telemetry(FakeClock(), None, parse=False)  # type: ignore[arg-type]
        self.log: list[str] = []
        subject = Subject(self.function)
        self.events = PlatformEvents(
            subject, FakeClock(), self.telemetry, lambda line, invocation: self.log.append(line)
        )

    def live(self, outcome: Outcome, seconds: float, memory: int, init_seconds: float | None = None) -> list[str]:
        """The lines of one whole invocation."""
        self.log.clear()
        loop = asyncio.new_event_loop()
        done = loop.create_future()
        loop.close()
        invocation = Invocation("id-1", self.function, b"{}", self.function.arn, "Root=1", done=done, started=10.0)
        invocation.answered = 10.0 + seconds
        self.events.start(invocation)
        self.events.runtime_done(invocation, outcome, invocation.answered)
        self.events.ended(invocation, outcome, invocation.answered, memory, init_seconds)
        return list(self.log)


@given(
    st.sampled_from([SUCCESS, FAILURE]),
    st.floats(0, 900),
    st.integers(0, 10 << 30),
    st.none() | st.floats(0, 10),
)
def test_the_log_is_the_same_whether_anybody_listens(
    outcome: Outcome, seconds: float, memory: int, init_seconds: float | None
) -> None:
    alone, heard = Stage(), Stage()
    heard.telemetry.begin()
    assert alone.live(outcome, seconds, memory, init_seconds) == heard.live(outcome, seconds, memory, init_seconds)


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("INFO", ["platform.start", "platform.report"]),
        ("DEBUG", ["platform.start", "platform.runtimeDone", "platform.report"]),
        ("WARN", []),
    ],
)
def test_the_json_format_shows_what_its_level_says(level: str, shown: list[str]) -> None:
    stage = Stage(logging=LoggingConfig("JSON", "/aws/lambda/f", "INFO", level))
    lines = stage.live(SUCCESS, 0.1, 1 << 20)
    assert [line.split('"type":"')[1].split('"')[0] for line in lines] == shown


def test_failures_are_warnings() -> None:
    stage = Stage(logging=LoggingConfig("JSON", "/aws/lambda/f", "INFO", "WARN"))
    lines = stage.live(FAILURE, 0.1, 1 << 20)
    assert [line.split('"type":"')[1].split('"')[0] for line in lines] == ["platform.runtimeDone", "platform.report"]
