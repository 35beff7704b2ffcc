"""The content of objects: files with random names, each written once.

On disk, below the root (0700), in 256 directories so that none has too many entries:

    <first two digits>/<id>     32 hexadecimal digits, 0600

A file belongs to an object when a committed row names it. One that no row names is what a crash has left of a request
that got no answer; `sweep` removes it at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from lambent.base.clock import Clock
from lambent.base.files import sync_directory, write_all
from lambent.services.s3.checksums import Digests
from lambent.services.s3.records import Segments

_log = logging.getLogger("lambent.s3")

_ID = re.compile("[0-9a-f]{32}")
_PIECE = 1 << 19  # bytes read at a time


class Contents:
    """Belongs to one event loop, and one process has it at a time."""

    def __init__(self, root: Path, clock: Clock) -> None:
        """Make the directories where they are missing. Blocks briefly."""
        self._root = root
        self._clock = clock
        self._settling: set[str] = set()  # written, or being written, but not in a committed row yet
        self._readers: Counter[str] = Counter()
        self._doomed: set[str] = set()  # nobody's any more, but still being read
        self._unlinking: set[str] = set()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(256):
            (root / f"{number:02x}").mkdir(mode=0o700, exist_ok=True)
        sync_directory(root)

    def path(self, content: str) -> Path:
        return self._root / content[:2] / content

    # Writing

    @contextlib.asynccontextmanager
    async def staged(self) -> AsyncIterator[Staged]:
        """Files to be written in one transaction with the rows that name them; they go if it does not commit."""
        staged = Staged(self, self._clock)
        try:
            yield staged
        finally:
            await staged.close()

    def claim(self, content: str) -> None:
        self._settling.add(content)

    def unclaim(self, contents: Iterable[str]) -> None:
        self._settling.difference_update(contents)

    def create(self, content: str) -> int:
        """A new file, open for writing. Blocks."""
        return os.open(self.path(content), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def make_durable(self, content: str, fd: int) -> None:
        """Blocks until the file and its name are on the disk, and closes it."""
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_directory(self.path(content).parent)

    def link(self, source: str, content: str) -> bool:
        """The same bytes under another id, without copying; False where the file system cannot. Blocks."""
        try:
            os.link(self.path(source), self.path(content))
        except FileNotFoundError:
            raise
        except OSError:
            return False
        sync_directory(self.path(content).parent)
        return True

    def copy_bytes(self, source: str, fd: int) -> None:
        """Blocks."""
        with open(self.path(source), "rb", buffering=0) as file, open(fd, "wb", closefd=False) as target:
            shutil.copyfileobj(file, target, _PIECE)

    # Reading

    def open(self, segments: Segments, start: int, stop: int) -> Reading:
        """Bytes `start` to before `stop` of the content that the segments make. Goes on though they be released.

        FileNotFoundError when they have been released since the row was read that names them.
        """
        wanted = [segment.content for segment in segments if segment.content]
        if not self._unlinking.isdisjoint(wanted) or (wanted and not self.path(wanted[0]).exists()):
            raise FileNotFoundError(wanted[0])
        self._readers.update(wanted)
        return Reading(self, segments, start, stop, wanted)

    async def unread(self, contents: list[str]) -> None:
        """What was opened is not read any more."""
        self._readers.subtract(contents)
        free = {content for content in contents if self._readers[content] <= 0}
        for content in free:
            del self._readers[content]
        if gone := free & self._doomed:
            self._doomed -= gone
            await asyncio.to_thread(self._unlink, gone)

    # Removing

    def release(self, contents: Collection[str]) -> None:
        """No row names them any more: give the space back, soon. On the event loop, after the commit."""
        contents = {content for content in contents if content}
        read = {content for content in contents if self._readers.get(content, 0) > 0}
        self._doomed |= read
        if free := contents - read:
            self._unlinking |= free
            done = asyncio.get_running_loop().run_in_executor(None, self._unlink, free)
            done.add_done_callback(lambda _: self._unlinking.difference_update(free))

    def remove(self, contents: Iterable[str]) -> None:
        """Those of a transaction that did not commit. Blocks."""
        self._unlink(contents)

    def _unlink(self, contents: Iterable[str]) -> None:
        for content in contents:
            try:
                self.path(content).unlink(missing_ok=True)
            except OSError as error:
                _log.warning("content %s could not be removed; the next start tries again: %s", content, error)

    async def sweep(self, named: Callable[[], Awaitable[set[str]]]) -> int:
        """Remove the files that no row names; how many. `named` is asked after the files have been listed."""
        present = await asyncio.to_thread(self._list)
        present -= self._settling
        orphans = present - await named() - self._settling - self._doomed
        await asyncio.to_thread(self._unlink, orphans)
        return len(orphans)

    def _list(self) -> set[str]:
        found: set[str] = set()
        for number in range(256):
            with os.scandir(self._root / f"{number:02x}") as entries:
                found.update(entry.name for entry in entries if _ID.fullmatch(entry.name))
        return found


class Reading:
    """Content on its way out, in pieces. `aclose` must be called in the end."""

    def __init__(self, contents: Contents, segments: Segments, start: int, stop: int, held: list[str]) -> None:
        self._contents = contents
        self._pieces = self._read(segments, start, stop)
        self._held = held

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def aclose(self) -> None:
        held, self._held = self._held, []
        try:
            await self._pieces.aclose()
        finally:
            await self._contents.unread(held)

    async def _read(self, segments: Segments, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        at = 0
        for segment in segments:
            low, high = max(start, at) - at, min(stop, at + segment.size) - at
            at += segment.size
            if low >= high:
                continue
            path = self._contents.path(segment.content)
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                while low < high:
                    piece = await asyncio.to_thread(os.pread, fd, min(_PIECE, high - low), low)
                    if not piece:
                        raise OSError(f"{path} is shorter than it was")
                    low += len(piece)
                    yield piece
            finally:
                os.close(fd)


class Staged:
    """Files on their way into a transaction."""

    def __init__(self, contents: Contents, clock: Clock) -> None:
        self._contents = contents
        self._clock = clock
        self._files: list[str] = []
        self._settled = False

    def settle(self) -> None:
        """The transaction has committed: the files stay. To be called after the commit."""
        self._settled = True

    def _new(self) -> str:
        content = self._clock.token(16)
        self._contents.claim(content)
        self._files.append(content)
        return content

    async def write(self, pieces: AsyncIterator[bytes], digests: Digests) -> tuple[str, int]:
        """Store the pieces; (the file's id, bytes) once it is durable. No file for no bytes."""
        file: _File | None = None
        size = 0
        held = b""  # the newest piece: the last one goes to the disk together with the end
        try:
            async for piece in pieces:
                if held:
                    file = file or _File(self._contents, self._new())
                    await _uninterrupted(file.append, held, digests)
                held = piece
                size += len(piece)
            if held:
                file = file or _File(self._contents, self._new())
                await _uninterrupted(file.finish, held, digests)
        finally:
            if file is not None:
                file.close()
        return file.content if file is not None else "", size

    async def copy(self, source: str) -> str:
        """The content under an id of its own: a link where the file system has such, else the bytes again."""
        if not source:
            return ""
        content = self._new()
        await _uninterrupted(self._copy, source, content)
        return content

    def _copy(self, source: str, content: str) -> None:
        if self._contents.link(source, content):
            return
        fd = self._contents.create(content)
        self._contents.copy_bytes(source, fd)
        self._contents.make_durable(content, fd)

    async def close(self) -> None:
        if self._files and not self._settled:
            await _uninterrupted(self._contents.remove, self._files)
        self._contents.unclaim(self._files)


class _File:
    """A file being written. Its methods block, but `close`."""

    def __init__(self, contents: Contents, content: str) -> None:
        self.content = content
        self._contents = contents
        self._fd = -1

    def append(self, piece: bytes, digests: Digests) -> None:
        if self._fd < 0:
            self._fd = self._contents.create(self.content)
        digests.update(piece)
        with open(self._fd, "wb", buffering=0, closefd=False) as file:
            write_all(file, piece)

    def finish(self, piece: bytes, digests: Digests) -> None:
        self.append(piece, digests)
        fd, self._fd = self._fd, -1
        self._contents.make_durable(self.content, fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


async def _uninterrupted(work: Callable[..., None], *arguments: Any) -> None:
    """Run `work` in a thread; a cancellation goes on only when it has ended, as the thread cannot be stopped."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
