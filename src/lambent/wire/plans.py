"""What is known of requests that keep coming: their operation, and the parameters that are not in the body.

An invocation is asked for with the same path and the same headers again and again, and its payload is nobody's business
here. So what router, parser and validator made of the first such request stands for the next ones. Bounded: how many
are kept, and how large the requests may be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.model import StructureShape

from lambent.base.http import Request
from lambent.wire import eventstream, models, parser, router, validator
from lambent.wire.router import Route

_PLANS = 1024
_VARIANTS = 16  # of the headers of one path
_KEPT_BYTES = 512  # of a request's target, or of its headers that are parameters
_TARGET = b"x-amz-target"


class Plan:
    """How requests to one path are read."""

    __slots__ = ("_headers", "_kept", "_payload", "outgoing", "route", "stream", "takes")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.stream = eventstream.member(route.operation)
        """The member of the output that is a stream of events."""
        self.outgoing = _payload_name(route.operation.output_shape) if route.operation.has_streaming_output else None
        """The member of the output that may be a stream of bytes, `wire.streams.Outgoing`."""
        self.takes = _streamed_payload(route)
        """The member of the input that its handler reads as it comes, a `wire.streams.Incoming`."""
        self._payload = _opaque_payload(route)
        self._headers = _header_names(route) if self._payload is not None else ()
        self._kept: dict[tuple[bytes | None, ...], Mapping[str, Any]] = {}

    @property
    def worth_keeping(self) -> bool:
        return self._payload is not None

    def parameters_but_body(self, request: Request) -> Mapping[str, Any]:
        """Those of a request whose body is still to come."""
        return _read(self.route, request, b"")

    def parameters(self, request: Request, body: bytes) -> Mapping[str, Any]:
        """Parsed and validated; AwsError for what the model does not allow. `body` has its codings undone."""
        if self._payload is None:
            return _read(self.route, request, body)
        values = tuple(map(request.headers.first.get, self._headers))
        found = self._kept.get(values)
        if found is None:
            found = _read(self.route, request, b"")
            if len(self._kept) < _VARIANTS and sum(len(value) for value in values if value is not None) < _KEPT_BYTES:
                self._kept[values] = found
        return {**found, self._payload: body} if body else found


class Plans:
    """The plans of the newest paths."""

    def __init__(self) -> None:
        self._plans: dict[tuple[str, str, str | None], Plan] = {}

    def find(self, request: Request, signing_name: str | None) -> Plan:
        """The plan for a request whose credential scope names the service `signing_name`. Errors as `router.route`."""
        key = (request.method, request.target, signing_name)
        plan = self._plans.get(key)
        if plan is None or _TARGET in request.headers.first:
            plan = Plan(router.route(request, signing_name))
            if plan.worth_keeping and len(request.target) < _KEPT_BYTES:
                if len(self._plans) >= _PLANS:
                    self._plans.clear()
                self._plans[key] = plan
        return plan


def _read(route: Route, request: Request, body: bytes) -> Mapping[str, Any]:
    parameters = parser.parse(route, request, body)
    validator.validate(route.operation, parameters)
    return parameters


def _payload_name(shape: StructureShape | None) -> str | None:
    return None if shape is None else shape.serialization.get("payload")


def _streamed_payload(route: Route) -> str | None:
    """Only of S3, whose objects do not fit into memory."""
    if route.service.name != "s3" or not route.operation.has_streaming_input:
        return None
    return _payload_name(route.operation.input_shape)


def _opaque_payload(route: Route) -> str | None:
    """The input member that is the whole body, whatever it holds; None where the body must be read.

    Only for Lambda, whose paths tell the operation without a look at the headers.
    """
    shape = route.operation.input_shape
    if route.service.name != "lambda" or route.protocol != models.REST_JSON or not isinstance(shape, StructureShape):
        return None
    name: str | None = shape.serialization.get("payload")
    if name is None or name in shape.required_members:
        return None
    member = shape.members[name]
    free = member.type_name == "blob" and not {"min", "max"} & member.metadata.keys()
    prefixed = any(other.serialization.get("location") == "headers" for other in shape.members.values())
    return name if free and not prefixed else None


def _header_names(route: Route) -> tuple[bytes, ...]:
    shape = route.operation.input_shape
    assert isinstance(shape, StructureShape)
    members = [member.serialization for member in shape.members.values()]
    return tuple(place["name"].lower().encode() for place in members if place.get("location") == "header")
