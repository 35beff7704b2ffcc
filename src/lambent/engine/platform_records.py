"""The records of the platform's events, as the Telemetry API and the JSON log format hold them.

Source: "Lambda Telemetry API Event schema reference" of AWS's developer guide. Times are seconds here, milliseconds
with three decimals there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lambent.control.records import Function
from lambent.engine.invocation import Invocation, Outcome

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """The environment that the records are about."""

    function: Function
    initialization_type: str = "on-demand"
    runtime_version: str = ""  # "python:3.11.v2"
    runtime_version_arn: str = ""
    log_stream: str = ""


def milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def stamp(moment: datetime) -> str:
    """A moment in UTC as "2026-11-21T05:04:33.120Z"."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(seconds: float) -> str:
    """Seconds since the epoch, likewise."""
    return stamp(datetime.fromtimestamp(seconds, UTC))


def billed(milliseconds: float) -> int:
    """Every millisecond that has begun, by a duration with two decimals, as the log shows it."""
    return max(1, math.ceil(round(milliseconds, 2)))


def megabytes(count: int) -> int:
    return max(1, math.ceil(count / (1 << 20)))


def _failed(record: Record, outcome: Outcome | None) -> Record:
    """Add how it ended; None is success."""
    record["status"] = "success" if outcome is None else outcome.status
    if outcome is not None and outcome.error_type:
        record["errorType"] = outcome.error_type
    return record


def init_start(subject: Subject, phase: str) -> Record:
    return {
        "initializationType": subject.initialization_type,
        "phase": phase,
        "runtimeVersion": subject.runtime_version,
        "runtimeVersionArn": subject.runtime_version_arn,
        "functionName": subject.function.key.name,
        "functionVersion": subject.function.version,
        "instanceId": subject.log_stream,
        "instanceMaxMemory": subject.function.memory_size << 20,
    }


def init_runtime_done(subject: Subject, phase: str, outcome: Outcome | None) -> Record:
    return _failed({"initializationType": subject.initialization_type, "phase": phase}, outcome)


def init_report(subject: Subject, phase: str, seconds: float, outcome: Outcome | None) -> Record:
    record = {"initializationType": subject.initialization_type, "phase": phase}
    return _failed(record, outcome) | {"metrics": {"durationMs": milliseconds(seconds)}}


def restore_start(subject: Subject) -> Record:
    return {
        "initializationType": subject.initialization_type,
        "runtimeVersion": subject.runtime_version,
        "runtimeVersionArn": subject.runtime_version_arn,
        "functionName": subject.function.key.name,
        "functionVersion": subject.function.version,
        "instanceId": subject.log_stream,
        "instanceMaxMemory": subject.function.memory_size << 20,
    }


def restore_runtime_done(outcome: Outcome | None) -> Record:
    return _failed({}, outcome)


def restore_report(seconds: float, outcome: Outcome | None) -> Record:
    return _failed({}, outcome) | {"metrics": {"durationMs": milliseconds(seconds)}}


def start(invocation: Invocation) -> Record:
    return {"requestId": invocation.request_id, "version": invocation.function.version} | _tenant(invocation)


def _tenant(invocation: Invocation) -> Record:
    return {} if invocation.tenant is None else {"tenantId": invocation.tenant}


def tracing(invocation: Invocation) -> Record:
    return {"type": "X-Amzn-Trace-Id", "value": invocation.trace}


def runtime_done(invocation: Invocation, outcome: Outcome, started: float, ready: float) -> Record:
    """`started` in seconds since the epoch; `ready`: monotonic seconds at which the runtime had come back."""
    latency = invocation.answered - invocation.started
    spans: Sequence[Mapping[str, Any]] = ()
    if outcome.status in ("success", "error") and not outcome.error_type:
        spans = (
            {"name": "responseLatency", "start": moment(started), "durationMs": milliseconds(latency)},
            {"name": "responseDuration", "start": moment(started + latency), "durationMs": 0.0},
            {
                "name": "runtimeOverhead",
                "start": moment(started + latency),
                "durationMs": milliseconds(max(0.0, ready - invocation.answered)),
            },
        )
    metrics = {"durationMs": milliseconds(ready - invocation.started), "producedBytes": len(outcome.payload)}
    record = {"requestId": invocation.request_id, "metrics": metrics, "spans": spans}
    return _failed(record, outcome)


def end(invocation: Invocation) -> Record:
    return {"requestId": invocation.request_id}


def report(
    invocation: Invocation,
    outcome: Outcome,
    ended: float,
    peak_memory: int,
    init_seconds: float | None,
    restore_seconds: float | None = None,
) -> Record:
    """`ended` in monotonic seconds; `peak_memory` in bytes; the others of the start that it waited for."""
    duration = milliseconds(ended - invocation.started)
    metrics: Record = {
        "durationMs": duration,
        "billedDurationMs": billed(duration),
        "memorySizeMB": invocation.function.memory_size,
        "maxMemoryUsedMB": megabytes(peak_memory),
    }
    if init_seconds is not None:
        metrics["initDurationMs"] = milliseconds(init_seconds)
    if restore_seconds is not None:
        metrics["restoreDurationMs"] = milliseconds(restore_seconds)
        metrics["billedRestoreDurationMs"] = max(1, math.ceil(round(restore_seconds * 1000, 2)))
    return _failed({"requestId": invocation.request_id, "metrics": metrics} | _tenant(invocation), outcome)


def extension(name: str, state: str, events: Sequence[str], error_type: str | None) -> Record:
    record: Record = {"name": name, "state": state, "events": list(events)}
    return record | ({"errorType": error_type} if error_type else {})


def subscription(name: str, types: Sequence[str]) -> Record:
    return {"name": name, "state": "Subscribed", "types": list(types)}
