"""A streamed response on its way from the runtime to whoever asked for it, never more of it in memory than a window."""

from __future__ import annotations

import asyncio

from lambent.base.http import Flow

WINDOW = 65_536  # bytes that may wait for the reader before the function has to


class Pipe:
    """The body of one streamed response: the Runtime API's connection feeds it, an operation reads it."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._flow: Flow | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._ended = False
        self._discarding = False
        self._news: asyncio.Future[None] | None = None
        self.started = False
        """Whether the runtime has begun to answer."""

    # For the Runtime API's connection: a `lambent.base.http.Sink`

    def start(self, flow: Flow) -> None:
        self._flow = flow
        self.started = True

    def feed(self, data: bytes) -> None:
        if self._ended or self._discarding:
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size > self._window and self._flow is not None:
            self._flow.pause_body()
        self._tell()

    def lost(self) -> None:
        self._flow = None  # how the invocation ends, its environment finds out: an exit, a timeout, the next `/next`

    # For the reader

    async def ready(self) -> None:
        """Wait for something to read, or the end."""
        while not self._pieces and not self._ended:
            self._news = asyncio.get_running_loop().create_future()
            await self._news

    async def read(self) -> bytes:
        """What has come since the last time, waiting for it; b"" at the end."""
        await self.ready()
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if self._flow is not None:
            self._flow.resume_body()
        return data

    def end(self) -> None:
        """The invocation is over: nothing will follow what has come."""
        self._ended = True
        self._tell()

    def discard(self) -> None:
        """Nobody reads any more: the function goes on, and what it sends is thrown away."""
        self._discarding = True
        self._pieces.clear()
        if self._flow is not None:
            self._flow.resume_body()

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)
