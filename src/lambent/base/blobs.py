"""Immutable blobs, each known by the sha256 of its content.

On disk, below the root (0700):

    <digest>        one blob, 0600
    .new-<random>   a blob being written; what a crash left of these goes at the next start
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from lambent.base.files import ASIDE, sync_directory, write_all, write_durably
from lambent.base.retention import Retention

DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 18


class BlobMissing(Exception):
    """No blob has this digest."""


class BlobDamaged(Exception):
    """What is stored does not have the digest it is stored under."""


class BlobWriter(Protocol):
    """A blob on its way in. What is not committed goes at the next start, if nobody discards it before."""

    @property
    def size(self) -> int:
        """Bytes written so far."""

    @property
    def digest(self) -> str:
        """Of what has been written so far."""

    async def write(self, data: bytes) -> None:
        """Append; the data is on disk or in the kernel's hands when it returns."""

    async def commit(self, digest: str | None = None) -> str:
        """Store it; its digest once it is durable. Raises BlobDamaged, and discards it, when it is not `digest`."""

    async def discard(self) -> None:
        """Give it up. No harm after a commit."""


class Blobs(Protocol):
    """Digests are 64 lower-case hexadecimal digits; anything else is a blob that is missing."""

    async def put(self, data: bytes) -> str:
        """Store `data`; its digest once it is durable. Storing the same again costs nothing."""

    async def writer(self) -> BlobWriter:
        """A blob that comes in pieces and is never whole in memory."""

    async def get(self, digest: str) -> bytes:
        """The whole blob, checked against its digest. Raises BlobMissing or BlobDamaged."""

    async def archive(self, digest: str) -> bytes | Path:
        """The whole blob, as a file where it is one. Raises BlobMissing."""

    def stream(self, digest: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The blob, from byte `start` to before `stop`, in pieces. Raises BlobMissing.

        Goes on to its end though it be collected meanwhile.
        """

    async def exists(self, digest: str) -> bool: ...

    def holding(self, digest: str) -> AbstractAsyncContextManager[None]:
        """While it is open, `collect` does not remove this blob; opening it waits for one that is removing it."""

    async def collect(self, keep: Callable[[], Collection[str]], among: Iterable[str] | None = None) -> list[str]:
        """Remove the blobs that `keep()` does not hold, all of them or those `among`; the digests that went.

        `keep` is called on the event loop in the instant of the decision. A blob whose `put` is under way, or comes
        while it is being removed, is there when that `put` returns.
        """


class LocalBlobs:
    """Blobs as files of one directory. Whole at any instant: written aside, synced, renamed, directory synced."""

    def __init__(self, root: Path) -> None:
        """Make the directory where it is missing and clear what a crash left. Blocks briefly."""
        self._root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._retention = Retention()
        for leftover in root.glob(f"{ASIDE}*"):
            leftover.unlink()

    def path(self, digest: str) -> Path:
        """Where the blob lies. Raises BlobMissing for what is no digest."""
        if not DIGEST.fullmatch(digest):
            raise BlobMissing(digest)
        return self._root / digest

    async def put(self, data: bytes) -> str:
        digest = await asyncio.to_thread(_digest, data) if len(data) > _CHUNK else _digest(data)
        async with self._retention.making(digest):
            await asyncio.to_thread(self._write, self.path(digest), data)
        return digest

    async def writer(self) -> BlobWriter:
        return await asyncio.to_thread(_FileWriter, self._root, self._retention)

    def _write(self, path: Path, data: bytes) -> None:
        if path.exists():  # renamed into place by a put that may not have synced the directory yet
            sync_directory(self._root)
            return
        write_durably(path, data)

    async def get(self, digest: str) -> bytes:
        return await asyncio.to_thread(self._read, digest)

    async def archive(self, digest: str) -> Path:
        if not await self.exists(digest):
            raise BlobMissing(digest)
        return self.path(digest)

    def _read(self, digest: str) -> bytes:
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise BlobMissing(digest) from None
        if _digest(data) != digest:
            raise BlobDamaged(f"{self._root / digest} does not have the content it was stored with")
        return data

    async def stream(self, digest: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        try:
            file = await asyncio.to_thread(open, self.path(digest), "rb", 0)
        except FileNotFoundError:
            raise BlobMissing(digest) from None
        try:
            file.seek(start)
            position = start
            while stop is None or position < stop:
                piece = await asyncio.to_thread(file.read, _CHUNK if stop is None else min(_CHUNK, stop - position))
                if not piece:
                    break
                position += len(piece)
                yield piece
        finally:
            file.close()

    async def exists(self, digest: str) -> bool:
        return bool(DIGEST.fullmatch(digest)) and await asyncio.to_thread((self._root / digest).exists)

    def holding(self, digest: str) -> AbstractAsyncContextManager[None]:
        return self._retention.making(digest)

    async def collect(self, keep: Callable[[], Collection[str]], among: Iterable[str] | None = None) -> list[str]:
        present = await asyncio.to_thread(self._present, among)
        return await self._retention.sweep(present, keep, self._remove)

    def _present(self, among: Iterable[str] | None) -> list[str]:
        names = os.listdir(self._root) if among is None else among
        return [name for name in names if DIGEST.fullmatch(name) and (self._root / name).exists()]

    def _remove(self, digests: Collection[str]) -> None:
        for digest in digests:
            (self._root / digest).unlink(missing_ok=True)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class _FileWriter:
    """A `BlobWriter` on a file beside the blobs. Its methods are called one after another, never at once."""

    def __init__(self, root: Path, retention: Retention) -> None:
        self.size = 0
        self._root = root
        self._retention = retention
        self._aside = root / (ASIDE + secrets.token_hex(8))
        self._hash = hashlib.sha256()
        fd = os.open(self._aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = open(fd, "wb", buffering=0)  # noqa: SIM115  it stays open between requests

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    async def write(self, data: bytes) -> None:
        await asyncio.to_thread(self._append, data)
        self.size += len(data)

    def _append(self, data: bytes) -> None:
        self._hash.update(data)
        write_all(self._file, data)

    async def commit(self, digest: str | None = None) -> str:
        found = self.digest
        if digest is not None and found != digest:
            await self.discard()
            raise BlobDamaged(f"what was written has the digest {found}, not {digest}")
        async with self._retention.making(found):
            await asyncio.to_thread(self._settle, self._root / found)
        return found

    def _settle(self, path: Path) -> None:
        if path.exists():
            self._close()
        else:
            os.fsync(self._file.fileno())
            self._file.close()
            self._aside.rename(path)
        sync_directory(self._root)

    async def discard(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._file.close()
        self._aside.unlink(missing_ok=True)
