"""Fakes for tests of Lambent and of what is built on it. They keep the promises of what they stand in for."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from datetime import UTC, datetime

from lambent.base.blobs import BlobDamaged, BlobMissing, BlobWriter


class FakeClock:
    """A `Clock` that moves when told to, and gives the same identifiers every time."""

    def __init__(self, now: float = 1_795_237_473.12) -> None:
        """`now` is in seconds since the epoch; by default 2026-11-21 05:04:33.120 UTC."""
        self._now = now
        self._monotonic = 0.0
        self._drawn = 0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._now, UTC)

    def time(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def uuid(self) -> str:
        return str(uuid.UUID(bytes=self._draw(16), version=4))

    def token(self, nbytes: int = 16) -> str:
        return self._draw(nbytes).hex()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        self._monotonic += seconds

    def _draw(self, nbytes: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_256(self._drawn.to_bytes(8, "big")).digest(nbytes)


class _MemoryWriter:
    def __init__(self, blobs: MemoryBlobs) -> None:
        self._blobs = blobs
        self._data = b""

    @property
    def size(self) -> int:
        return len(self._data)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self._data).hexdigest()

    async def write(self, data: bytes) -> None:
        self._data += data

    async def commit(self, digest: str | None = None) -> str:
        if digest not in (None, self.digest):
            raise BlobDamaged(f"what was written has the digest {self.digest}, not {digest}")
        return await self._blobs.put(self._data)

    async def discard(self) -> None:
        self._data = b""


class MemoryBlobs:
    """`Blobs` that are gone with the process."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    async def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self._blobs[digest] = bytes(data)
        return digest

    async def get(self, digest: str) -> bytes:
        try:
            return self._blobs[digest]
        except KeyError:
            raise BlobMissing(digest) from None

    async def archive(self, digest: str) -> bytes:
        return await self.get(digest)

    async def stream(self, digest: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        data = (await self.get(digest))[start:stop]
        for place in range(0, len(data), 1 << 16):
            yield data[place : place + (1 << 16)]

    async def exists(self, digest: str) -> bool:
        return digest in self._blobs

    async def writer(self) -> BlobWriter:
        return _MemoryWriter(self)

    def holding(self, digest: str) -> contextlib.AbstractAsyncContextManager[None]:
        return contextlib.nullcontext()

    async def collect(self, keep: Callable[[], Collection[str]], among: Iterable[str] | None = None) -> list[str]:
        kept = keep()
        gone = sorted(
            digest
            for digest in (self._blobs if among is None else among)
            if digest in self._blobs and digest not in kept
        )
        for digest in gone:
            del self._blobs[digest]
        return gone
