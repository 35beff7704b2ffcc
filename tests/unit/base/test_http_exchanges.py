"""Exchanges of the HTTP server that are parked, abandoned or fail; starting and stopping."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import threading
from collections.abc import Callable

import pytest
from http_stage import GET, PATIENCE, App, Client, Fixed, Stage, chunked, get, post

from lambent.base import http_connection
from lambent.base.http import Exchange, HttpServer, Request, Response

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
        socket.create_connection(("127.0.0.1", port))


def test_several_listeners_of_one_server(stage: Stage) -> None:
    server = stage.serve()
    first = server.port
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    stage.loop.run(server.start_on(listener))
    for each in (first, port):
        with contextlib.closing(Client(each).sock) as sock:
            sock.sendall(GET)
            assert sock.recv(20).startswith(b"HTTP/1.1 200 ")


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
        socket.create_connection(("127.0.0.1", port))
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


def test_stop_does_not_wait_for_a_refused_client(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "_DRAIN_SECONDS", 3600)
    server = stage.serve()
    client = stage.connect(server)
    client.send(b"nonsense\r\n\r\n")
    stage.loop.settle()
    stage.loop.run(server.stop(3600))
    assert client.response()[0] == 400


def test_an_empty_line_between_requests_is_not_the_start_of_one(stage: Stage) -> None:
    server = stage.serve()
    client = stage.connect(server)
    client.exchange(GET + b"\r\n")
    stage.loop.settle()
    stage.loop.run(server.stop(3600))
    assert client.rest() == b""


def test_refusals_of_clients_that_have_left_leave_nothing_behind(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "_DRAIN_SECONDS", 3600)
    app = App(park=True)
    server = stage.serve(app)
    for leave in (Client.reset, lambda client: client.sock.close()):
        for _ in range(20):
            client = stage.connect(server)
            client.send(GET + b"nonsense\r\n\r\n")
            exchange = app.take()
            leave(client)
            stage.respond(exchange, 200)
    stage.loop.run(server.stop(3600))
    assert not [record for record in caplog.records if record.exc_info]


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


def test_a_connection_that_is_used_is_not_idle(stage: Stage) -> None:
    server = stage.serve(idle_timeout=3600)
    client = stage.connect(server)
    for _ in range(4):
        stage.loop.call(server._tick)
        assert client.exchange(GET)[0] == 200
    for _ in range(2):
        stage.loop.call(server._tick)
    assert client.rest() == b""


def test_a_server_and_a_parked_exchange_cost_no_task(stage: Stage) -> None:
    before = stage.loop.call(lambda: len(asyncio.all_tasks()))
    app = App(park=True)
    client = stage.open(app)
    client.send(GET)
    app.take()
    assert stage.loop.call(lambda: len(asyncio.all_tasks())) == before


def test_answers_are_gathered_while_the_next_request_is_here(stage: Stage) -> None:
    app = App(park=True)
    client = stage.open(app, gathers_answers=True)
    client.send(post(b"done", "/one") + get("/two"))
    stage.respond(app.take(), 202, (), b"1")
    parked = app.take()
    client.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.line()
    client.sock.settimeout(PATIENCE)
    stage.respond(parked, 200, (), b"2")
    assert client.response()[0::2] == (202, b"1")
    assert client.response()[0::2] == (200, b"2")
    client.send(get("/three"))
    stage.respond(app.take(), 200, (), b"3")
    assert client.response()[2] == b"3"


def test_an_answer_does_not_wait_for_half_a_request(stage: Stage) -> None:
    client = stage.open(App(), gathers_answers=True)
    client.send(post(b"a", "/one") + get("/two")[:10])
    assert client.response()[2] == b"a"
    client.send(get("/two")[10:] + get("/three") + b"nonsense\r\n\r\n")
    assert [client.response()[0] for _ in range(3)] == [200, 200, 400]


def test_gathered_answers_come_before_large_and_last_ones(stage: Stage) -> None:
    client = stage.open(App(), gathers_answers=True)
    client.send(post(b"a") + post(b"x" * 100_000) + post(b"b") + post(b"c", headers="Connection: close\r\n"))
    assert [len(client.response()[2]) for _ in range(4)] == [1, 100_000, 1, 1]
    assert client.rest() == b""
