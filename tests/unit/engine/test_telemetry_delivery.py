"""Delivery to a real port, with the test as the listening extension."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from lambent.base.clock import SystemClock
from lambent.engine import telemetry_delivery
from lambent.engine.telemetry_buffer import Allowance, Buffer, Buffering
from lambent.engine.telemetry_delivery import Delivery, Destination, Refusal, sender

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


async def connect() -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    return made


class Listener:
    """Takes requests, or lines, and answers as it is told."""

    def __init__(self) -> None:
        self.answer = OK
        self.bodies: list[Any] = []
        self.heads: list[str] = []
        self.connections = 0
        self.received: Callable[[], None] = lambda: None
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
                body = await reader.readexactly(length)
                self.heads.append(head)
                self.bodies.append(json.loads(body))
                self.received()
                writer.write(self.answer)
                if b"\r\nConnection: close" in self.answer or b"Content-Length" not in self.answer:
                    writer.close()
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


@pytest.fixture
async def listener(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Listener]:
    monkeypatch.setattr(telemetry_delivery, "BACKOFF", 0.01)
    listener = Listener()
    await listener.open()
    yield listener
    listener.close()


def delivery(listener: Listener, *, timeout: float = 0.01, limit: int = 1 << 20, **destination: Any) -> Delivery:
    where = Destination(**({"protocol": "HTTP", "port": listener.port, "path": "/here"} | destination))
    buffer = Buffer(Buffering(10, 1000, timeout), Allowance(limit))
    dropped = lambda batch: json.dumps({"dropped": batch.dropped_records}).encode()  # noqa: E731
    return Delivery(buffer, sender(where, connect), dropped, SystemClock().monotonic)


async def test_records_arrive_together_over_one_connection(listener: Listener) -> None:
    sending = delivery(listener)
    sending.push(b'{"a": 1}')
    sending.push(b'{"a": 2}')
    await until(lambda: listener.bodies)
    sending.push(b'{"a": 3}')
    await until(lambda: len(listener.bodies) == 2)
    assert listener.bodies == [[{"a": 1}, {"a": 2}], [{"a": 3}]]
    assert listener.connections == 1
    head = listener.heads[0].splitlines()
    assert head[0] == "POST /here HTTP/1.1"
    assert f"Host: sandbox.localdomain:{listener.port}" in head
    assert "Content-Type: application/json" in head
    await sending.stop()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\n\r\nbye",
        b"HTTP/1.1 204 No Content\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nOK\r\n0\r\n\r\n",
    ],
)
async def test_every_kind_of_answer_is_understood(listener: Listener, answer: bytes) -> None:
    listener.answer = answer
    sending = delivery(listener)
    sending.push(b"1")
    await until(lambda: listener.bodies == [[1]])
    sending.push(b"2")
    await until(lambda: listener.bodies == [[1], [2]])
    await sending.stop()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        b"no http at all\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
    ],
)
async def test_what_is_not_accepted_is_sent_again(listener: Listener, answer: bytes) -> None:
    listener.answer = answer
    sending = delivery(listener)
    sending.push(b"1")
    await until(lambda: len(listener.bodies) >= 2)
    listener.answer = OK
    await until(lambda: listener.bodies[-1] == [1] and sending._task is None)
    count = len(listener.bodies)
    sending.push(b"2")
    await until(lambda: listener.bodies[-1] == [2])
    assert len(listener.bodies) == count + 1
    await sending.stop()


async def test_a_listener_that_comes_late_gets_everything(listener: Listener) -> None:
    listener.close()
    sending = delivery(listener)
    sending.push(b"1")
    await asyncio.sleep(0.03)
    late = Listener()
    await late.open(listener.port)
    await until(lambda: late.bodies == [[1]])
    await sending.stop()
    late.close()


async def test_who_falls_behind_is_told_how_much_was_dropped(listener: Listener) -> None:
    listener.close()
    sending = delivery(listener, timeout=0)
    for _ in range(40):
        sending.push(b'"' + b"x" * 98 + b'"')
    late = Listener()
    await late.open(listener.port)
    await until(lambda: sum(map(len, late.bodies)) >= 21)
    everything = [record for body in late.bodies for record in body]
    told = [record for record in everything if isinstance(record, dict)]
    assert len(everything) - len(told) + sum(record["dropped"] for record in told) == 40
    await sending.stop()
    late.close()


async def test_nothing_is_sent_while_the_environment_is_frozen(listener: Listener) -> None:
    sending = delivery(listener)
    sending.pause()
    sending.push(b"1")
    await asyncio.sleep(0.05)
    assert listener.bodies == []
    sending.resume()
    await until(lambda: listener.bodies == [[1]])
    await sending.stop()


async def test_a_flush_does_not_wait(listener: Listener) -> None:
    sending = delivery(listener, timeout=3600)
    sending.push(b"1")
    sending.flush()
    await until(lambda: listener.bodies == [[1]])
    sending.push(b"2")
    await asyncio.sleep(0.02)
    assert listener.bodies == [[1]]
    await sending.stop()


async def test_a_flush_ends_though_every_delivery_causes_a_record(listener: Listener) -> None:
    """As with a listener that prints a line for each request, and has subscribed to its own lines."""
    sending = delivery(listener, timeout=3600)
    for number in range(25):
        sending.push(str(number).encode())
    listener.received = lambda: sending.push(b'"printed"')
    sending.flush()
    await until(lambda: sum(len(body) for body in listener.bodies) >= 25)
    await asyncio.sleep(0.05)
    assert len(listener.bodies) <= 4
    await sending.stop()


async def test_a_listener_that_never_answers_holds_nobody_up(listener: Listener) -> None:
    listener.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    allowance = Allowance(1000)
    buffer = Buffer(Buffering(10, 1000, 0.0), allowance)
    stuck = Delivery(
        buffer, sender(Destination("HTTP", listener.port), connect), lambda batch: b"", SystemClock().monotonic
    )
    for _ in range(300):
        stuck.push(b"12345")
    await until(lambda: listener.bodies)
    await stuck.stop()
    assert allowance.take(1000), "everything is given back"


async def test_stopping_before_anything_began(listener: Listener) -> None:
    sending = delivery(listener, timeout=0)
    sending.push(b"1")
    await sending.stop()
    await sending.stop()
    assert listener.connections == 0


async def test_tcp_is_lines(listener: Listener) -> None:
    lines: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            lines.append(line)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    sending = delivery(listener, protocol="TCP", port=server.sockets[0].getsockname()[1])
    sending.push(b"1")
    sending.push(b"2")
    await until(lambda: lines == [b"1\n", b"2\n"])
    await sending.stop()
    server.close()


async def test_a_refusal_says_why(listener: Listener) -> None:
    listener.answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(Refusal, match="404"):
        await sender(Destination("HTTP", listener.port), connect).send([b"1"])
