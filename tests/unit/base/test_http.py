"""The HTTP server over real sockets: requests however their bytes come, and their responses in order."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import threading
from collections.abc import Callable

import pytest
from http_stage import GET, PATIENCE, App, Client, Fixed, Stage, chunked, get, post
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.base.http import Exchange, HttpServer, Response

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
    with contextlib.closing(Client(echo[2].port).sock) as sock:
        sock.sendall(GET)
        assert sock.recv(20).startswith(b"HTTP/1.1 200 ")


# Responses


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


@pytest.mark.parametrize("bad", [b"", b"nonsense\r\n\r\n"])
def test_a_client_that_sends_on_while_parked_is_not_read(stage: Stage, bad: bytes) -> None:
    app = App(park=True)
    client = stage.open(app)
    client.send(GET)
    exchange = app.take()
    data = bad + post(b"x" * 65_000) * 500
    sent = 0
    client.sock.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while sent < len(data):
            sent += client.sock.send(data[sent:])
    assert sent < len(data)
    client.sock.settimeout(PATIENCE)
    taken: list[bool] = []
    sender = threading.Thread(target=lambda: taken.append(client.send(data[sent:]) is None))
    sender.start()
    app.park = False
    stage.respond(exchange, 200, (), b"late")
    assert client.response()[2] == b"late"
    if bad:
        assert client.response()[0] == 400
        assert client.rest() == b""
    else:
        for _ in range(500):
            assert client.response()[2] == b"x" * 65_000
    sender.join()
    assert taken == [True]  # to the last byte, even of what was refused


@pytest.mark.parametrize("finished", [False, True])
def test_a_client_that_takes_no_answers_is_not_served(stage: Stage, finished: bool) -> None:
    app = Fixed(Response(200, (), b"x" * 100_000))
    client = stage.connect(stage.serve(app), receive_buffer=4096)
    client.send(GET * 1000)
    if finished:
        client.sock.shutdown(socket.SHUT_WR)
    stage.loop.settle()
    assert len(app.handled) < 1000
    for _ in range(1000):
        assert len(client.response()[2]) == 100_000
    assert len(app.handled) == 1000
    if finished:
        assert client.rest() == b""
    else:
        assert client.exchange(GET)[0] == 200
