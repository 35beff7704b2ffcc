"""The HTTP server over real sockets: raw bytes in, raw bytes out, on asyncio's own loop and on uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import queue
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.base import http_connection
from lambent.base.http import Exchange, Headers, HttpServer, Request, Response

T = TypeVar("T")

PATIENCE = 20  # seconds after which a test is stuck


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.loop = factory()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def call(self, function: Callable[..., T], *args: Any) -> T:
        async def call() -> T:
            return function(*args)

        return self.run(call())

    def settle(self) -> None:
        """Return when the loop has seen all that was sent before."""
        for _ in range(3):
            self.call(lambda: None)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()


class App:
    """Echoes requests; or parks them in `parked` for the test to answer."""

    def __init__(self, *, park: bool = False, limit: int | None = None) -> None:
        self.park = park
        self.limit = limit
        self.admitted: list[str] = []
        self.handled: list[Request] = []
        self.parked: queue.Queue[Exchange] = queue.Queue()
        self.refusal: Response | None = None

    def admit(self, request: Request) -> Response | None:
        self.admitted.append(request.target)
        request.body_limit = self.limit
        return self.refusal

    def handle(self, exchange: Exchange) -> None:
        self.handled.append(exchange.request)
        if self.park:
            self.parked.put(exchange)
        else:
            exchange.respond(self.answer(exchange.request))

    def answer(self, request: Request) -> Response:
        return Response(200, (("X-Target", request.target),), request.body)

    def too_large(self, request: Request) -> Response:
        return Response(413, (), f"{request.target} is too large".encode())

    def malformed(self, reason: str) -> Response:
        return Response(400, (), b"malformed: " + reason.encode())

    def take(self) -> Exchange:
        return self.parked.get(timeout=PATIENCE)


class Client:
    """A raw connection."""

    def __init__(self, port: int, receive_buffer: int | None = None) -> None:
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def line(self) -> bytes:
        return self._until(b"\r\n")[:-2]

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._fill()
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    def _fill(self) -> None:
        data = self.sock.recv(1 << 20)
        if not data:
            raise EOFError(self._buffer)
        self._buffer += data

    def head(self) -> tuple[int, Headers]:
        """Status and headers of a response, up to its body."""
        first, *rest = self._until(b"\r\n\r\n")[:-4].split(b"\r\n")
        version, status, _reason = first.split(b" ", 2)
        assert version == b"HTTP/1.1"
        pairs = [line.partition(b": ") for line in rest]
        return int(status), Headers([(name.lower(), value) for name, _, value in pairs])

    def body(self, headers: Headers) -> bytes:
        length = int(headers.get("content-length") or "0")
        while len(self._buffer) < length:
            self._fill()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return body

    def response(self) -> tuple[int, Headers, bytes]:
        status, headers = self.head()
        return status, headers, self.body(headers)

    def rest(self) -> bytes:
        """Everything up to the end of the connection, or until it is reset."""
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                self._fill()
        return self._buffer

    def exchange(self, data: bytes) -> tuple[int, Headers, bytes]:
        self.send(data)
        return self.response()

    def reset(self) -> None:
        """Leave without a goodbye."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Stage:
    """Servers and their clients, all gone when the test ends."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.servers: list[HttpServer] = []
        self._clients: list[Client] = []

    def serve(self, app: Any = None, **options: Any) -> HttpServer:
        server = HttpServer(app or App(), **options)
        self.loop.run(server.start("127.0.0.1", 0))
        self.servers.append(server)
        return server

    def connect(self, server: HttpServer, **options: Any) -> Client:
        client = Client(server.port, **options)
        self._clients.append(client)
        return client

    def open(self, app: Any = None, **options: Any) -> Client:
        return self.connect(self.serve(app, **options))

    def respond(self, exchange: Exchange, *args: Any) -> None:
        self.loop.call(exchange.respond, Response(*args))

    def close(self) -> None:
        for client in self._clients:
            client.sock.close()
        for server in self.servers:
            self.loop.run(server.stop(0))


@pytest.fixture(scope="module", params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    running = Loop(request.param)
    yield running
    running.close()


@pytest.fixture
def stage(loop: Loop) -> Iterator[Stage]:
    stage = Stage(loop)
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def echo(loop: Loop) -> Iterator[tuple[Stage, App, HttpServer]]:
    """One echoing server for the tests with many examples."""
    stage, app = Stage(loop), App()
    yield stage, app, stage.serve(app)
    stage.close()


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def post(body: bytes, target: str = "/", headers: str = "") -> bytes:
    return f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def chunked(pieces: list[bytes], target: str = "/", trailers: str = "", headers: str = "") -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{headers}\r\n".encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head + chunks + b"0\r\n" + trailers.encode() + b"\r\n"


# Requests


def test_a_request_as_the_application_sees_it(stage: Stage) -> None:
    app = App()
    client = stage.open(app)
    client.exchange(
        b"POST /a%20b/c?x=1&y=?2 HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nx-one:  2 \r\nX-Byte: \xe9\r\nEmpty:\r\n"
        b"Content-Length: 3\r\n\r\nabc"
    )
    request = app.handled[0]
    assert (request.method, request.target) == ("POST", "/a%20b/c?x=1&y=?2")
    assert (request.path, request.query) == ("/a%20b/c", "x=1&y=?2")
    assert request.body == b"abc"
    headers = request.headers
    assert headers.get("x-one") == headers.get("X-One") == "1"
    assert headers.get_all("x-one") == ["1", "2"]
    assert headers.get("x-byte") == "é"
    assert headers.get("empty") == ""
    assert "host" in headers
    assert "missing" not in headers
    assert (headers.get("missing"), headers.get("missing", "default")) == (None, "default")
    assert list(headers.items())[:2] == [("host", "h"), ("x-one", "1")]


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/?", "/", ""),
        ("*", "*", ""),
        ("http://host:80/p/q?x", "/p/q", "x"),
        ("http://host", "/", ""),
        ("http://host?x", "/", "x"),
        ("//host/p", "//host/p", ""),
        ("/http://host/p", "/http://host/p", ""),
    ],
)
def test_forms_of_the_target(stage: Stage, target: str, path: str, query: str) -> None:
    app = App()
    method = "OPTIONS" if target == "*" else "GET"
    assert stage.open(app).exchange(f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())[0] == 200
    assert (app.handled[0].target, app.handled[0].path, app.handled[0].query) == (target, path, query)


def test_requests_one_after_another_on_one_connection(stage: Stage) -> None:
    client = stage.open()
    for index in range(5):
        status, headers, body = client.exchange(post(b"%d" % index, f"/{index}"))
        assert (status, headers.get("x-target"), body) == (200, f"/{index}", b"%d" % index)
        assert "connection" not in headers


def test_connection_close(stage: Stage) -> None:
    client = stage.open()
    _, headers, _ = client.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert headers.get_all("connection") == ["close"]
    assert client.rest() == b""


def test_http_1_0_closes_unless_told_otherwise(stage: Stage) -> None:
    client = stage.open()
    _, headers, _ = client.exchange(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert headers.get_all("connection") == ["keep-alive"]
    _, headers, _ = client.exchange(b"GET / HTTP/1.0\r\n\r\n")
    assert headers.get_all("connection") == ["close"]
    assert client.rest() == b""


def test_a_large_body_in_many_pieces(stage: Stage) -> None:
    app = App()
    body = bytes(range(256)) * 16_384
    client = stage.open(app)
    threading.Thread(target=client.send, args=(post(body),)).start()
    assert client.response()[2] == body
    assert type(app.handled[0].body) is bytes


def test_chunks_extensions_and_trailers(stage: Stage) -> None:
    app = App()
    client = stage.open(app)
    client.exchange(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nX-A: head\r\n\r\n"
        b'3;name=value\r\nabc\r\n00004;q="x"\r\n\r\n\r\n\r\n000\r\nX-A: trailer\r\nX-B: 2\r\n\r\n'
    )
    request = app.handled[0]
    assert request.body == b"abc\r\n\r\n"
    assert request.headers.get_all("x-a") == ["head"]
    assert list(request.trailers.items()) == [("x-a", "trailer"), ("x-b", "2")]
    client.exchange(GET)
    assert list(app.handled[1].trailers.items()) == []


@pytest.mark.parametrize("body", [b"", b"x"])
@pytest.mark.parametrize("message", [post, lambda body: chunked([body] if body else [])])
def test_an_upgrade_is_declined_and_its_body_is_a_body(
    stage: Stage, message: Callable[[bytes], bytes], body: bytes
) -> None:
    app = App()
    client = stage.open(app)
    data = message(body).replace(b"Host: a\r\n", b"Host: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n")
    client.send(data + get("/next"))
    assert client.response()[2] == body
    assert client.response()[1].get("x-target") == "/next"
    assert [(request.target, request.body) for request in app.handled] == [("/", body), ("/next", b"")]


# However the bytes come

SERIES = [
    get("/0"),
    post(b"body\r\n\r\n", "/1"),
    chunked([b"\r\n\r\n", b"0\r\n\r\n", b"x" * 17], "/2", "X-Trailer: 1\r\n"),
    chunked([], "/3"),
    chunked([b"up"], "/4", headers="Connection: Upgrade\r\nUpgrade: h2c\r\n"),
    b"\r\n" + post(b"", "/5"),
    post(b"close", "/6", "Connection: close\r\n"),
]
BODIES = [b"", b"body\r\n\r\n", b"\r\n\r\n0\r\n\r\n" + b"x" * 17, b"", b"up", b"", b"close"]


def check_series(stage: Stage, server: HttpServer, pieces: list[bytes]) -> None:
    client = Client(server.port)
    for piece in pieces:
        client.send(piece)
        stage.loop.settle()
    for index, body in enumerate(BODIES):
        status, headers, answer = client.response()
        assert (status, headers.get("x-target"), answer) == (200, f"/{index}", body)
    assert client.rest() == b""
    client.sock.close()


def test_split_at_every_byte(echo: tuple[Stage, App, HttpServer]) -> None:
    stage, _, server = echo
    data = b"".join(SERIES)
    for cut in range(1, len(data)):
        check_series(stage, server, [data[:cut], data[cut:]])


def test_byte_by_byte(echo: tuple[Stage, App, HttpServer]) -> None:
    stage, _, server = echo
    data = b"".join(SERIES)
    check_series(stage, server, [data[at : at + 1] for at in range(len(data))])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, len(b"".join(SERIES)) - 1), max_size=20))
def test_split_anywhere(echo: tuple[Stage, App, HttpServer], cuts: list[int]) -> None:
    stage, _, server = echo
    data = b"".join(SERIES)
    places = [0, *sorted(set(cuts)), len(data)]
    check_series(stage, server, [data[a:b] for a, b in itertools.pairwise(places)])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(st.binary(min_size=1, max_size=30), st.sampled_from([b"\r\n", b"\n", b"0\r\n\r\n"])), max_size=8)
)
def test_any_chunked_content_arrives(echo: tuple[Stage, App, HttpServer], pieces: list[bytes]) -> None:
    client = Client(echo[2].port)
    client.send(chunked(pieces) + get("/after"))
    assert client.response()[2] == b"".join(pieces)
    assert client.response()[1].get("x-target") == "/after"
    client.sock.close()


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.builds(lambda a, b: a + b, st.sampled_from([GET[:-2], chunked([])[:-5]]), st.binary(max_size=30)),
    )
)
def test_arbitrary_bytes_are_answered_or_waited_for(echo: tuple[Stage, App, HttpServer], data: bytes) -> None:
    client = Client(echo[2].port)
    client.send(data)
    client.sock.shutdown(socket.SHUT_WR)
    answers = client.rest()
    assert answers == b"" or answers.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 200 "))
    client.sock.close()
    assert Client(echo[2].port).exchange(GET)[0] == 200


# Responses


class Fixed(App):
    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response

    def answer(self, request: Request) -> Response:
        return self.response


def test_a_response_byte_by_byte(stage: Stage) -> None:
    client = stage.open(Fixed(Response(404, (("A", "1"), ("A", "2")), b"body")))
    client.send(GET + b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    head = b"HTTP/1.1 404 Not Found\r\nA: 1\r\nA: 2\r\nContent-Length: 4\r\n"
    assert client.rest() == head + b"\r\nbody" + head + b"Connection: close\r\n\r\nbody"


@pytest.mark.parametrize("status", [200, 299, 418, 500, 999])
def test_any_status(stage: Stage, status: int) -> None:
    assert stage.open(Fixed(Response(status))).exchange(GET)[0] == status


@pytest.mark.parametrize("status", [204, 304])
def test_responses_that_have_no_body(stage: Stage, status: int) -> None:
    client = stage.open(Fixed(Response(status, (), b"none of this")))
    for _ in range(2):
        client.send(GET)
        got, headers = client.head()
        assert (got, headers.get("content-length")) == (status, None)


@pytest.mark.parametrize(
    ("headers", "body", "length"), [((), b"12345", "5"), ((("content-length", "7"),), b"", "7"), ((), b"", "0")]
)
def test_head_gets_the_length_and_no_body(
    stage: Stage, headers: tuple[tuple[str, str], ...], body: bytes, length: str
) -> None:
    client = stage.open(Fixed(Response(200, headers, body)))
    for _ in range(2):
        client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.head()[1].get_all("content-length") == [length]


def test_the_framing_is_the_servers_business(stage: Stage) -> None:
    copied = (("CONTENT-LENGTH", "99"), ("Transfer-Encoding", "chunked"), ("Connection", "close"), ("Keep-Alive", "1"))
    client = stage.open(Fixed(Response(200, (*copied, ("X-A", "1")), b"abc")))
    for _ in range(2):
        assert list(client.exchange(GET)[1].items()) == [("x-a", "1"), ("content-length", "3")]


@pytest.mark.parametrize(
    "response",
    [
        Response(200, (("A", "b\r\nSet-Cookie: c"),)),
        Response(200, (("A", "b\nc"),)),
        Response(200, (("A", "b\rc"),)),
        Response(200, (("A\r\nB", "c"),)),
        Response(200, (("A", "b\r\n\r\n<html>"),)),
        Response(100),
        Response(0),
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_a_response_that_cannot_be_sent_becomes_a_500(
    stage: Stage, caplog: pytest.LogCaptureFixture, response: Response, later: bool
) -> None:
    app = Fixed(response)
    app.park = later
    client = stage.open(app)
    client.send(GET)
    if later:
        stage.loop.call(app.take().respond, response)
    status, headers, body = client.response()
    assert (status, body) == (500, b"Internal server error.\n")
    assert [name for name, _ in headers.items()] == ["content-type", "content-length"]
    assert any(record.name == "lambent.http" and record.levelno == logging.ERROR for record in caplog.records)
    app.response, app.park = Response(200), False
    assert client.exchange(GET)[0] == 200


def test_header_values_beyond_latin_1_go_out_as_utf_8(stage: Stage) -> None:
    client = stage.open(Fixed(Response(200, (("A", "é"), ("B", "€")))))
    headers = client.exchange(GET)[1]
    assert (headers.first[b"a"], headers.first[b"b"]) == (b"\xe9", "€".encode())


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 5_000_000])
def test_bodies_of_all_sizes(stage: Stage, size: int) -> None:
    client = stage.open(Fixed(Response(200, (), b"x" * size)))
    for _ in range(2):
        assert client.exchange(GET)[2] == b"x" * size


# One at a time, in order


def test_the_next_request_is_not_parsed_before_the_answer(stage: Stage) -> None:
    app = App(park=True)
    client = stage.open(app)
    client.send(get("/1") + post(b"2", "/2") + get("/3"))
    for index in (1, 2, 3):
        exchange = app.take()
        stage.loop.settle()
        assert app.admitted == [f"/{number}" for number in range(1, index + 1)]
        assert app.parked.empty()
        stage.respond(exchange, 200, (), b"%d" % index)
        assert client.response()[2] == b"%d" % index


def test_what_is_malformed_is_answered_in_its_turn(stage: Stage) -> None:
    app = App(park=True)
    client = stage.open(app)
    client.send(get("/1") + b"nonsense\r\n\r\n")
    stage.respond(app.take(), 200, (), b"first")
    assert client.response()[2] == b"first"
    assert client.response()[0] == 400
    assert client.rest() == b""


def test_thousands_of_pipelined_requests(stage: Stage) -> None:
    client = stage.open()
    count = 5000
    threading.Thread(target=client.send, args=(b"".join(get(f"/{index}") for index in range(count)),)).start()
    for index in range(count):
        assert client.response()[1].get("x-target") == f"/{index}"


def test_thousands_of_pipelined_requests_answered_later(stage: Stage) -> None:
    class Later(App):
        def handle(self, exchange: Exchange) -> None:
            asyncio.get_running_loop().call_soon(exchange.respond, self.answer(exchange.request))

    client = stage.open(Later())
    count = 3000
    threading.Thread(target=client.send, args=(b"".join(get(f"/{index}") for index in range(count)),)).start()
    for index in range(count):
        assert client.response()[1].get("x-target") == f"/{index}"


def flood(client: Client, data: bytes, most: int) -> int:
    """Send until the other side has stopped reading for a while; how many bytes it took."""
    sent = 0
    client.sock.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while sent < most:
            sent += client.sock.send(data)
    client.sock.settimeout(PATIENCE)
    return sent


def test_a_client_that_sends_on_while_parked_is_not_read(stage: Stage) -> None:
    app = App(park=True)
    client = stage.open(app)
    client.send(GET)
    exchange = app.take()
    assert flood(client, post(b"x" * 65_000), 64 << 20) < 64 << 20
    app.park = False
    stage.respond(exchange, 200, (), b"late")
    assert client.response()[2] == b"late"
    assert client.response()[2] == b"x" * 65_000


def test_a_client_that_takes_no_answers_is_not_served(stage: Stage) -> None:
    app = Fixed(Response(200, (), b"x" * 100_000))
    client = stage.connect(stage.serve(app), receive_buffer=4096)
    client.send(GET * 1000)
    stage.loop.settle()
    assert len(app.handled) < 1000
    for _ in range(1000):
        assert len(client.response()[2]) == 100_000
    assert len(app.handled) == 1000
    assert client.exchange(GET)[0] == 200


# 100-continue

EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n"


def test_continue_when_admitted(stage: Stage) -> None:
    client = stage.open()
    for _ in range(2):
        client.send(EXPECTING)
        assert (client.line(), client.line()) == (b"HTTP/1.1 100 Continue", b"")
        assert client.exchange(b"abc")[2] == b"abc"


def test_continue_for_chunks(stage: Stage) -> None:
    client = stage.open()
    head, _, body = chunked([b"abc"], headers="Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    assert (client.line(), client.line()) == (b"HTTP/1.1 100 Continue", b"")
    assert client.exchange(body)[2] == b"abc"


def test_no_continue_when_refused(stage: Stage) -> None:
    app = App()
    app.refusal = Response(403, (), b"no")
    client = stage.open(app)
    status, headers, body = client.exchange(EXPECTING)
    assert (status, headers.get("connection"), body) == (403, "close", b"no")
    assert client.rest() == b""
    assert app.handled == []


def test_no_continue_for_what_is_too_large(stage: Stage) -> None:
    client = stage.open(App(limit=2))
    assert client.exchange(EXPECTING)[0] == 413
    assert client.rest() == b""


@pytest.mark.parametrize(
    "data",
    [
        EXPECTING + b"abc",
        EXPECTING.replace(b"Length: 3", b"Length: 0"),
        EXPECTING.replace(b"100-Continue", b"something") + b"abc",
        EXPECTING.replace(b"1.1", b"1.0").replace(b"Host: a", b"Connection: keep-alive") + b"abc",
    ],
)
def test_no_continue_where_nobody_waits_for_it(stage: Stage, data: bytes) -> None:
    client = stage.open()
    for _ in range(2):
        assert client.exchange(data)[0] == 200


def test_http_1_0_never_gets_a_continue(stage: Stage) -> None:
    client = stage.open()
    client.send(EXPECTING.replace(b"1.1", b"1.0"))
    stage.loop.settle()
    assert client.exchange(b"abc")[2] == b"abc"


def test_continue_waits_for_the_answer_before(stage: Stage) -> None:
    app = App(park=True)
    client = stage.open(app)
    client.send(GET + EXPECTING)
    exchange = app.take()
    stage.loop.settle()
    assert app.admitted == ["/"]
    stage.respond(exchange, 200, (), b"first")
    assert client.response()[2] == b"first"
    assert (client.line(), client.line()) == (b"HTTP/1.1 100 Continue", b"")
    client.send(b"abc")
    stage.respond(app.take(), 200, (), b"second")
    assert client.response()[2] == b"second"


# Limits


@pytest.mark.parametrize("message", [post, lambda body: chunked([body[:5], body[5:]])])
def test_the_body_limit_is_exact(stage: Stage, message: Callable[[bytes], bytes]) -> None:
    app = App(limit=10)
    client = stage.open(app)
    assert client.exchange(message(b"x" * 10))[0] == 200
    status, headers, body = client.exchange(message(b"x" * 11))
    assert (status, headers.get("connection"), body) == (413, "close", b"/ is too large")
    assert client.rest() == b""
    assert len(app.handled) == 1


def test_too_large_by_content_length_is_said_before_the_body(stage: Stage) -> None:
    client = stage.open(App(limit=10))
    client.send(post(b"x" * 11)[:-11])
    assert client.response()[0] == 413


def test_too_large_is_said_while_chunks_come(stage: Stage) -> None:
    client = stage.open(App(limit=10))
    client.send(chunked([b"x" * 11])[:-5])
    assert client.response()[0] == 413


@pytest.mark.parametrize("message", [post, lambda body: chunked([body])])
def test_a_client_that_sends_all_of_it_still_reads_the_answer(stage: Stage, message: Callable[[bytes], bytes]) -> None:
    client = stage.open(App(limit=1000))
    client.send(message(b"x" * (20 << 20)))
    assert client.response()[0] == 413
    assert client.rest() == b""


def test_a_client_that_never_stops_sending_is_cut_off(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "_DRAIN_LIMIT", 1 << 20)
    client = stage.open(App(limit=10))
    client.send(post(b"x" * 11)[:-11].replace(b"11", b"99999999999"))
    assert client.response()[0] == 413
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        while True:
            client.send(b"x" * 65_536)


def test_a_refused_client_that_stays_is_cut_off(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "_DRAIN_SECONDS", 0.05)
    server = stage.serve()
    client = stage.connect(server)
    assert client.exchange(b"nonsense\r\n\r\n")[0] == 400
    assert client.rest() == b""
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        while True:
            client.send(b"x")


def test_nothing_after_a_refusal_is_handled(stage: Stage) -> None:
    app = App(limit=10)
    client = stage.open(app)
    client.send(post(b"x" * 11) + get("/smuggled"))
    assert client.response()[0] == 413
    assert client.rest() == b""
    assert app.admitted == ["/"]


HUGE = "x" * 3000


@pytest.mark.parametrize(
    "data",
    [
        f"GET / HTTP/1.1\r\nX-Huge: {HUGE}\r\n\r\n",
        f"GET / HTTP/1.1\r\nX-Huge: {HUGE}",
        f"GET /{HUGE} HTTP/1.1\r\n\r\n",
        f"GET /{HUGE}",
        "GET / HTTP/1.1\r\n" + "A: b\r\n" * 500,
        chunked([b"a"], "/", f"X-Huge: {HUGE}\r\n").decode(),
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n" + "A: b\r\n" * 500 + "\r\n",
        f"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;{HUGE}\r\nabc\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("dribble", [False, True])
def test_headers_that_are_too_large(stage: Stage, data: str, dribble: bool) -> None:
    app = App()
    client = stage.open(app, max_header_bytes=2000)
    raw = data.encode()
    if dribble:
        for at in range(0, len(raw), 500):
            client.send(raw[at : at + 500])
            stage.loop.settle()
    else:
        client.send(raw)
    if b"3;" in raw and not dribble:  # came with its content in one piece: nothing is held for it
        assert client.response()[0] == 200
        return
    status, headers, _ = client.response()
    assert (status, headers.get("connection")) == (431, "close")
    assert client.rest() == b""
    assert app.handled == []


def test_the_header_limit_is_exact_and_per_request(stage: Stage) -> None:
    client = stage.open(max_header_bytes=len(GET))
    for _ in range(3):
        assert client.exchange(GET)[0] == 200
    assert client.exchange(get("/x"))[0] == 431


def test_a_body_does_not_count_as_header(stage: Stage) -> None:
    client = stage.open(max_header_bytes=200)
    assert client.exchange(post(b"x" * 5000))[0] == 200
    assert client.exchange(chunked([b"x" * 5000] * 3))[0] == 200
    assert client.exchange(chunked([b"x"] * 500))[0] == 200


# Smuggling

TE = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\n" + TE + b"\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + TE + b"Content-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nContent-Length: 3, 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: -3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: 0x3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\nabcdefghij",
        b"POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length : 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\n" + TE + TE + b"\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\n" + TE + b"\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\n" + TE + b"\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + TE + b"\r\nzz\r\n",
        b"POST / HTTP/1.1\r\n" + TE + b"\r\n-1\r\n",
        b"POST / HTTP/1.1\r\n" + TE + b"\r\n3 \r\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + TE + b"\r\n3\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + TE + b"\r\n3\r\nabcd\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + TE + b"\r\nffffffffffffffff1\r\n",
        b"POST / HTTP/1.1\r\n" + TE + b"\r\n0\r\n\n",
        b"POST / HTTP/1.1\r\n" + TE + b"\r\n0\r\nContent-Length: 3\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\nA b: c\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(stage: Stage, data: bytes) -> None:
    app = App()
    client = stage.open(app)
    client.send(GET)
    assert client.response()[0] == 200
    client.send(data + get("/smuggled"))
    status, headers, body = client.response()
    assert (status, headers.get("connection")) == (400, "close")
    assert body.startswith(b"malformed: ")
    assert client.rest() == b""
    assert len(app.handled) == 1
    assert "/smuggled" not in app.admitted


def test_a_refusal_after_a_head_has_its_body(stage: Stage) -> None:
    client = stage.open()
    client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    client.head()
    assert client.exchange(b"nonsense\r\n\r\n")[2].startswith(b"malformed")


# Parked


def test_an_answer_that_comes_later(stage: Stage) -> None:
    app = App(park=True)
    client = stage.open(app)
    for body in (b"one", b"two"):
        client.send(GET)
        exchange = app.take()
        stage.loop.settle()
        assert not exchange.closed
        stage.respond(exchange, 200, (), body)
        assert client.response()[2] == body
        assert not exchange.closed


def test_only_the_first_answer_counts(stage: Stage) -> None:
    app = App(park=True)
    client = stage.open(app)
    client.send(GET)
    exchange = app.take()
    stage.respond(exchange, 200, (), b"one")
    stage.respond(exchange, 200, (), b"two")
    assert client.response()[2] == b"one"
    client.send(GET)
    second = app.take()
    stage.respond(exchange, 200, (), b"three")
    stage.respond(second, 200, (), b"four")
    assert client.response()[2] == b"four"


@pytest.mark.parametrize("leave", [lambda client: client.sock.close(), Client.reset], ids=["close", "reset"])
@pytest.mark.parametrize("more", [b"", GET])
def test_a_client_that_leaves(stage: Stage, leave: Callable[[Client], None], more: bytes) -> None:
    app = App(park=True)
    server = stage.serve(app)
    client = stage.connect(server)
    client.send(GET)
    exchange, left = app.take(), queue.Queue[bool]()
    stage.loop.call(exchange.on_close, lambda: left.put(exchange.closed))
    client.send(more)
    stage.loop.settle()
    assert left.empty()
    leave(client)
    assert left.get(timeout=PATIENCE)
    for _ in range(3):
        stage.respond(exchange, 200, (), b"nobody reads this")
    at_once: list[bool] = []
    stage.loop.call(exchange.on_close, lambda: at_once.append(True))
    assert at_once == [True]
    assert left.empty()
    assert len(app.handled) == 1


def test_on_close_is_not_called_after_the_answer(stage: Stage) -> None:
    app = App(park=True)
    client = stage.open(app)
    client.send(GET)
    exchange, left = app.take(), queue.Queue[bool]()
    stage.loop.call(exchange.on_close, lambda: left.put(True))
    stage.respond(exchange, 200)
    client.response()
    client.reset()
    stage.loop.settle()
    assert left.empty()
    assert not exchange.closed


def test_an_on_close_that_fails_is_logged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    app = App(park=True)
    server = stage.serve(app)
    client = stage.connect(server)
    client.send(GET)
    exchange, called = app.take(), threading.Event()

    def fail() -> None:
        called.set()
        raise RuntimeError("on purpose")

    stage.loop.call(exchange.on_close, fail)
    client.sock.close()
    assert called.wait(PATIENCE)
    stage.loop.settle()
    assert any(record.name == "lambent.http" for record in caplog.records)


def test_a_client_that_closes_its_sending_side_still_gets_its_answers(stage: Stage) -> None:
    app = App(park=True)
    client = stage.open(app)
    client.send(get("/1") + get("/2"))
    client.sock.shutdown(socket.SHUT_WR)
    for body in (b"one", b"two"):
        exchange = app.take()
        stage.loop.settle()
        assert exchange.closed
        stage.respond(exchange, 200, (), body)
        assert client.response()[2] == body
    assert client.rest() == b""


def test_a_closed_sending_side_counts_as_leaving_where_somebody_cares(stage: Stage) -> None:
    app = App(park=True)
    client = stage.open(app)
    client.send(GET)
    exchange, left = app.take(), threading.Event()
    stage.loop.call(exchange.on_close, left.set)
    client.sock.shutdown(socket.SHUT_WR)
    assert left.wait(PATIENCE)
    assert client.rest() == b""


def test_caring_only_after_the_sending_side_was_closed(stage: Stage) -> None:
    app = App(park=True)
    client = stage.open(app)
    client.send(GET)
    exchange, left = app.take(), threading.Event()
    client.sock.shutdown(socket.SHUT_WR)
    stage.loop.settle()
    stage.loop.call(exchange.on_close, left.set)
    assert left.is_set()
    stage.respond(exchange, 200)
    assert client.rest() == b""


def test_a_request_that_ends_halfway_is_not_handled(stage: Stage) -> None:
    app = App()
    server = stage.serve(app)
    for data in (post(b"abc"), chunked([b"abc"])):
        for length in range(1, len(data)):
            client = Client(server.port)
            client.send(data[:length])
            client.sock.shutdown(socket.SHUT_WR)
            assert client.rest() == b""
            client.sock.close()
    assert app.handled == []


def test_answering_a_connection_that_was_just_cut(stage: Stage) -> None:
    app = App(park=True)
    client = stage.open(app)
    client.send(GET)
    exchange = app.take()

    def cut_and_answer() -> None:
        exchange._connection.abort()  # type: ignore[union-attr]
        exchange.respond(Response(200, (), b"x" * 1_000_000))

    stage.loop.call(cut_and_answer)
    assert client.rest() == b""


def test_large_answers_to_clients_that_leave_meanwhile(stage: Stage) -> None:
    app = App(park=True)
    server = stage.serve(app)
    for _ in range(20):
        client = stage.connect(server, receive_buffer=4096)
        client.send(GET * 3)
        exchange = app.take()
        client.reset()
        stage.respond(exchange, 200, (), b"x" * 3_000_000)
        stage.loop.settle()
    app.park = False
    assert stage.connect(server).exchange(GET)[0] == 200


# Applications that fail


class Failing(App):
    """Raises in the method called `where`; in `handle` perhaps after the answer."""

    def __init__(self, where: str, *, answered: bool = False) -> None:
        super().__init__(limit=10)
        self.where = where
        self.answered = answered

    def _maybe(self, here: str) -> None:
        if here == self.where:
            raise RuntimeError("on purpose")

    def admit(self, request: Request) -> Response | None:
        self._maybe("admit")
        return super().admit(request)

    def handle(self, exchange: Exchange) -> None:
        if self.answered:
            exchange.respond(Response(200, (), b"before"))
        self._maybe("handle")

    def too_large(self, request: Request) -> Response:
        self._maybe("too_large")
        return super().too_large(request)

    def malformed(self, reason: str) -> Response:
        self._maybe("malformed")
        return super().malformed(reason)


@pytest.mark.parametrize(
    ("where", "data", "stays"),
    [
        ("admit", GET, False),
        ("handle", GET, True),
        ("too_large", post(b"x" * 11), False),
        ("malformed", b"x\r\n\r\n", False),
    ],
)
def test_an_application_that_fails(
    stage: Stage, caplog: pytest.LogCaptureFixture, where: str, data: bytes, stays: bool
) -> None:
    client = stage.open(Failing(where))
    for _ in range(2 if stays else 1):
        status, headers, body = client.exchange(data)
        assert (status, body) == (500, b"Internal server error.\n")
        assert headers.get("connection") == (None if stays else "close")
    if not stays:
        assert client.rest() == b""
    assert any(record.name == "lambent.http" and record.exc_info for record in caplog.records)


def test_an_application_that_fails_after_its_answer(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    client = stage.open(Failing("handle", answered=True))
    for _ in range(2):
        assert client.exchange(GET)[2] == b"before"
    assert any(record.name == "lambent.http" for record in caplog.records)


# Starting and stopping


def test_a_socket_that_already_listens(stage: Stage) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = HttpServer(App())
    stage.loop.run(server.start_on(listener))
    stage.servers.append(server)
    assert server.port == port
    assert stage.connect(server).exchange(GET)[0] == 200
    stage.loop.run(server.stop())
    with pytest.raises(ConnectionRefusedError):
        Client(port)


def test_several_listeners_of_one_server(stage: Stage) -> None:
    server = stage.serve()
    first = server.port
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    stage.loop.run(server.start_on(listener))
    for each in (first, port):
        assert Client(each).exchange(GET)[0] == 200


def test_a_port_that_is_taken(stage: Stage) -> None:
    server = stage.serve()
    with pytest.raises(OSError):
        stage.loop.run(HttpServer(App()).start("127.0.0.1", server.port))


def test_answers_are_sent_without_delay(stage: Stage) -> None:
    app = App(park=True)
    client = stage.open(app)
    client.send(GET)
    transport = app.take()._connection._transport  # type: ignore[union-attr]
    assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_stop_closes_idle_connections_and_refuses_new_ones(stage: Stage) -> None:
    server = stage.serve()
    fresh, used = stage.connect(server), stage.connect(server)
    used.exchange(GET)
    stage.loop.settle()
    port = server.port
    stage.loop.run(server.stop(PATIENCE))
    assert fresh.rest() == b""
    assert used.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        Client(port)
    stage.loop.run(server.stop(0))


def test_stop_lets_running_exchanges_finish(stage: Stage) -> None:
    app = App(park=True)
    server = stage.serve(app)
    parked, reading, idle = (stage.connect(server) for _ in range(3))
    parked.send(GET + get("/never"))
    exchange = app.take()
    reading.send(post(b"abc")[:-1])
    stage.loop.settle()
    stopping = asyncio.run_coroutine_threadsafe(server.stop(PATIENCE), stage.loop.loop)
    assert idle.rest() == b""
    assert not stopping.done()
    stage.respond(exchange, 200, (), b"late")
    _, headers, body = parked.response()
    assert (headers.get("connection"), body) == ("close", b"late")
    assert parked.rest() == b""
    reading.send(b"c")
    stage.respond(app.take(), 200, (), b"also")
    assert reading.response()[2] == b"also"
    stopping.result(PATIENCE)
    assert "/never" not in app.admitted


@pytest.mark.parametrize("grace", [0, 0.05])
def test_stop_cuts_what_does_not_finish(stage: Stage, grace: float) -> None:
    app = App(park=True)
    server = stage.serve(app)
    client = stage.connect(server)
    client.send(GET)
    exchange, left = app.take(), threading.Event()
    stage.loop.call(exchange.on_close, left.set)
    stage.loop.run(server.stop(grace))
    assert left.is_set()
    assert exchange.closed
    assert client.rest() == b""
    stage.respond(exchange, 200)


def test_stop_cuts_a_client_that_takes_nothing(stage: Stage) -> None:
    server = stage.serve(Fixed(Response(200, (), b"x" * 10_000_000)))
    client = stage.connect(server, receive_buffer=4096)
    client.send(GET)
    client.head()
    stage.loop.run(server.stop(0.05))


def test_idle_connections_end_and_parked_ones_stay(stage: Stage) -> None:
    app = App(park=True)
    server = stage.serve(app, idle_timeout=0.02)
    parked = stage.connect(server)
    parked.send(GET)
    exchange = app.take()
    for data in (b"", GET[:10], post(b"abc")[:-1]):
        idle = stage.connect(server)
        idle.send(data)
        assert idle.rest() == b""
    stage.respond(exchange, 200, (), b"still here")
    assert parked.response()[2] == b"still here"
    assert parked.rest() == b""


def test_a_server_and_a_parked_exchange_cost_no_task(stage: Stage) -> None:
    before = stage.loop.call(lambda: len(asyncio.all_tasks()))
    app = App(park=True)
    client = stage.open(app)
    client.send(GET)
    app.take()
    assert stage.loop.call(lambda: len(asyncio.all_tasks())) == before
