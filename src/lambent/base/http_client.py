"""An HTTP/1.1 client for bodies that are never whole in memory: what is sent, and what comes back, piece by piece.

Made for passing requests on: the target goes out as it was received, headers as given, and a body is not decoded.
One connection for each request.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol
from urllib.parse import urlsplit

import httptools

from lambent.base.http_messages import BODILESS

_PIECE = 1 << 16
_MOST_HEAD = 1 << 18  # bytes of an answer's head
_CONNECT_SECONDS = 10.0


class Unreachable(Exception):
    """Nobody answers there, or what answers breaks off or is not HTTP."""


class Source(Protocol):
    """Where a request's body comes from: `lambent.base.pipe.Pipe` is one."""

    async def read(self) -> bytes:
        """The next piece; b"" at the end."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a server listens: an address, or a socket in the file system."""

    host: str = ""
    port: int = 0
    tls: bool = False
    path: str = ""  # of a Unix socket

    @classmethod
    def of(cls, url: str) -> Origin:
        """From "http://127.0.0.1:9000" or "https://…". ValueError for anything else."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(url)
        tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.path:
            return await asyncio.open_unix_connection(self.path)
        return await asyncio.open_connection(self.host, self.port, ssl=_tls() if self.tls else None)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class Answer:
    """A response whose head has come. `read` gives its body; `close` must be called in the end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, bodiless: bool) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []  # as they came
        self._reader = reader
        self._writer = writer
        self._bodiless = bodiless  # the answer to a HEAD
        self._upload: asyncio.Task[None] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._headed = self._ended = False

    async def read(self) -> bytes:
        """The next piece of the body; b"" at the end. Unreachable when it breaks off."""
        while not self._pieces and not self._ended:
            await self._receive()
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data

    async def whole(self, limit: int) -> bytes:
        """The rest of the body. Unreachable when it has more than `limit` bytes."""
        pieces, size = [], 0
        while piece := await self.read():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise Unreachable(f"the answer has more than {limit} bytes")
        return b"".join(pieces)

    def close(self) -> None:
        if self._upload is not None:
            self._upload.cancel()
        self._writer.close()

    # For `send`

    def upload(self, task: asyncio.Task[None]) -> None:
        self._upload = task
        task.add_done_callback(_note)

    async def head(self) -> None:
        """Wait for the head. A server may answer before it has the whole body."""
        size = 0
        while not self._headed:
            size += await self._receive()
            if size > _MOST_HEAD and not self._headed:
                raise Unreachable("the head of the answer has no end")

    async def _receive(self) -> int:
        try:
            data = await self._reader.read(_PIECE)
        except OSError as error:
            raise Unreachable(str(error) or type(error).__name__) from error
        if not data:
            self._closed()
            return 0
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._ended:
                raise Unreachable(f"what answers is not HTTP/1.1: {error}") from error
        return len(data)

    def _closed(self) -> None:
        """The server has closed: that ends a body whose length was not told."""
        names = {name.lower() for name, _value in self.headers}
        if not self._headed or "content-length" in names or "transfer-encoding" in names:
            raise Unreachable("the connection was closed before the answer was complete")
        self._ended = True

    # What the parser says

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._headed:  # else a trailer
            self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue: the answer proper follows
            self.headers.clear()
            return
        self.status, self._headed = status, True
        self._ended = self._bodiless or status in BODILESS

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        self._ended = self._headed


async def send(
    origin: Origin, method: str, target: str, headers: Sequence[tuple[str, str]], body: Source | bytes = b""
) -> Answer:
    """Ask, and return when the answer's head has come. Unreachable.

    `headers` go out as they are, `Connection: close` behind them. A `body` that is a source needs a `Content-Length`
    among them; without one it is sent in chunks.
    """
    try:
        reader, writer = await asyncio.wait_for(origin.connect(), _CONNECT_SECONDS)
    except (OSError, TimeoutError) as error:
        raise Unreachable(_why(error)) from error
    answer = Answer(reader, writer, bodiless=method == "HEAD")
    try:
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "Connection: close"]
        names = {name.lower() for name, _value in headers}
        chunked = not isinstance(body, bytes) and "content-length" not in names
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        elif isinstance(body, bytes) and body and "content-length" not in names:
            lines.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if not isinstance(body, bytes):
            answer.upload(asyncio.get_running_loop().create_task(_upload(writer, body, chunked)))
        elif body:
            writer.write(body)
        await answer.head()
    except BaseException:
        answer.close()
        raise
    return answer


async def _upload(writer: asyncio.StreamWriter, source: Source, chunked: bool) -> None:
    while piece := await source.read():
        if writer.is_closing():  # the answer may have come already; the rest of the body is nobody's any more
            continue
        writer.writelines((b"%x\r\n" % len(piece), piece, b"\r\n") if chunked else (piece,))
        with contextlib.suppress(OSError):
            await writer.drain()
    if chunked and not writer.is_closing():
        writer.write(b"0\r\n\r\n")


def _note(task: asyncio.Task[None]) -> None:
    """A body that broke off has its own consequences; here the failure is only taken note of."""
    if not task.cancelled():
        task.exception()


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no connection within {_CONNECT_SECONDS:.0f} s"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, FileNotFoundError):
        return "nobody listens there"
    return str(error) or type(error).__name__
