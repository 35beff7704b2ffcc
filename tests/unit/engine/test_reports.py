from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lambent.control.records import LoggingConfig
from lambent.engine import platform_records as records
from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.platform_records import Subject
from lambent.engine.reports import format_for, level

from .factory import make_function

ID = "8286a188-ba32-4475-8077-530cd35c09a9"


TIME = "2026-11-21T05:04:33.120Z"


class Lines:
    """The log lines of one environment."""

    def __init__(self, **settings: Any) -> None:
        self.function = make_function(**settings)
        self.subject = Subject(self.function, runtime_version="python:3.11.v2", runtime_version_arn="arn:x")
        self._format = format_for(self.function.logging)

    def line(self, kind: str, record: dict[str, Any]) -> str | None:
        return self._format(f"platform.{kind}", record, TIME)

    def record(self, kind: str, record: dict[str, Any]) -> Any:
        line = self.line(kind, record)
        return None if line is None else json.loads(line)["record"]


def invocation(seconds: float = 0.00301, **settings: Any) -> Invocation:
    function = make_function(**settings)
    loop = asyncio.new_event_loop()
    try:
        done = loop.create_future()
    finally:
        loop.close()
    return Invocation(ID, function, b"{}", function.arn, "", done=done, started=10.0, answered=10.0 + seconds)


CRASH = Outcome(b"", "Unhandled", "Runtime.ExitError", "error")
LATE = Outcome(b"", "Unhandled", "Sandbox.Timedout", "timeout")


def test_the_lines_of_the_text_format() -> None:
    entry, log = invocation(), Lines()
    assert (
        log.line("initStart", records.init_start(log.subject, "init"))
        == "INIT_START Runtime Version: python:3.11.v2\tRuntime Version ARN: arn:x\n"
    )
    assert log.line("start", records.start(entry)) == f"START RequestId: {ID} Version: $LATEST\n"
    assert log.line("end", records.end(entry)) == f"END RequestId: {ID}\n"
    assert log.line("runtimeDone", records.runtime_done(entry, Outcome(b""), 0, 0)) is None
    ready = records.extension("watcher", "Ready", ["INVOKE", "SHUTDOWN"], None)
    assert log.line("extension", ready) == "EXTENSION\tName: watcher\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n"
    failed = records.extension("watcher.py", "LaunchError", [], "PermissionDenied")
    assert (
        log.line("extension", failed)
        == "EXTENSION\tName: watcher.py\tState: LaunchError\tEvents: []\tError Type: PermissionDenied\n"
    )
    wishes = records.subscription("watcher", ["platform", "function", "extension"])
    assert (
        log.line("telemetrySubscription", wishes)
        == "TELEMETRY\tName: watcher\tState: Subscribed\tTypes: [Platform, Function, Extension]\n"
    )
    assert log.line("logsSubscription", wishes) == (
        "LOGS\tName: watcher\tState: Subscribed\tTypes: [Platform, Function, Extension]\n"
    )


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
    record = records.report(entry, Outcome(b""), entry.answered, 36 << 20, init)
    assert Lines().line("report", record) == f"REPORT RequestId: {ID}\t{expected}"


def test_failures_show_in_the_report() -> None:
    entry, log = invocation(), Lines()
    crash = log.line("report", records.report(entry, CRASH, 10, 1, None)) or ""
    assert crash.endswith("\tStatus: error\tError Type: Runtime.ExitError\t\n")
    late = log.line("report", records.report(entry, LATE, 10, 1, None)) or ""
    assert late.endswith("\tStatus: timeout\t\n")
    assert log.line("initReport", records.init_report(log.subject, "init", 0.1, CRASH)) == (
        "INIT_REPORT Init Duration: 100.00 ms\tPhase: init\tStatus: error\tError Type: Runtime.ExitError\n"
    )
    assert log.line("initReport", records.init_report(log.subject, "init", 0.1, None)) is None


def test_the_json_format() -> None:
    entry, log = invocation(), Lines(logging=LoggingConfig("JSON", "/aws/lambda/f", "INFO", "INFO"))
    assert json.loads(log.line("start", records.start(entry)) or "") == {
        "time": TIME,
        "type": "platform.start",
        "record": {"requestId": ID, "version": "$LATEST"},
    }
    report = log.record("report", records.report(entry, Outcome(b""), entry.answered, 36 << 20, 0.1101))
    assert report == {
        "requestId": ID,
        "status": "success",
        "metrics": {
            "durationMs": 3.01,
            "billedDurationMs": 4,
            "memorySizeMB": 128,
            "maxMemoryUsedMB": 36,
            "initDurationMs": 110.1,
        },
    }


def shown(system_level: str) -> set[str]:
    """What a function's log shows of everything that can happen, `!` before failures."""
    entry = invocation()
    log = Lines(logging=LoggingConfig("JSON", "/aws/lambda/f", "INFO", system_level))
    subject = log.subject
    happened = {
        "initStart": records.init_start(subject, "init"),
        "initRuntimeDone": records.init_runtime_done(subject, "init", None),
        "!initRuntimeDone": records.init_runtime_done(subject, "init", CRASH),
        "initReport": records.init_report(subject, "init", 1, None),
        "!initReport": records.init_report(subject, "init", 1, CRASH),
        "start": records.start(entry),
        "runtimeDone": records.runtime_done(entry, Outcome(b""), 0, 10),
        "!runtimeDone": records.runtime_done(entry, LATE, 0, 10),
        "report": records.report(entry, Outcome(b""), 10, 1, None),
        "!report": records.report(entry, CRASH, 10, 1, None),
        "extension": records.extension("x", "Ready", (), None),
        "!extension": records.extension("x", "LaunchError", (), "PermissionDenied"),
        "telemetrySubscription": records.subscription("x", ["platform"]),
        "logsDropped": {"droppedBytes": 1, "droppedRecords": 1, "reason": "r"},
    }
    return {name for name, record in happened.items() if log.line(name.removeprefix("!"), record) is not None}


def test_the_system_log_level_is_awss_mapping() -> None:
    failures = {"!initRuntimeDone", "!initReport", "!runtimeDone", "!report", "!extension", "logsDropped"}
    assert shown("WARN") == failures
    usual = failures | {"initStart", "start", "report", "extension", "telemetrySubscription"}
    assert shown("INFO") == usual
    assert shown("DEBUG") == usual | {"initRuntimeDone", "initReport", "runtimeDone"}


def test_the_init_report_of_what_is_prepared_in_advance_is_not_for_debugging() -> None:
    subject = Subject(make_function(), "provisioned-concurrency")
    assert level("platform.initReport", records.init_report(subject, "init", 1, None)) == "INFO"


def test_the_spans_of_an_invocation() -> None:
    entry = invocation(0.5)
    record = records.runtime_done(entry, Outcome(b"four"), 1_795_237_473.0, entry.answered + 0.25)
    assert record["metrics"] == {"durationMs": 750.0, "producedBytes": 4}
    assert record["spans"] == (
        {"name": "responseLatency", "start": "2026-11-21T05:04:33.000Z", "durationMs": 500.0},
        {"name": "responseDuration", "start": "2026-11-21T05:04:33.500Z", "durationMs": 0.0},
        {"name": "runtimeOverhead", "start": "2026-11-21T05:04:33.500Z", "durationMs": 250.0},
    )
