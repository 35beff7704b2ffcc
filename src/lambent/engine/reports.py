"""How the platform's events look in a function's log: as the lines that every Lambda user knows, or as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from lambent.control.records import LoggingConfig
from lambent.engine.platform_records import billed

Record = Mapping[str, Any]
Format = Callable[[str, Record, str], str | None]
"""(type of the event, its record, its time) → the log line, None for what the log does not show."""

_LEVELS = {"DEBUG": 0, "INFO": 1, "WARN": 2}


def format_for(logging: LoggingConfig) -> Format:
    if logging.log_format != "JSON":
        return text
    threshold = _LEVELS.get(logging.system_log_level or "INFO", 1)

    def line(kind: str, record: Record, time: str) -> str | None:
        if _LEVELS[level(kind, record)] < threshold:
            return None
        return orjson.dumps({"time": time, "type": kind, "record": record}).decode() + "\n"

    return line


# Text


def text(kind: str, record: Record, time: str) -> str | None:
    write = _TEXTS.get(kind)
    return None if write is None else write(record)


def _init_start(record: Record) -> str:
    version, arn = record["runtimeVersion"], record["runtimeVersionArn"]
    return f"INIT_START Runtime Version: {version}\tRuntime Version ARN: {arn}\n"


def _init_report(record: Record) -> str | None:
    milliseconds = record["metrics"]["durationMs"]
    if record["status"] == "success":
        snapshot = record["initializationType"] == "snap-start"  # else the first REPORT says it
        return f"INIT_REPORT Init Duration: {milliseconds:.2f} ms\n" if snapshot else None
    line = f"INIT_REPORT Init Duration: {milliseconds:.2f} ms\tPhase: {record['phase']}\tStatus: {record['status']}"
    return f"{line}\tError Type: {record['errorType']}\n" if "errorType" in record else f"{line}\n"


def _restore_start(record: Record) -> str:
    version, arn = record["runtimeVersion"], record["runtimeVersionArn"]
    return f"RESTORE_START Runtime Version: {version}\tRuntime Version ARN: {arn}\n"


def _restore_report(record: Record) -> str:
    line = f"RESTORE_REPORT Restore Duration: {record['metrics']['durationMs']:.2f} ms"
    if record["status"] == "success":
        return f"{line}\n"
    line = f"{line}\tStatus: {record['status']}"
    return f"{line}\tError Type: {record['errorType']}\n" if "errorType" in record else f"{line}\n"


def start_line(request_id: str, version: str) -> str:
    return f"START RequestId: {request_id} Version: {version}\n"


def end_line(request_id: str) -> str:
    return f"END RequestId: {request_id}\n"


def report_line(request_id: str, milliseconds: float, memory_size: int, used: int, more: Sequence[str] = (), /) -> str:
    """`memory_size` and `used` in MB; `more` are further parts of the line."""
    parts = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {milliseconds:.2f} ms",
        f"Billed Duration: {billed(milliseconds)} ms",
        f"Memory Size: {memory_size} MB",
        f"Max Memory Used: {used} MB",
        *more,
    ]
    return "\t".join(parts) + "\t\n"


def _report(record: Record) -> str:
    metrics = record["metrics"]
    more = []
    if "initDurationMs" in metrics:
        more.append(f"Init Duration: {metrics['initDurationMs']:.2f} ms")
    if "restoreDurationMs" in metrics:
        more.append(f"Restore Duration: {metrics['restoreDurationMs']:.2f} ms")
        more.append(f"Billed Restore Duration: {metrics['billedRestoreDurationMs']} ms")
    if record["status"] == "timeout":
        more.append("Status: timeout")
    elif "errorType" in record:
        more += ["Status: error", f"Error Type: {record['errorType']}"]
    used, size = metrics["maxMemoryUsedMB"], metrics["memorySizeMB"]
    return report_line(record["requestId"], metrics["durationMs"], size, used, more)


def _extension(record: Record) -> str:
    line = f"EXTENSION\tName: {record['name']}\tState: {record['state']}\tEvents: [{', '.join(record['events'])}]"
    return f"{line}\tError Type: {record['errorType']}\n" if "errorType" in record else f"{line}\n"


def _subscription(api: str) -> Callable[[Record], str]:
    def write(record: Record) -> str:
        types = ", ".join(str(kind).capitalize() for kind in record["types"])
        return f"{api}\tName: {record['name']}\tState: {record['state']}\tTypes: [{types}]\n"

    return write


_TEXTS: Mapping[str, Callable[[Record], str | None]] = {
    "platform.initStart": _init_start,
    "platform.initReport": _init_report,
    "platform.restoreStart": _restore_start,
    "platform.restoreReport": _restore_report,
    "platform.start": lambda record: start_line(record["requestId"], record["version"]),
    "platform.end": lambda record: end_line(record["requestId"]),
    "platform.report": _report,
    "platform.extension": _extension,
    "platform.telemetrySubscription": _subscription("TELEMETRY"),
    "platform.logsSubscription": _subscription("LOGS"),
}


# JSON


def level(kind: str, record: Record) -> str:
    """The level of an event among the system logs. Source: "System log level event mapping" of AWS's guide."""
    if kind == "platform.logsDropped" or record.get("status", "success") != "success":
        return "WARN"
    if kind in ("platform.initRuntimeDone", "platform.restoreRuntimeDone", "platform.runtimeDone"):
        return "DEBUG"
    if kind == "platform.initReport":
        return "DEBUG" if record["initializationType"] == "on-demand" else "INFO"
    if kind in ("platform.initStart", "platform.restoreStart"):
        return "INFO" if record.get("runtimeVersion") else "DEBUG"
    if kind == "platform.extension" and record.get("errorType"):
        return "WARN"
    return "INFO"
