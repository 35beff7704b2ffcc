"""Bodies that are never whole in memory: requests read, and answers sent, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol


class Flow(Protocol):
    """The connection that a body comes from, as its sink sees it."""

    def pause_body(self) -> None:
        """Feed nothing more for now. What has been read already is kept, then reading stops: the sender must wait."""

    def resume_body(self) -> None: ...


class Sink(Protocol):
    """Takes the body of one request as it comes: set as `request.sink` by `Application.admit`.

    `Application.handle` follows when the body is complete, with the trailers and an empty `request.body`.
    """

    def start(self, flow: Flow) -> None:
        """The request was admitted."""

    def feed(self, data: bytes) -> None:
        """The next bytes. May pause the flow; a few more pieces can follow all the same."""

    def lost(self) -> None:
        """The rest will not come: the client is gone, or what it sent was refused. `handle` is not called."""


class Sender(Protocol):
    """The connection that an answer goes to, as its stream sees it."""

    def send(self, parts: Sequence[bytes]) -> bool:
        """False: the client takes them more slowly than they come."""

    def end_stream(self) -> None: ...
    def abort(self) -> None: ...


class ResponseStream:
    """The body of an answer whose head has been sent."""

    __slots__ = ("_chunked", "_left", "_room", "_sender")

    def __init__(self, sender: Sender, *, chunked: bool, length: int | None = None) -> None:
        """`length`: bytes that the head has promised."""
        self._sender: Sender | None = sender
        self._chunked = chunked
        self._left = length
        self._room: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        """Send a piece; returns when another may follow. Once the client has left, pieces are thrown away."""
        if self._sender is None or not data:
            return
        if self._left is not None:
            self._left -= len(data)
        if not self._sender.send((b"%x\r\n" % len(data), data, b"\r\n") if self._chunked else (data,)):
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def end(self) -> None:
        """The body is complete. One that has another length than promised is cut."""
        if self._left:
            self.abort()
            return
        sender, self._sender = self._sender, None
        if sender is not None:
            if self._chunked:
                sender.send((b"0\r\n\r\n",))
            sender.end_stream()

    def abort(self) -> None:
        """Cut the connection, so that the client sees that something is missing."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.abort()

    # For the connection

    def drained(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def client_left(self) -> None:
        self._sender = None
        self.drained()
