from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.telemetry import LOGS_API, TELEMETRY_API
from lambent.engine.telemetry_api import Invalid, parse
from lambent.engine.telemetry_buffer import Buffering
from lambent.engine.telemetry_delivery import Destination

URI = "http://sandbox.localdomain:8080/here?now"
WISH = {
    "schemaVersion": "2022-12-13",
    "types": ["platform", "function", "platform"],
    "destination": {"protocol": "HTTP", "URI": URI},
}


def wish(**changes: Any) -> bytes:
    return json.dumps({name: value for name, value in (WISH | changes).items() if value != "absent"}).encode()


def test_a_subscription() -> None:
    subscription = parse(TELEMETRY_API, wish())
    assert subscription.schema == "2022-12-13"
    assert subscription.types == ("platform", "function")
    assert subscription.destination == Destination("HTTP", 8080, "/here?now", "POST", "sandbox.localdomain")
    assert subscription.buffering == Buffering(10_000, 262_144, 1.0)


def test_buffering_and_tcp() -> None:
    given = {"maxItems": 1000, "maxBytes": 1_048_576, "timeoutMs": 25}
    subscription = parse(TELEMETRY_API, wish(buffering=given, destination={"protocol": "TCP", "port": 4243}))
    assert subscription.destination == Destination("TCP", 4243)
    assert subscription.buffering == Buffering(1000, 1_048_576, 0.025)


def test_the_logs_api_has_its_own_defaults() -> None:
    subscription = parse(LOGS_API, wish(schemaVersion="absent"))
    assert subscription.schema == "2020-08-15"
    put = {"protocol": "HTTP", "URI": "http://sandbox:99", "method": "PUT", "encoding": "JSON"}
    assert parse(LOGS_API, wish(schemaVersion="2021-03-18", destination=put)).destination == Destination(
        "HTTP", 99, "/", "PUT", "sandbox"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schemaVersion": "absent"}, "schemaVersion should be one of 2022-07-01, 2022-12-13, 2025-01-29"),
        ({"schemaVersion": "2020-08-15"}, "schemaVersion should be one of 2022-07-01, 2022-12-13, 2025-01-29"),
        ({"types": []}, "types should not be empty"),
        ({"types": ["network"]}, "types should be among platform, function, extension"),
        ({"destination": "absent"}, "destination is not provided"),
        ({"destination": {"protocol": "UDP"}}, "protocol should be HTTP or TCP"),
        ({"destination": {"protocol": "TCP"}}, "port is not provided"),
        ({"destination": {"protocol": "TCP", "port": True}}, "port should be between 1 and 65535"),
        ({"destination": {"protocol": "TCP", "port": 9001}}, "port 9001 is reserved"),
        ({"destination": {"protocol": "HTTP"}}, "URI is not provided or not valid"),
        (
            {"destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain"}, "types": []},
            "types should not be empty; URI port is not provided",
        ),
        (
            {"destination": {"protocol": "HTTP", "URI": "http://169.254.169.254:80/"}},
            "URI should be of the form http://sandbox.localdomain:PORT/PATH",
        ),
        (
            {"destination": {"protocol": "HTTP", "URI": "https://sandbox.localdomain:80/"}},
            "URI should be of the form http://sandbox.localdomain:PORT/PATH",
        ),
        (
            {"destination": {"protocol": "HTTP", "URI": "http://sandbox:1/a\r\nHost: b"}},
            "URI is not provided or not valid",
        ),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox:port/"}}, "URI is not valid"),
        ({"destination": {"protocol": "HTTP", "URI": URI, "method": "PUT"}}, "method is not supported"),
        ({"buffering": 1}, "buffering should be an object"),
        (
            {"buffering": {"maxItems": 999, "maxBytes": 262_143, "timeoutMs": 30_001}},
            "buffering.maxItems should be between 1000 and 10000; buffering.maxBytes should be between 262144 and "
            "1048576; buffering.timeoutMs should be between 25 and 30000",
        ),
        ({"buffering": {"maxItems": "1000"}}, "buffering.maxItems should be between 1000 and 10000"),
    ],
)
def test_what_cannot_be_had_is_refused_with_every_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid) as invalid:
        parse(TELEMETRY_API, wish(**changes))
    assert str(invalid.value) == message


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from([URI, "HTTP", "TCP", "platform"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["protocol", "URI", "port", "method", "maxItems", "timeoutMs"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(
    st.sampled_from([TELEMETRY_API, LOGS_API]),
    st.binary(max_size=50)
    | st.builds(
        lambda changes: json.dumps(WISH | changes).encode(),
        st.dictionaries(st.sampled_from(["schemaVersion", "types", "destination", "buffering", "else"]), JSON),
    ),
)
def test_anything_else_is_refused_too(api: str, body: bytes) -> None:
    try:
        subscription = parse(api, body)
    except Invalid as invalid:
        assert str(invalid)
    else:
        assert 1 <= subscription.destination.port <= 65_535
        assert "\r" not in subscription.destination.path
        assert " " not in subscription.destination.path
        assert subscription.types
