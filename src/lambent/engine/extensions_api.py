"""The Extensions API (2020-01-01) of one execution environment, with the Telemetry and Logs APIs beside it.

Error types and messages are those of the runtime interface emulator. A parked `/event/next` is an idle extension.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson

from lambent.base.http import Exchange, Request, Response
from lambent.control.records import Function
from lambent.engine import telemetry_api
from lambent.engine.extensions import INVOKE, Event, Extension, Refused, Registry
from lambent.engine.invocation import Invocation
from lambent.engine.platform_events import PlatformEvents
from lambent.engine.runtime_api import api_error
from lambent.engine.telemetry import NAMES, TELEMETRY_API, Telemetry

_EXTENSIONS = "/2020-01-01/extension/"
_JSON = ("Content-Type", "application/json")
_ACCEPTED = Response(202, (_JSON,), b'{"status":"OK"}\n')
_OK = Response(200, (_JSON,), b'"OK"')


class Host(Protocol):
    """What the Extensions API tells its environment."""

    function: Function

    extensions: Registry
    telemetry: Telemetry
    events: PlatformEvents

    def extension_registered(self) -> None: ...
    def extension_ready(self) -> None:
        """An extension has asked for its next event."""


class ExtensionsApi:
    """Answers requests whose paths are not the Runtime API's. `routes` says which."""

    def __init__(self, host: Host, identifier: Callable[[], str]) -> None:
        """`identifier` makes a fresh UUID."""
        self._host = host
        self._identifier = identifier
        self._parked: dict[str, Exchange] = {}

    @property
    def routes(self) -> Mapping[str, Callable[[Exchange], None]]:
        return {"/2020-01-01/": self._extension, "/2022-07-01/": self._subscription, "/2020-08-15/": self._subscription}

    def _extension(self, exchange: Exchange) -> None:
        request = exchange.request
        path = request.path.removeprefix(_EXTENSIONS)
        try:
            if path == "register" and request.method == "POST":
                exchange.respond(self._register(request))
            elif path == "event/next" and request.method == "GET":
                self._next(exchange)
            elif path in ("init/error", "exit/error") and request.method == "POST":
                exchange.respond(self._failed(request, path))
            else:
                message = f"{request.method} {request.path} is not part of the Extensions API"
                exchange.respond(api_error(404, "NotFound", message))
        except Refused as refusal:
            exchange.respond(api_error(403, refusal.kind, refusal.message))

    def _register(self, request: Request) -> Response:
        name = request.headers.get("lambda-extension-name")
        if not name:
            raise Refused("Extension.InvalidExtensionName", "Empty extension name")
        events = _wanted_events(request.body)
        extension = self._host.extensions.register(_text(name), events, self._identifier())
        function = self._host.function
        answer = {
            "functionName": function.key.name,
            "functionVersion": function.version,
            "handler": function.handler,
        }
        features = request.headers.get("lambda-extension-accept-feature", "") or ""
        if "accountId" in (feature.strip() for feature in features.split(",")):
            answer["accountId"] = function.key.account
        self._host.extension_registered()
        return Response(200, (_JSON, ("Lambda-Extension-Identifier", extension.id)), orjson.dumps(answer))

    def _caller(self, request: Request) -> Extension:
        identifier = request.headers.get("lambda-extension-identifier")
        if not identifier:
            raise Refused("Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
        try:
            identifier = str(uuid.UUID(identifier))
        except ValueError:
            raise Refused("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier") from None
        return self._host.extensions.identified(identifier)

    def _next(self, exchange: Exchange) -> None:
        extension = self._caller(exchange.request)
        parked = self._parked.get(extension.id)

        def give(event: Event) -> None:
            self._parked.pop(extension.id, None)
            headers = (_JSON, ("Lambda-Extension-Event-Identifier", self._identifier()))
            exchange.respond(Response(200, headers, orjson.dumps(event)))

        if parked is not None and parked.closed and extension.give is not None:
            extension.give = give  # it has lost its connection and asks again
            self._parked[extension.id] = exchange
            return
        self._host.extensions.next(extension, give)
        if extension.give is not None:
            self._parked[extension.id] = exchange
        self._host.extension_ready()

    def _failed(self, request: Request, path: str) -> Response:
        extension = self._caller(request)
        kind = request.headers.get("lambda-extension-function-error-type")
        if not kind:
            raise Refused("Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found")
        registry = self._host.extensions
        (registry.init_error if path == "init/error" else registry.exit_error)(extension, _text(kind)[:256])
        return _ACCEPTED

    def _subscription(self, exchange: Exchange) -> None:
        request = exchange.request
        _, version, path = request.path.split("/", 2)
        if request.method != "PUT" or path.rstrip("/") != NAMES[version].lower():
            message = f"{request.method} {request.path} is not part of the {NAMES[version]} API"
            exchange.respond(api_error(404, "NotFound", message))
            return
        try:
            extension = self._caller(request)
            subscription = telemetry_api.parse(version, request.body)
            if self._host.telemetry.subscribe(extension.name, subscription):
                self._host.events.subscribed(extension.name, subscription)
            exchange.respond(_OK)
        except Refused as refusal:
            exchange.respond(api_error(403, refusal.kind, refusal.message))
        except telemetry_api.Invalid as invalid:
            kind = "ValidationError" if version == TELEMETRY_API else "Logs.ValidationError"
            exchange.respond(api_error(400, kind, str(invalid)))


def invoke_event(invocation: Invocation) -> Event:
    """What extensions are told of an invocation."""
    return {
        "eventType": INVOKE,
        "deadlineMs": int(invocation.deadline_epoch * 1000),
        "requestId": invocation.request_id,
        "invokedFunctionArn": invocation.invoked_arn or invocation.function.arn,
        "tracing": {"type": "X-Amzn-Trace-Id", "value": invocation.trace},
    }


def _wanted_events(body: bytes) -> list[str]:
    try:
        wish: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused("InvalidRequestFormat", str(error)) from None
    if not isinstance(wish, dict):
        raise Refused("InvalidRequestFormat", "the request should be an object")
    if wish.get("configurationKeys"):
        message = "configurationKeys are deprecated; use environment variables instead"
        raise Refused("InvalidRequestFormat", message)
    events = wish.get("events") or []
    if not isinstance(events, list) or not all(isinstance(event, str) for event in events):
        raise Refused("InvalidRequestFormat", "events should be an array of strings")
    return events


def _text(header: str) -> str:
    """A header that may be UTF-8, as a file's name may."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeDecodeError:
        return header
