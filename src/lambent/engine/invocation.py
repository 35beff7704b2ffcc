"""One invocation and what came of it."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field

from lambent.base.pipe import Pipe
from lambent.control.records import Function

RESPONSE_LIMIT = 6 * 1024 * 1024 + 100  # bytes the Runtime API takes
STREAM_LIMIT = 200 * 1024 * 1024  # bytes of a streamed response
TAIL_LIMIT = 4096  # bytes of log that LogType=Tail answers


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an invocation. A function's own failure is a result, never an exception."""

    payload: bytes
    function_error: str | None = None  # "Unhandled": what X-Amz-Function-Error says
    error_type: str | None = None  # "Runtime.ExitError"; of failures that the platform saw
    status: str = "success"  # success, error, failure or timeout, as the Telemetry API calls them
    content_type: str = "application/json"


@dataclass(slots=True)
class Invocation:
    """An event on its way through an execution environment."""

    request_id: str
    function: Function
    payload: bytes
    invoked_arn: str
    trace: str  # the X-Amzn-Trace-Id header
    client_context: str | None = None  # JSON text
    tenant: str | None = None  # for whom it is, of functions with environments of tenants
    done: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    deadline_epoch: float = 0.0  # seconds since the epoch at which the platform gives up
    started: float = 0.0  # monotonic seconds at which the runtime got the event
    answered: float = 0.0  # monotonic seconds at which its answer was complete
    tail: Tail | None = None
    pipe: Pipe | None = None  # takes the response as it comes, if the caller and the runtime both stream

    def finish(self, outcome: Outcome) -> bool:
        """Settle the invocation; False when it was settled before."""
        if self.done.done():
            return False
        self.done.set_result(outcome)
        return True


class Tail:
    """The last 4 KiB of an invocation's log."""

    __slots__ = ("_lines", "_size")

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0

    def append(self, line: str) -> None:
        encoded = line.encode()
        self._lines.append(encoded)
        self._size += len(encoded)
        while self._size - len(self._lines[0]) >= TAIL_LIMIT:
            self._size -= len(self._lines.pop(0))

    def content(self) -> bytes:
        return b"".join(self._lines)[-TAIL_LIMIT:]

    def encoded(self) -> str:
        """In base64, as the API answers it."""
        return base64.b64encode(self.content()).decode()
