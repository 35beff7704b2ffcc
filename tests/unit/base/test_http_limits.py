"""What the HTTP server refuses, and how it asks for a body: limits, 100-continue, request smuggling."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from http_stage import GET, App, Stage, chunked, get, post

from lambent.base import http_connection
from lambent.base.http import Response

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
    monkeypatch.setattr(http_connection, "_DRAIN_SECONDS", 3600)
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


def test_connections_beyond_the_limit_are_cut(stage: Stage) -> None:
    server = stage.serve(max_connections=2)
    first, second = stage.connect(server), stage.connect(server)
    assert [client.exchange(GET)[0] for client in (first, second)] == [200, 200]
    assert stage.connect(server).rest() == b""
    first.sock.close()
    stage.loop.settle()
    assert stage.connect(server).exchange(GET)[0] == second.exchange(GET)[0] == 200


def test_bodies_are_held_only_up_to_a_limit(stage: Stage) -> None:
    app = App(park=True, limit=1000)
    server = stage.serve(app, max_held=1500)
    first, second, third = (stage.connect(server) for _ in range(3))
    first.send(post(b"x" * 1000))
    waiting = app.take()
    assert second.exchange(post(b"x" * 600))[0] == 503
    third.send(post(b"x" * 500))
    stage.loop.call(app.take().respond, Response(200))
    assert third.response()[0] == 200
    fourth = stage.connect(server)
    fourth.send(post(b"x" * 400)[:-1])  # what is not there yet counts
    stage.loop.settle()
    assert stage.connect(server).exchange(post(b"x" * 200))[0] == 503
    assert stage.connect(server).exchange(chunked([b"x"]))[0] == 503, "as much as it may become"
    fourth.sock.close()
    stage.loop.call(waiting.respond, Response(200))
    assert first.response()[0] == 200
    stage.loop.settle()
    assert stage.loop.call(lambda: server.held) == 0


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
        b"POST / HTTP/1.1\r\nContent-Length: " + b"0" * 5000 + b"3\r\n\r\nabc",
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
        b"GET / HTTP/2.0\r\nConnection: keep-alive\r\n\r\n",
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
