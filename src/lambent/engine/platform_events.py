"""The platform's events of one execution environment: into the function's log and to its telemetry subscribers."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from lambent.base.clock import Clock
from lambent.control.records import Function
from lambent.engine import platform_records as records
from lambent.engine.extensions import Extension
from lambent.engine.failures import is_crash
from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.platform_records import Record, Subject
from lambent.engine.reports import end_line, format_for, report_line, start_line
from lambent.engine.telemetry import TELEMETRY_API, Subscription, Telemetry

Write = Callable[[str, Invocation | None], None]
_TRACED = frozenset({"platform.start", "platform.runtimeDone", "platform.report"})
_NOT_LOGGED_AS_JSON = frozenset({"platform.end", "platform.fault", "platform.logsSubscription"})


class PlatformEvents:
    def __init__(self, subject: Subject, clock: Clock, telemetry: Telemetry, write: Write) -> None:
        """`write` takes a line of the log and the invocation that it belongs to."""
        self._subject = subject
        self._clock = clock
        self._telemetry = telemetry
        self._write = write
        self._format = format_for(subject.function.logging)
        self._text = subject.function.logging.log_format != "JSON"
        debug = subject.function.logging.system_log_level == "DEBUG"
        self._chatty = debug and not self._text

    @property
    def _function(self) -> Function:
        return self._subject.function

    def _event(self, kind: str, record: Record, invocation: Invocation | None = None) -> None:
        if self._text or kind not in _NOT_LOGGED_AS_JSON:
            line = self._format(kind, record, "" if self._text else self._now())
            if line is not None:
                self._write(line, invocation)
        if self._telemetry.active:
            if invocation is not None and kind in _TRACED and invocation.trace:
                record = record | {"tracing": records.tracing(invocation)}
            self._telemetry.emit(kind, record)

    def _now(self) -> str:
        return records.stamp(self._clock.now())

    # The init phase

    def init_start(self, phase: str) -> None:
        record = records.init_start(self._subject, phase)
        if phase == "init" or not self._text:
            self._event("platform.initStart", record)
        elif self._telemetry.active:
            self._telemetry.emit("platform.initStart", record)

    def init_runtime_done(self, phase: str, outcome: Outcome | None) -> None:
        self._event("platform.initRuntimeDone", records.init_runtime_done(self._subject, phase, outcome))

    def init_report(self, phase: str, seconds: float, outcome: Outcome | None, invocation: Invocation | None) -> None:
        self._event("platform.initReport", records.init_report(self._subject, phase, seconds, outcome), invocation)

    def extension(self, extension: Extension, invocation: Invocation | None) -> None:
        record = records.extension(extension.name, extension.state, extension.events, extension.error_type)
        self._event("platform.extension", record, invocation)

    def subscribed(self, name: str, subscription: Subscription) -> None:
        kind = "telemetrySubscription" if subscription.api == TELEMETRY_API else "logsSubscription"
        self._event(f"platform.{kind}", records.subscription(name, subscription.types))

    # The restore phase

    def restore_start(self) -> None:
        self._event("platform.restoreStart", records.restore_start(self._subject))

    def restore_report(self, seconds: float, outcome: Outcome | None) -> None:
        self._event("platform.restoreRuntimeDone", records.restore_runtime_done(outcome))
        self._event("platform.restoreReport", records.restore_report(seconds, outcome))

    # Invocations

    def start(self, invocation: Invocation) -> None:
        if self._text and not self._telemetry.active:  # the usual case, on every invocation's path
            self._write(start_line(invocation.request_id, invocation.function.version), invocation)
        else:
            self._event("platform.start", records.start(invocation), invocation)

    def runtime_done(self, invocation: Invocation, outcome: Outcome, ready: float) -> None:
        """`ready`: monotonic seconds at which the runtime had come back, or was lost."""
        if self._telemetry.active or self._chatty or (not self._text and outcome.status != "success"):
            started = self._clock.time() - (self._clock.monotonic() - invocation.started)
            record = records.runtime_done(invocation, outcome, started, ready)
            self._event("platform.runtimeDone", record, invocation)

    def ended(
        self,
        invocation: Invocation,
        outcome: Outcome,
        ended: float,
        peak_memory: int,
        init_seconds: float | None,
        restore_seconds: float | None = None,
    ) -> None:
        """The end and its report. `ended` in monotonic seconds, `peak_memory` in bytes."""
        plain = self._text and not self._telemetry.active
        first = init_seconds is not None or restore_seconds is not None
        if plain and not first and outcome.status == "success":  # the usual case, on the path of every one
            duration, used = records.milliseconds(ended - invocation.started), records.megabytes(peak_memory)
            self._write(end_line(invocation.request_id), invocation)
            size = invocation.function.memory_size
            self._write(report_line(invocation.request_id, duration, size, used), invocation)
            return
        self._event("platform.end", records.end(invocation), invocation)
        record = records.report(invocation, outcome, ended, peak_memory, init_seconds, restore_seconds)
        self._event("platform.report", record, invocation)
        if is_crash(outcome):
            self._crashed(invocation, outcome)

    def timed_out(self, invocation: Invocation) -> None:
        text = f"{invocation.request_id} Task timed out after {self._function.timeout:.2f} seconds"
        if self._text:
            self._write(f"{self._now()} {text}\n\n", invocation)
        self._fault(f"RequestId: {text}")

    def _crashed(self, invocation: Invocation, outcome: Outcome) -> None:
        """The runtime or an extension has ended when it should not have."""
        message = orjson.loads(outcome.payload)["errorMessage"]
        text = f"{message}\n{outcome.error_type}"
        if self._text:
            self._write(f"{text}\n", invocation)
        self._fault(text)

    def _fault(self, text: str) -> None:
        if self._telemetry.active:
            self._telemetry.emit("platform.fault", text)
