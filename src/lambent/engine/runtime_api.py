"""The Runtime API (2018-06-01) of one execution environment.

The listener is the identity of the environment: nobody else can reach it. A parked `/next` is the idle slot.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Protocol

import orjson

from lambent.base.http import Exchange, Request, Response, Sink
from lambent.engine.failures import function_error
from lambent.engine.invocation import RESPONSE_LIMIT, STREAM_LIMIT, Invocation, Outcome

_PREFIX = "/2018-06-01/"
_INVOCATION = "/2018-06-01/runtime/invocation/"
_READ_LIMIT = (
    32 << 20
)  # bytes read of an answer before the connection is cut; above RESPONSE_LIMIT it is refused politely
_MODE = b"lambda-runtime-function-response-mode"
_OTHERS_LIMIT = 65_536  # bytes of a request to the Extensions, Telemetry or Logs API
_JSON = ("Content-Type", "application/json")
_TRANSITION = "State transition from Ready to {} failed for runtime. Error: State transition is not allowed"
CREDENTIALS_PATH = "/2021-04-23/credentials"
_ACCEPTED = Response(202, (_JSON,), b'{"status":"OK"}\n')


class Host(Protocol):
    """What the Runtime API tells its environment."""

    def runtime_ready(self, give: Callable[[Invocation], None]) -> None:
        """The runtime asks for its next event; `give` hands it one."""

    def runtime_streams(self, request_id: str) -> Sink | None:
        """The runtime begins a streamed response: who takes it. None when it must be complete first."""

    def runtime_answered(self, request_id: str, outcome: Outcome) -> bool:
        """False when no such invocation waits for an answer. Behind a streamed response the payload is empty."""

    def runtime_failed(self, request_id: str, error_type: str, body: bytes) -> bool: ...
    def runtime_too_large(self, request_id: str, limit: int) -> bool: ...
    def runtime_refused(self, request_id: str, error_type: str, message: str) -> bool:
        """The runtime has answered in a way that the Runtime API does not know."""

    def snapshot_ready(self, go_on: Callable[[], None], fork: Callable[[], None] | None = None) -> bool:
        """The runtime has finished its init phase and waits to be restored. False when nobody restores it.

        `fork` instead of `go_on` has it fork, and the child ask again; None for a runtime that has not offered to.
        """

    def restore_failed(self, error_type: str, body: bytes) -> bool:
        """False when nothing is being restored."""

    def container_credentials(self, token: str) -> Mapping[str, str] | None:
        """The credentials of an environment that has none in its variables. None for a wrong token."""

    def init_failed(self, error_type: str, body: bytes) -> bool:
        """False when the init phase is over."""


def api_error(status: int, error_type: str, message: str) -> Response:
    body = orjson.dumps({"errorMessage": message, "errorType": error_type})
    return Response(status, (_JSON,), body)


def event_response(invocation: Invocation) -> Response:
    """The answer to `/next`: the event and its headers."""
    function = invocation.function
    deadline = int((invocation.deadline_epoch) * 1000)
    headers = [
        _JSON,
        ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
        ("Lambda-Runtime-Deadline-Ms", str(deadline)),
        ("Lambda-Runtime-Invoked-Function-Arn", invocation.invoked_arn or function.arn),
        ("Lambda-Runtime-Trace-Id", invocation.trace),
    ]
    if invocation.client_context is not None:
        headers.append(("Lambda-Runtime-Client-Context", invocation.client_context))
    if invocation.tenant is not None:
        headers.append(("Lambda-Runtime-Aws-Tenant-Id", invocation.tenant))
    return Response(200, headers, invocation.payload)


class RuntimeApi:
    """An HTTP application for one environment's listener."""

    def __init__(self, host: Host, others: Mapping[str, Callable[[Exchange], None]] | None = None) -> None:
        """`others` answer the paths that begin with their key ("/2020-01-01/")."""
        self._host = host
        self._others = others or {}
        self._parked: Exchange | None = None

    def admit(self, request: Request) -> Response | None:
        if not request.path.startswith(_PREFIX):
            request.body_limit = _OTHERS_LIMIT
            return None
        request.body_limit = _READ_LIMIT
        if request.headers.first.get(_MODE) == b"streaming" and (answered := _answered(request)):
            request.sink = self._host.runtime_streams(answered)
            if request.sink is not None:
                request.body_limit = STREAM_LIMIT
        return None

    def too_large(self, request: Request) -> Response:
        limit = RESPONSE_LIMIT if request.sink is None else STREAM_LIMIT
        if answered := _answered(request):
            self._host.runtime_too_large(answered, limit)
        return self._entity_too_large(limit)

    def malformed(self, reason: str) -> Response:
        return api_error(400, "InvalidRequest", reason)

    def handle(self, exchange: Exchange) -> None:
        request = exchange.request
        path = request.path
        if path.startswith(_INVOCATION):
            self._invocation(exchange, request, path[len(_INVOCATION) :])
        elif path == f"{_PREFIX}runtime/init/error" and request.method == "POST":
            exchange.respond(self._init_error(request))
        elif path == f"{_PREFIX}runtime/restore/next" and request.method == "GET":
            self._restore_next(exchange)
        elif path == f"{_PREFIX}runtime/restore/error" and request.method == "POST":
            exchange.respond(self._restore_error(request))
        elif path == CREDENTIALS_PATH and request.method == "GET":
            exchange.respond(self._credentials(request))
        elif path == f"{_PREFIX}ping" and request.method == "GET":
            exchange.respond(Response(200, (), b"pong"))
        elif (other := self._others.get(path[: len(_PREFIX)])) is not None:
            other(exchange)
        else:
            exchange.respond(api_error(404, "NotFound", f"{request.method} {path} is not part of the Runtime API"))

    def _invocation(self, exchange: Exchange, request: Request, rest: str) -> None:
        if rest == "next":
            if request.method == "GET":
                self._next(exchange)
            else:
                exchange.respond(api_error(405, "MethodNotAllowed", "the next invocation is a GET"))
            return
        request_id, _, action = rest.partition("/")
        if request.method == "POST" and action == "response":
            exchange.respond(self._response(request_id, request))
        elif request.method == "POST" and action == "error":
            exchange.respond(self._failure(request_id, request))
        else:
            exchange.respond(api_error(404, "NotFound", f"{request.method} {rest} is not part of the Runtime API"))

    def _next(self, exchange: Exchange) -> None:
        if self._parked is not None and not self._parked.closed:
            message = "State transition from Ready to Ready failed for runtime. Error: State transition is not allowed"
            exchange.respond(api_error(403, "InvalidStateTransition", message))
            return
        self._parked = exchange

        def give(invocation: Invocation) -> None:
            self._parked = None
            exchange.respond(event_response(invocation))

        self._host.runtime_ready(give)

    def _response(self, request_id: str, request: Request) -> Response:
        mode = request.headers.first.get(_MODE)
        if mode is not None and mode != b"streaming":
            message = f"Invalid function response mode: {mode.decode('latin-1')}"
            self._host.runtime_refused(request_id, "Runtime.InvalidResponseModeHeader", message)
            return api_error(400, "InvalidFunctionResponseMode", message)
        if len(request.body) > RESPONSE_LIMIT:
            self._host.runtime_too_large(request_id, RESPONSE_LIMIT)
            return self._entity_too_large(RESPONSE_LIMIT)
        if mode is not None and (error_type := request.trailers.get("lambda-runtime-function-error-type")):
            outcome = function_error(error_type, _error_body(request))
        else:
            outcome = Outcome(request.body, content_type=request.headers.get("content-type") or "application/json")
        if self._host.runtime_answered(request_id, outcome):
            return _ACCEPTED
        return api_error(400, "InvalidRequestID", "Invalid request ID")

    def _failure(self, request_id: str, request: Request) -> Response:
        if len(request.body) > RESPONSE_LIMIT:
            self._host.runtime_too_large(request_id, RESPONSE_LIMIT)
            return self._entity_too_large(RESPONSE_LIMIT)
        error_type = request.headers.get("lambda-runtime-function-error-type") or "Function.Unknown"
        if self._host.runtime_failed(request_id, error_type, request.body):
            return _ACCEPTED
        return api_error(400, "InvalidRequestID", "Invalid request ID")

    def _init_error(self, request: Request) -> Response:
        error_type = request.headers.get("lambda-runtime-function-error-type") or "Runtime.Unknown"
        if self._host.init_failed(error_type, request.body):
            return _ACCEPTED
        message = "State transition from Ready to InitError failed for runtime. Error: State transition is not allowed"
        return api_error(403, "InvalidStateTransition", message)

    def _restore_next(self, exchange: Exchange) -> None:
        def go_on() -> None:
            exchange.respond(Response(200, (), b""))

        def fork() -> None:
            exchange.respond(Response(202, (), b""))

        forks = exchange.request.headers.get("lambent-forks") is not None
        if not self._host.snapshot_ready(go_on, fork if forks else None):
            exchange.respond(api_error(403, "InvalidStateTransition", _TRANSITION.format("RestoreReady")))

    def _restore_error(self, request: Request) -> Response:
        error_type = request.headers.get("lambda-runtime-function-error-type") or "Runtime.Unknown"
        if self._host.restore_failed(error_type, request.body):
            return _ACCEPTED
        return api_error(403, "InvalidStateTransition", _TRANSITION.format("RestoreError"))

    def _credentials(self, request: Request) -> Response:
        found = self._host.container_credentials(request.headers.get("authorization") or "")
        if found is None:
            return api_error(404, "InvalidToken", "The provided authorization token is not valid")
        return Response(200, (_JSON,), orjson.dumps(dict(found)))

    @staticmethod
    def _entity_too_large(limit: int) -> Response:
        message = f"Exceeded maximum allowed payload size ({limit} bytes)."
        return api_error(413, "RequestEntityTooLarge", message)


def _answered(request: Request) -> str | None:
    """The id of the invocation that the request is the response of."""
    path = request.path
    if request.method == "POST" and path.startswith(_INVOCATION) and path.endswith("/response"):
        return path[len(_INVOCATION) : -len("/response")]
    return None


def _error_body(request: Request) -> bytes:
    """The error JSON that a trailer carries in base64; as it is when it is not."""
    text = (request.trailers.get("lambda-runtime-function-error-body") or "").encode("latin-1")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return text
