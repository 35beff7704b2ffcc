"""Bodies piece by piece, in both directions, over real sockets."""

from __future__ import annotations

import asyncio
import queue
import socket
from typing import Any

import pytest
from http_stage import GET, PATIENCE, App, Client, Stage, chunked, get, post
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambent.base.http import Exchange, Flow, Request, Response, ResponseStream


class Sink:
    """Keeps what it is fed."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.content = bytearray()
        self.flow: Flow | None = None
        self.news: queue.Queue[str] = queue.Queue()
        self._stop_at = stop_at

    def start(self, flow: Flow) -> None:
        self.flow = flow

    def feed(self, data: bytes) -> None:
        self.content += data
        if self._stop_at is not None and len(self.content) >= self._stop_at and self.flow is not None:
            self.flow.pause_body()
            self.news.put("paused")

    def lost(self) -> None:
        self.news.put("lost")

    def wait(self, news: str) -> None:
        assert self.news.get(timeout=PATIENCE) == news


class Diverting(App):
    """Passes the bodies of POSTs to `sink`, and echoes how long they were and their trailers."""

    def __init__(self, sink: Sink | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.sinks: list[Sink] = []
        self._sink = sink

    def admit(self, request: Request) -> Response | None:
        refusal = super().admit(request)
        if request.method == "POST":
            self.sinks.append(self._sink or Sink())
            request.sink = self.sinks[-1]
        return refusal

    def answer(self, request: Request) -> Response:
        assert request.body == b""
        return Response(200, (("X-Trailer", request.trailers.get("x-end") or "none"),), request.target.encode())


class Streaming(App):
    """Hands out the streams of its answers."""

    def __init__(self, head: Response | None = None) -> None:
        super().__init__()
        self.head = head or Response(200, (("X-A", "1"),))
        self.streams: queue.Queue[ResponseStream | None] = queue.Queue()
        self.left: queue.Queue[bool] = queue.Queue()

    def handle(self, exchange: Exchange) -> None:
        self.handled.append(exchange.request)
        exchange.on_close(lambda: self.left.put(True))
        self.streams.put(exchange.stream(self.head))

    def open(self) -> ResponseStream:
        stream = self.streams.get(timeout=PATIENCE)
        assert stream is not None
        return stream


def read_chunks(client: Client) -> list[bytes]:
    found = []
    while size := int(client.line(), 16):
        found.append(client.exactly(size))
        assert client.line() == b""
    assert client.line() == b""
    return found


# Requests


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=6), st.booleans(), st.integers(1, 700))
def test_a_diverted_body_arrives_whole(stage: Stage, pieces: list[bytes], in_chunks: bool, step: int) -> None:
    app = Diverting()
    client = stage.open(app)
    content = b"".join(pieces)
    message = chunked(pieces, "/a", "X-End: yes\r\n") if in_chunks else post(content, "/a")
    message += get("/b")
    for start in range(0, len(message), step):
        client.send(message[start : start + step])
    _status, headers, body = client.response()
    assert (body, headers.get("x-trailer")) == (b"/a", "yes" if in_chunks else "none")
    assert client.response()[2] == b"/b"
    assert app.sinks[0].content == content
    client.sock.close()


def test_a_paused_sink_stops_the_sender(stage: Stage) -> None:
    sink = Sink(stop_at=1)
    app = Diverting(sink)
    client = stage.open(app)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n")
    client.sock.settimeout(0.5)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 20_000_000:
            sent += client.sock.send(b"x" * 65536)
    assert len(sink.content) < 2_000_000
    assert sent < 19_000_000  # what the kernel's buffers hold, and a few reads
    client.sock.settimeout(PATIENCE)
    sink._stop_at = None
    assert sink.flow is not None
    stage.loop.call(sink.flow.resume_body)
    client.send(b"x" * (20_000_000 - sent))
    assert client.response()[2] == b"/"
    assert len(sink.content) == 20_000_000
    assert client.exchange(get("/next"))[2] == b"/next"


def test_pausing_with_all_of_the_body_read_already(stage: Stage) -> None:
    sink = Sink(stop_at=1)
    client = stage.open(Diverting(sink))
    client.send(chunked([b"abc"], "/a") + get("/b"))
    sink.wait("paused")
    sink._stop_at = None
    assert sink.flow is not None
    stage.loop.call(sink.flow.resume_body)
    assert client.response()[2] == b"/a"
    assert client.response()[2] == b"/b"
    stage.loop.call(sink.flow.pause_body)  # too late to have any effect
    assert client.exchange(get("/c"))[2] == b"/c"


@pytest.mark.parametrize("end", ["close", "reset", "malformed", "too large"])
def test_a_body_that_breaks_off(stage: Stage, end: str) -> None:
    app = Diverting(limit=1000)
    client = stage.open(app)
    client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    stage.loop.settle()
    if end == "close":
        client.sock.close()
    elif end == "reset":
        client.reset()
    else:
        client.send(b"zzz\r\n\r\n" if end == "malformed" else b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        assert client.response()[0] == (400 if end == "malformed" else 413)
    app.sinks[0].wait("lost")
    assert app.sinks[0].content == b"abc"
    assert app.handled == []


# Answers


def test_an_answer_in_pieces(stage: Stage) -> None:
    app = Streaming()
    client = stage.open(app)
    client.send(GET + get("/second"))
    stream = app.open()
    assert len(app.handled) == 1  # the second request waits for the end of the first answer
    stage.loop.run(stream.write(b"one"))
    status, headers = client.head()
    assert (status, headers.get("x-a"), headers.get("transfer-encoding")) == (200, "1", "chunked")
    assert headers.get("content-length") is None
    assert client.line() + client.line() == b"3one"
    stage.loop.run(stream.write(b""))
    stage.loop.run(stream.write(b"x" * 100_000))
    stage.loop.call(stream.end)
    assert read_chunks(client) == [b"x" * 100_000]
    stage.loop.call(stream.end)
    stage.loop.run(stream.write(b"late"))
    stage.loop.call(app.open().end)
    client.head()
    assert read_chunks(client) == []


def test_without_chunks_the_end_is_the_connections(stage: Stage) -> None:
    app = Streaming()
    client = stage.open(app)
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    stream = app.open()
    stage.loop.run(stream.write(b"one"))
    stage.loop.run(stream.write(b"two"))
    stage.loop.call(stream.end)
    _status, headers = client.head()
    assert headers.get("connection") == "close"
    assert headers.get("transfer-encoding") is None
    assert client.rest() == b"onetwo"


def test_a_client_that_reads_nothing_holds_the_answer_up(stage: Stage) -> None:
    app = Streaming()
    client = stage.open(app)
    client.send(GET)
    stream = app.open()

    async def fill() -> int:
        for count in range(1000):
            try:
                await asyncio.wait_for(stream.write(b"x" * 65_536), 0.5)
            except TimeoutError:
                return count
        return 1000

    written = stage.loop.run(fill())
    assert written < 400
    client.head()
    assert client.line() == b"10000"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_in_the_middle(stage: Stage, how: str) -> None:
    app = Streaming()
    client = stage.open(app)
    client.send(GET)
    stream = app.open()
    stage.loop.run(stream.write(b"one"))
    client.sock.close() if how == "close" else client.reset()
    assert app.left.get(timeout=PATIENCE)
    stage.loop.run(stream.write(b"x" * 1_000_000))
    stage.loop.run(stream.write(b"x" * 1_000_000))
    stage.loop.call(stream.end)


def test_an_answer_that_cannot_be_finished_is_cut(stage: Stage) -> None:
    app = Streaming()
    client = stage.open(app)
    client.send(GET)
    stream = app.open()
    stage.loop.run(stream.write(b"one"))
    stage.loop.call(stream.abort)
    assert not client.rest().endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(("message", "status"), [(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 200), (GET, 204)])
def test_some_answers_have_no_body_to_stream(stage: Stage, message: bytes, status: int) -> None:
    app = Streaming(Response(status))
    client = stage.open(app)
    client.send(message)
    assert app.streams.get(timeout=PATIENCE) is None
    assert client.head()[0] == status
    client.send(message)
    assert client.head()[0] == status


def test_a_head_that_cannot_be_sent(stage: Stage) -> None:
    app = Streaming(Response(200, (("X-A", "a\r\nb"),)))
    client = stage.open(app)
    client.send(GET)
    assert app.streams.get(timeout=PATIENCE) is None
    assert client.response()[0] == 500
