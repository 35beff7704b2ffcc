from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lambent.base.clock import SystemClock
from lambent.control.records import LoggingConfig
from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.reports import reports_for

from .factory import make_function

ID = "8286a188-ba32-4475-8077-530cd35c09a9"


class StillClock(SystemClock):
    def now(self) -> datetime:
        return datetime(2026, 11, 21, 5, 4, 33, 120456, UTC)


def invocation(seconds: float = 0.00301, **settings: Any) -> Invocation:
    function = make_function(**settings)
    loop = asyncio.new_event_loop()
    try:
        done = loop.create_future()
    finally:
        loop.close()
    return Invocation(ID, function, b"{}", function.arn, "", done=done, started=10.0, answered=10.0 + seconds)


def test_the_lines_of_the_text_format() -> None:
    entry = invocation()
    lines = reports_for(entry.function, StillClock())
    assert (
        lines.init_start("python:3.11.v2", "arn:x")
        == "INIT_START Runtime Version: python:3.11.v2\tRuntime Version ARN: arn:x\n"
    )
    assert lines.start(entry) == f"START RequestId: {ID} Version: $LATEST\n"
    assert lines.end(entry) == f"END RequestId: {ID}\n"
    assert lines.timed_out(entry) == f"2026-11-21T05:04:33.120Z {ID} Task timed out after 3.00 seconds\n\n"


@pytest.mark.parametrize(
    ("seconds", "init", "expected"),
    [
        (
            0.00301,
            0.1101,
            "Duration: 3.01 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\tInit Duration: 110.10 ms\t\n",
        ),
        (
            0.0029,
            None,
            "Duration: 2.90 ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t\n",
        ),
        (
            0.0,
            None,
            "Duration: 0.00 ms\tBilled Duration: 1 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t\n",
        ),
        (
            0.003,
            None,
            "Duration: 3.00 ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t\n",
        ),
    ],
)
def test_the_report_line_is_as_recorded(seconds: float, init: float | None, expected: str) -> None:
    entry = invocation(seconds)
    line = reports_for(entry.function, StillClock()).report(entry, Outcome(b""), 36 << 20, init)
    assert line == f"REPORT RequestId: {ID}\t{expected}"


def test_failures_show_in_the_report() -> None:
    entry = invocation()
    lines = reports_for(entry.function, StillClock())
    crash = Outcome(b"", "Unhandled", "Runtime.ExitError", "failure")
    assert lines.report(entry, crash, 1, None).endswith("\tStatus: error\tError Type: Runtime.ExitError\t\n")
    late = Outcome(b"", "Unhandled", "Sandbox.Timedout", "timeout")
    assert lines.report(entry, late, 1, None).endswith("\tStatus: timeout\t\n")
    assert lines.init_report(0.1, "init", crash) == (
        "INIT_REPORT Init Duration: 100.00 ms\tPhase: init\tStatus: failure\tError Type: Runtime.ExitError\n"
    )


def test_the_json_format_and_its_level() -> None:
    entry = invocation(logging=LoggingConfig("JSON", "/aws/lambda/f", "INFO", "INFO"))
    lines = reports_for(entry.function, StillClock())
    assert json.loads(lines.start(entry) or "") == {
        "time": "2026-11-21T05:04:33.120Z",
        "type": "platform.start",
        "record": {"requestId": ID, "version": "$LATEST"},
    }
    assert lines.end(entry) is None
    report = json.loads(lines.report(entry, Outcome(b""), 36 << 20, 0.1101) or "")
    assert report["record"]["metrics"] == {
        "durationMs": 3.01,
        "billedDurationMs": 4,
        "memorySizeMB": 128,
        "maxMemoryUsedMB": 36,
        "initDurationMs": 110.1,
    }
    quiet = invocation(logging=LoggingConfig("JSON", "/aws/lambda/f", "INFO", "WARN"))
    warn = reports_for(quiet.function, StillClock())
    assert warn.start(quiet) is None
    assert warn.report(quiet, Outcome(b""), 1, None) is None
    assert warn.report(quiet, Outcome(b"", "Unhandled", "Runtime.ExitError", "failure"), 1, None) is not None
