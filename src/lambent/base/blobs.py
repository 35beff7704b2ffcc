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
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from pathlib import Path
from typing import Protocol

from lambent.base.files import ASIDE, sync_directory, write_durably
from lambent.base.retention import Retention

DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 18


class BlobMissing(Exception):
    """No blob has this digest."""


class BlobDamaged(Exception):
    """What is stored does not have the digest it is stored under."""


class Blobs(Protocol):
    """Digests are 64 lower-case hexadecimal digits; anything else is a blob that is missing."""

    async def put(self, data: bytes) -> str:
        """Store `data`; its digest once it is durable. Storing the same again costs nothing."""

    async def get(self, digest: str) -> bytes:
        """The whole blob, checked against its digest. Raises BlobMissing or BlobDamaged."""

    def stream(self, digest: str) -> AsyncIterator[bytes]:
        """The blob in pieces; goes on to its end though it be collected meanwhile. Raises BlobMissing."""

    async def exists(self, digest: str) -> bool: ...

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

    def _write(self, path: Path, data: bytes) -> None:
        if path.exists():  # renamed into place by a put that may not have synced the directory yet
            sync_directory(self._root)
            return
        write_durably(path, data)

    async def get(self, digest: str) -> bytes:
        return await asyncio.to_thread(self._read, digest)

    def _read(self, digest: str) -> bytes:
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise BlobMissing(digest) from None
        if _digest(data) != digest:
            raise BlobDamaged(f"{self._root / digest} does not have the content it was stored with")
        return data

    async def stream(self, digest: str) -> AsyncIterator[bytes]:
        try:
            file = await asyncio.to_thread(open, self.path(digest), "rb", 0)
        except FileNotFoundError:
            raise BlobMissing(digest) from None
        try:
            while piece := await asyncio.to_thread(file.read, _CHUNK):
                yield piece
        finally:
            file.close()

    async def exists(self, digest: str) -> bool:
        return bool(DIGEST.fullmatch(digest)) and await asyncio.to_thread((self._root / digest).exists)

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
