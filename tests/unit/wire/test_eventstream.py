"""Event streams, with botocore as the reader."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.awsrequest import HeadersDict
from botocore.eventstream import EventStream, EventStreamBuffer, NoInitialResponseError
from botocore.exceptions import EventStreamError
from botocore.parsers import create_parser
from hypothesis import given
from hypothesis import strategies as st

from lambent.wire import eventstream, models
from lambent.wire.router import Route

names = st.text("abcdefghijklmnopqrstuvwxyz:-", min_size=1, max_size=40)


class Raw:
    """What botocore reads a body from."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def stream(self) -> Any:
        return iter(self._pieces)

    def close(self) -> None: ...


def route_of(service: str, operation: str) -> Route:
    known = models.service(service)
    return Route(known, known.operation(operation), known.protocol, {})


def read(route: Route, *pieces: bytes) -> EventStream:
    parser = create_parser(route.protocol)._event_stream_parser
    return EventStream(Raw(*pieces), route.operation.get_event_stream_output(), parser, route.operation.name)


@given(st.dictionaries(names, st.text(max_size=300), max_size=8), st.binary(max_size=2000), st.integers(1, 64))
def test_messages_are_what_botocore_reads(headers: dict[str, str], payload: bytes, size: int) -> None:
    encoded = eventstream.message(headers, payload) * 2
    buffer = EventStreamBuffer()
    for start in range(0, len(encoded), size):
        buffer.add_data(encoded[start : start + size])
    found = list(buffer)
    assert [(message.headers, message.payload) for message in found] == [(headers, payload)] * 2


@given(st.lists(st.binary(min_size=1, max_size=100)), st.text(), st.sampled_from([None, "Unhandled"]))
def test_the_events_of_a_response_stream(chunks: list[bytes], details: str, code: str | None) -> None:
    route = route_of("lambda", "InvokeWithResponseStream")
    pieces = [eventstream.event(route, "PayloadChunk", {"Payload": chunk}) for chunk in chunks]
    complete = {"ErrorDetails": details} | ({"ErrorCode": code} if code else {})
    pieces.append(eventstream.event(route, "InvokeComplete", {**complete, "LogResult": None}))
    assert eventstream.initial_response(route, {"StatusCode": 200}) == b""
    expected = [{"PayloadChunk": {"Payload": chunk}} for chunk in chunks] + [{"InvokeComplete": complete}]
    assert list(read(route, *pieces)) == expected


def test_the_head_holds_the_members_that_have_headers() -> None:
    route = route_of("lambda", "InvokeWithResponseStream")
    result = {"StatusCode": 200, "ExecutedVersion": "7", "EventStream": object()}
    response = eventstream.head(route, result, "id-1")
    assert (response.status, response.body) == (200, b"")
    headers = {name.lower(): value for name, value in response.headers}
    assert headers["content-type"] == eventstream.CONTENT_TYPE
    assert headers["x-amz-executed-version"] == "7"
    assert headers["x-amzn-requestid"] == "id-1"
    fields = {"status_code": 200, "headers": HeadersDict(response.headers), "body": Raw(), "context": {}}
    parsed = create_parser(route.protocol).parse(fields, route.operation.output_shape)
    assert parsed["ExecutedVersion"] == "7"
    assert parsed["ResponseStreamContentType"] == eventstream.CONTENT_TYPE


def test_other_protocols_begin_with_a_message() -> None:
    route = route_of("logs", "StartLiveTail")
    body = eventstream.initial_response(route, {"responseStream": object()})
    event = eventstream.event(route, "sessionStart", {"requestId": "r", "logGroupIdentifiers": ["g"]})
    stream = read(route, body, event)
    assert stream.get_initial_response().payload == b"{}"
    assert list(stream) == [{"sessionStart": {"requestId": "r", "logGroupIdentifiers": ["g"]}}]
    with pytest.raises(NoInitialResponseError):
        read(route, event).get_initial_response()
    assert eventstream.head(route, {}, "id").headers[0] == ("Content-Type", eventstream.CONTENT_TYPE)


def test_a_failure_is_an_exception_for_the_client() -> None:
    route = route_of("lambda", "InvokeWithResponseStream")
    stream = read(route, eventstream.failure("InternalFailure", "An internal error occurred."))
    with pytest.raises(EventStreamError, match=r"InternalFailure.*An internal error occurred"):
        list(stream)


def test_only_some_operations_stream() -> None:
    assert eventstream.member(route_of("lambda", "InvokeWithResponseStream").operation) == "EventStream"
    assert eventstream.member(route_of("lambda", "Invoke").operation) is None
    assert eventstream.member(route_of("lambda", "DeleteAlias").operation) is None
