"""Whole conversations with the HTTP server: random requests, split anywhere, answered at once or later."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from http_stage import GET, App, Client, Fixed, Loop, Stage, chunked, post
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.base.http import Exchange, HttpServer, Response

UPGRADE = "Connection: Upgrade\r\nUpgrade: h2c\r\n"
BODIES = st.one_of(st.binary(max_size=60), st.sampled_from([b"\r\n\r\n", b"0\r\n\r\n", GET]))


class Step(NamedTuple):
    """A request, and how it is answered."""

    head: bool
    is_chunked: bool
    upgrade: bool
    body: bytes
    trailers: str
    delay: int | None  # milliseconds; None: within handle()

    def data(self, index: int) -> bytes:
        headers = UPGRADE if self.upgrade else ""
        if self.delay is not None:
            headers += f"X-Delay: {self.delay}\r\n"
        if self.is_chunked:
            pieces = [self.body[at : at + 7] for at in range(0, len(self.body), 7)]
            raw = chunked(pieces, f"/{index}", self.trailers, headers)
        else:
            raw = post(self.body, f"/{index}", headers)
        return raw.replace(b"POST", b"HEAD", 1) if self.head else raw


class Delaying(App):
    def handle(self, exchange: Exchange) -> None:
        delay = exchange.request.headers.get("x-delay")
        if delay is None:
            super().handle(exchange)
        else:
            answer = self.answer(exchange.request)
            asyncio.get_running_loop().call_later(int(delay) / 1000, exchange.respond, answer)


STEPS = st.builds(
    Step,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    BODIES,
    st.sampled_from(["", "X-A: 1\r\n", "X-A: 1\r\nX-B: 2\r\n"]),
    st.sampled_from([None, None, 0, 1]),
)


@pytest.fixture(scope="module")
def delaying(http_loop: Loop) -> Iterator[HttpServer]:
    stage = Stage(http_loop)
    yield stage.serve(Delaying())
    stage.close()


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=8), st.lists(st.integers(0, 2000), max_size=10))
def test_any_requests_split_anywhere(delaying: HttpServer, steps: list[Step], cuts: list[int]) -> None:
    data = b"".join(step.data(index) for index, step in enumerate(steps))
    client = Client(delaying.port)
    for start, end in itertools.pairwise([0, *sorted({cut % len(data) for cut in cuts} - {0}), len(data)]):
        client.send(data[start:end])
    for index, step in enumerate(steps):
        status, headers = client.head()
        assert (status, headers.get("x-target")) == (200, f"/{index}")
        assert headers.get("content-length") == str(len(step.body))
        if not step.head:
            assert client.body(headers) == step.body
    assert client.exchange(GET)[0] == 200
    client.sock.close()


def test_a_thousand_requests_one_after_another(stage: Stage) -> None:
    client = stage.open()
    for index in range(1000):
        status, headers, body = client.exchange(post(b"%d" % index, f"/{index}"))
        assert (status, headers.get("x-target"), body) == (200, f"/{index}", b"%d" % index)


def test_a_slow_reader_gets_all_of_it(stage: Stage) -> None:
    answer = bytes(range(256)) * 8192
    client = stage.connect(stage.serve(Fixed(Response(200, (), answer))), receive_buffer=4096)
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert client.head()[0] == 200
    got = bytearray(client._buffer)
    while piece := client.sock.recv(3001):
        got += piece
        if len(got) % 7 == 0:
            stage.loop.settle()
    assert bytes(got) == answer
