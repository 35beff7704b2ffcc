"""The body of a request on its way to whoever takes it, never more of it in memory than a window."""

from __future__ import annotations

import asyncio

from lambent.base.http_streams import Flow

_PIECE = 1 << 20  # bytes that are worth taking at once
_WINDOW = 4 << 20  # bytes that may wait before the sender has to wait too


class BodyLost(Exception):
    """The rest of the body will not come: the client is gone."""


class BodyStream:
    """A `lambent.base.http.Sink` that is read. Belongs to one event loop; one reader."""

    def __init__(self) -> None:
        self._flow: Flow | None = None
        self._pending = bytearray()
        self._complete = self._lost = self._discarding = self._paused = False
        self._news: asyncio.Future[None] | None = None

    # For the connection

    def start(self, flow: Flow) -> None:
        self._flow = flow

    def feed(self, data: bytes) -> None:
        if self._discarding:
            return
        self._pending += data
        if len(self._pending) > _WINDOW and not self._paused and self._flow is not None:
            self._paused = True
            self._flow.pause_body()
        if len(self._pending) >= _PIECE:
            self._tell()

    def lost(self) -> None:
        self._flow = None
        self._lost = True
        self._tell()

    # For the application

    def complete(self) -> None:
        """Everything has come."""
        self._complete = True
        self._tell()

    async def read(self) -> bytes:
        """The next piece, of at least 1 MiB unless it is the last; b"" at the end. Raises BodyLost."""
        while len(self._pending) < _PIECE and not self._complete and not self._lost:
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        if self._lost:
            raise BodyLost
        piece = bytes(self._pending)
        self._pending.clear()
        self._resume()
        return piece

    def discard(self) -> None:
        """Nobody reads any more: what is still to come is thrown away."""
        self._discarding = True
        self._pending.clear()
        self._resume()

    def _resume(self) -> None:
        if self._paused and self._flow is not None:
            self._paused = False
            self._flow.resume_body()

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)
