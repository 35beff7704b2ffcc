"""`application/vnd.amazon.eventstream`: answers that are a sequence of events, each a message of its own.

A message is its length (4 bytes), that of its headers (4), a CRC of these two (4), headers, payload, and a CRC of all
before it (4). A header is the length of its name (1), the name, its type (1; 7 is text), the length of the text (2) and
the text. Events of the XML protocols are not written: no service here has one.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol
from zlib import crc32

from botocore.model import OperationModel, StructureShape

from lambent.base.http import Response
from lambent.wire import models, serializer
from lambent.wire.router import Route

CONTENT_TYPE = "application/vnd.amazon.eventstream"


class Events(Protocol):
    """What a handler answers for such a member: (name of the event, its members), as the model has them."""

    def __aiter__(self) -> AsyncIterator[tuple[str, Mapping[str, Any]]]: ...
    async def aclose(self) -> None:
        """Always called at the end, however far the events got."""


_TEXT = b"\x07"
_PRELUDE = struct.Struct("!II")
_CRC = struct.Struct("!I")


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message."""
    encoded = b"".join(_header(name.encode(), value.encode()) for name, value in headers.items())
    prelude = _PRELUDE.pack(len(encoded) + len(payload) + 16, len(encoded))
    body = b"".join((prelude, _CRC.pack(crc32(prelude)), encoded, payload))
    return body + _CRC.pack(crc32(body))


def _header(name: bytes, value: bytes) -> bytes:
    return b"".join((len(name).to_bytes(1, "big"), name, _TEXT, len(value).to_bytes(2, "big"), value))


def member(operation: OperationModel) -> str | None:
    """The member of an operation's output that is a stream of events; None for most operations."""
    shape = operation.output_shape
    name: str | None = shape.event_stream_name if isinstance(shape, StructureShape) else None
    return name


def head(route: Route, result: Mapping[str, Any], request_id: str) -> Response:
    """The answer that the events follow; without the members that the protocol has no header for."""
    stream = member(route.operation)
    outside = {name: value for name, value in result.items() if name != stream} if _is_rest(route) else {}
    response = serializer.serialize(route, outside, request_id)
    headers = [pair for pair in response.headers if pair[0].lower() != "content-type"]
    return Response(response.status, [("Content-Type", CONTENT_TYPE), *headers])


def initial_response(route: Route, result: Mapping[str, Any]) -> bytes:
    """The members that found no place in `head`, as a message before the first event; b"" where all did."""
    if _is_rest(route):
        return b""
    shape = route.operation.output_shape
    rest = {name: value for name, value in result.items() if name != member(route.operation)}
    return message(_headers("initial-response", "application/json"), serializer.json_document(shape, rest))


def event(route: Route, name: str, members: Mapping[str, Any]) -> bytes:
    """The message of the event `name`."""
    shape = route.operation.get_event_stream_output().members[name]
    for key, part in shape.members.items():
        if part.serialization.get("eventpayload") and part.type_name == "blob":
            return message(_headers(name, "application/octet-stream"), members.get(key, b""))
    return message(_headers(name, "application/json"), serializer.json_document(shape, members))


def failure(code: str, text: str) -> bytes:
    """The last message when the events cannot go on, for a reason that the model does not foresee."""
    return message({":error-code": code, ":error-message": text, ":message-type": "error"}, b"")


def _headers(name: str, content_type: str) -> dict[str, str]:
    return {":event-type": name, ":content-type": content_type, ":message-type": "event"}


def _is_rest(route: Route) -> bool:
    return route.protocol in (models.REST_JSON, models.REST_XML)
