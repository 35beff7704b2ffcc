"""Doors: from a socket in a sandbox's network to what answers AWS's API."""

from __future__ import annotations

import asyncio
import socket

import pytest

from lambent.base.http import Exchange, Request, Response
from lambent.engine import doors as doors_module
from lambent.engine.doors import CONNECTIONS, HELD_BYTES, Door, Doors

GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:4566\r\n\r\n"


class Api:
    """Says its name."""

    def admit(self, request: Request) -> Response | None:
        return None

    def handle(self, exchange: Exchange) -> None:
        exchange.respond(Response(200, (), b"the api"))

    def too_large(self, request: Request) -> Response:
        return Response(413)

    def malformed(self, reason: str) -> Response:
        return Response(400)


def listener() -> socket.socket:
    made = socket.create_server(("127.0.0.1", 0))
    made.setblocking(False)
    return made


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    answer = await asyncio.wait_for(reader.readuntil(b"the api"), 10)
    writer.close()
    return answer


async def test_who_knocks_is_answered() -> None:
    doors, sock = Doors(), listener()
    doors.lead_to(Api(), "http://127.0.0.1:1")
    door = doors.door(sock)
    for _ in range(2):
        assert (await ask(sock.getsockname()[1])).startswith(b"HTTP/1.1 200")
    await door.close()
    sock.close()


async def test_who_knocks_early_waits_until_there_is_somebody() -> None:
    doors, sock = Doors(), listener()
    door = doors.door(sock)
    asking = asyncio.ensure_future(ask(sock.getsockname()[1]))
    url = asyncio.ensure_future(doors.url())
    await asyncio.sleep(0.01)
    assert not asking.done()
    assert not url.done()
    doors.lead_to(Api(), "http://127.0.0.1:1")
    assert (await asking).startswith(b"HTTP/1.1 200")
    assert await url == "http://127.0.0.1:1"
    await door.close()
    sock.close()


async def _closed(door: Door, sock: socket.socket) -> None:
    port = sock.getsockname()[1]
    await door.close()
    await door.close()
    sock.close()
    try:
        await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return
    raise AssertionError("the door is open")


async def test_a_door_closes_whether_somebody_knocked_or_not() -> None:
    doors, unused, early, used = Doors(), listener(), listener(), listener()
    await _closed(doors.door(unused), unused)
    waiting = doors.door(early)
    knocking = await asyncio.open_connection("127.0.0.1", early.getsockname()[1])
    await asyncio.sleep(0.01)
    await _closed(waiting, early)
    knocking[1].close()
    doors.lead_to(Api(), "")
    door = doors.door(used)
    await ask(used.getsockname()[1])
    await _closed(door, used)


async def test_what_one_environment_can_make_the_server_hold_is_bounded() -> None:
    doors, sock = Doors(), listener()
    doors.lead_to(Api(), "")
    door = doors.door(sock)
    await ask(sock.getsockname()[1])
    assert door._server is not None
    assert (door._server.max_connections, door._server.max_held) == (CONNECTIONS, HELD_BYTES)
    await door.close()
    sock.close()


async def test_so_is_what_all_of_them_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors_module, "HELD_BYTES_ALL", 1000)
    doors, socks = Doors(), [listener(), listener()]
    doors.most = 2
    doors.lead_to(Api(), "")
    opened = [doors.door(sock) for sock in socks]
    ports = [sock.getsockname()[1] for sock in socks]
    reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n")
    while doors.held != 900:
        await asyncio.sleep(0.001)
    other, their_writer = await asyncio.open_connection("127.0.0.1", ports[1])
    their_writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200\r\n\r\n")
    assert b" 503 " in await other.readline()
    third, third_writer = await asyncio.open_connection("127.0.0.1", ports[1])
    assert await third.read() == b"", "cut: there are two already"
    for one in (writer, their_writer, third_writer):
        one.close()
    while doors.held or doors.connected:
        await asyncio.sleep(0.001)
    del reader
    for door in opened:
        await door.close()
