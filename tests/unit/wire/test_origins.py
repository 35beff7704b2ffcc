from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.base.http import Headers, Request
from lambent.wire import origins


def request(**headers: str) -> Request:
    pairs = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    return Request("POST", "/2015-03-31/functions", Headers(pairs), True)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:4566",
        "localhost:4566",
        "LOCALHOST",
        "[::1]:4566",
        "10.1.2.3:4566",
        "bucket.localhost:4566",
        "lambda.us-east-1.amazonaws.com",
        "host.docker.internal:4566",
    ],
)
def test_what_tools_send_passes(host: str) -> None:
    assert origins.refusal(request(host=host)) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example:4566", "127.0.0.1.evil.example", "localhost.evil.example", "evilamazonaws.com", "", "[x", "a:b:c"],
)
def test_a_name_that_a_web_page_could_own_is_refused(host: str) -> None:
    assert "are refused" in (origins.refusal(request(host=host)) or "")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://evil.example:4566", "http://localhost:3000", ""]
)
def test_requests_of_web_pages_are_refused(origin: str) -> None:
    assert "web pages" in (origins.refusal(request(host="localhost:4566", origin=origin)) or "")


def test_a_page_of_this_server_itself_passes() -> None:
    assert origins.refusal(request(host="127.0.0.1:4566", origin="http://127.0.0.1:4566")) is None


def test_no_host_at_all_passes() -> None:
    assert origins.refusal(request()) is None


@given(st.text(max_size=60), st.text(max_size=60))
def test_anything_is_decided(host: str, origin: str) -> None:
    answer = origins.refusal(request(host=host, origin=origin))
    assert answer is None or isinstance(answer, str)
