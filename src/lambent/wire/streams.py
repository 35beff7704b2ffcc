"""Members that are streams: the body of an object on its way in, and on its way out."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from lambent.base.http import Headers, Request
from lambent.base.http_bodies import BodyStream
from lambent.wire import chunked
from lambent.wire.chunked import Unframer, Verifier

_HASH = re.compile("[0-9a-f]{64}")


class Incoming:
    """The body of a request as its handler gets it: pieces of some size, framing undone. To be read once.

    Reading raises AwsError for framing that is malformed or signed wrongly, and BodyLost when the client is gone.
    """

    def __init__(self, headers: Headers, source: BodyStream) -> None:
        self._source = source
        self._headers = headers
        self.verifier: Verifier | None = None
        """Who checks the signatures of chunks; to be set before the first piece is read."""
        self.trailers: Mapping[str, str] = {}
        """What came behind the content, by names in lower case; complete when the last piece has been read."""

    @property
    def length(self) -> int | None:
        """Bytes of the content, as the request says; None when it does not."""
        name = "x-amz-decoded-content-length" if chunked.is_framed(self._headers) else "content-length"
        told = self._headers.get(name)
        return int(told) if told is not None and re.fullmatch("[0-9]{1,18}", told) else None

    @property
    def announced(self) -> list[str]:
        """The names of the trailers to come, in lower case."""
        return chunked.announced(self._headers)

    @property
    def sha256(self) -> str | None:
        """Of the content, in hexadecimal, where the request is signed with it."""
        told = self._headers.get("x-amz-content-sha256") or ""
        return told if _HASH.fullmatch(told) else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        unframer = Unframer(self._headers, self.verifier) if chunked.is_framed(self._headers) else None
        while piece := await self._source.read():
            if unframer is None:
                yield piece
            else:
                content = b"".join(unframer.feed(piece))
                if content:
                    yield content
        if unframer is not None:
            unframer.finish()
            self.trailers = unframer.trailers


class Pieces(Protocol):
    """What is read once, and closed in the end whether it was read or not."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The body of an answer."""

    length: int  # bytes
    pieces: Pieces
    status: int = 200


@contextlib.asynccontextmanager
async def opened(body: Outgoing | bytes) -> AsyncIterator[AsyncIterator[bytes]]:
    """The content of an answer's body in pieces, as its maker chose to give it; closed whether it was read or not."""
    if isinstance(body, bytes):
        yield _one(body)
        return
    try:
        yield aiter(body.pieces)
    finally:
        await body.pieces.aclose()


async def _one(piece: bytes) -> AsyncIterator[bytes]:
    if piece:
        yield piece


class Receiving(BodyStream):
    """The sink of a request whose operation has begun before its body has come."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.incoming = Incoming(request.headers, self)
