"""The platform's own log lines: INIT_START, START, END, REPORT, as text or as the JSON log format."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import orjson

from lambent.base.clock import Clock
from lambent.control.records import Function
from lambent.engine.invocation import Invocation, Outcome

Write = Callable[[str], None]


class Reports(Protocol):
    def init_start(self, version: str, arn: str) -> str | None: ...
    def init_report(self, seconds: float, phase: str, outcome: Outcome) -> str | None: ...
    def start(self, invocation: Invocation) -> str | None: ...
    def timed_out(self, invocation: Invocation) -> str | None: ...
    def end(self, invocation: Invocation) -> str | None: ...
    def report(
        self, invocation: Invocation, outcome: Outcome, peak_memory: int, init_seconds: float | None
    ) -> str | None:
        """`peak_memory` in bytes; `init_seconds` of the start that this invocation waited for."""


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"


def _megabytes(count: int) -> int:
    return max(1, math.ceil(count / (1 << 20)))


class TextReports:
    """The lines that every Lambda user knows."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def init_start(self, version: str, arn: str) -> str:
        return f"INIT_START Runtime Version: {version}\tRuntime Version ARN: {arn}\n"

    def init_report(self, seconds: float, phase: str, outcome: Outcome) -> str:
        line = f"INIT_REPORT Init Duration: {_milliseconds(seconds)} ms\tPhase: {phase}\tStatus: {outcome.status}"
        return f"{line}\tError Type: {outcome.error_type}\n" if outcome.error_type else f"{line}\n"

    def start(self, invocation: Invocation) -> str:
        return f"START RequestId: {invocation.request_id} Version: {invocation.function.version}\n"

    def timed_out(self, invocation: Invocation) -> str:
        moment = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        timeout = invocation.function.timeout
        return f"{moment} {invocation.request_id} Task timed out after {timeout:.2f} seconds\n\n"

    def end(self, invocation: Invocation) -> str:
        return f"END RequestId: {invocation.request_id}\n"

    def report(self, invocation: Invocation, outcome: Outcome, peak_memory: int, init_seconds: float | None) -> str:
        duration = invocation.answered - invocation.started
        parts = [
            f"REPORT RequestId: {invocation.request_id}",
            f"Duration: {_milliseconds(duration)} ms",
            f"Billed Duration: {max(1, math.ceil(round(duration * 1000, 2)))} ms",
            f"Memory Size: {invocation.function.memory_size} MB",
            f"Max Memory Used: {_megabytes(peak_memory)} MB",
        ]
        if init_seconds is not None:
            parts.append(f"Init Duration: {_milliseconds(init_seconds)} ms")
        if outcome.status == "timeout":
            parts.append("Status: timeout")
        elif outcome.error_type is not None:
            parts += ["Status: error", f"Error Type: {outcome.error_type}"]
        return "\t".join(parts) + "\t\n"


class JsonReports:
    """The same events as the JSON log format prints them."""

    def __init__(self, clock: Clock, function: Function, init_type: str = "on-demand") -> None:
        self._clock = clock
        self._function = function
        self._init_type = init_type
        self._silent = function.logging.system_log_level == "WARN"

    def _line(self, kind: str, record: dict[str, Any], *, warning: bool = False) -> str | None:
        if self._silent and not warning:
            return None
        moment = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return orjson.dumps({"time": moment, "type": kind, "record": record}).decode() + "\n"

    def init_start(self, version: str, arn: str) -> str | None:
        record = {
            "initializationType": self._init_type,
            "phase": "init",
            "runtimeVersion": version,
            "runtimeVersionArn": arn,
            "functionName": self._function.key.name,
            "functionVersion": self._function.version,
        }
        return self._line("platform.initStart", record)

    def init_report(self, seconds: float, phase: str, outcome: Outcome) -> str | None:
        record: dict[str, Any] = {
            "initializationType": self._init_type,
            "phase": phase,
            "status": outcome.status,
            "metrics": {"durationMs": round(seconds * 1000, 3)},
        }
        if outcome.error_type:
            record["errorType"] = outcome.error_type
        return self._line("platform.initReport", record, warning=True)

    def start(self, invocation: Invocation) -> str | None:
        record = {"requestId": invocation.request_id, "version": invocation.function.version}
        return self._line("platform.start", record)

    def timed_out(self, invocation: Invocation) -> str | None:
        return None  # the report's status says it

    def end(self, invocation: Invocation) -> str | None:
        return None  # the JSON format has no such event

    def report(
        self, invocation: Invocation, outcome: Outcome, peak_memory: int, init_seconds: float | None
    ) -> str | None:
        duration = (invocation.answered - invocation.started) * 1000
        metrics: dict[str, Any] = {
            "durationMs": round(duration, 3),
            "billedDurationMs": max(1, math.ceil(round(duration, 2))),
            "memorySizeMB": invocation.function.memory_size,
            "maxMemoryUsedMB": _megabytes(peak_memory),
        }
        if init_seconds is not None:
            metrics["initDurationMs"] = round(init_seconds * 1000, 3)
        record: dict[str, Any] = {
            "requestId": invocation.request_id,
            "metrics": metrics,
            "status": outcome.status,
        }
        if outcome.error_type:
            record["errorType"] = outcome.error_type
        return self._line("platform.report", record, warning=outcome.status != "success")


def reports_for(function: Function, clock: Clock) -> Reports:
    return JsonReports(clock, function) if function.logging.log_format == "JSON" else TextReports(clock)
