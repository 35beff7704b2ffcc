"""Keeps the stored code in step with the functions and layers: none missing, none left over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

from lambent.base.archives import ArchiveError
from lambent.base.blobs import BlobDamaged, BlobMissing, Blobs
from lambent.base.trees import Trees

_log = logging.getLogger("lambent.orphans")


class Holder(Protocol):
    """Something that refers to stored code."""

    def digests(self) -> set[str]:
        """All that it refers to."""

    def refers_to(self, digest: str) -> bool:
        """Whether `digest` is among them: costs the same however many they are."""

    def on_release(self, callback: Callable[[str], None]) -> None:
        """Call back once it does not refer to a digest any more."""


class Orphans:
    """Belongs to one event loop. What is kept: what holders refer to, what is pinned, what is `in_use`."""

    def __init__(
        self,
        holders: Sequence[Holder],
        blobs: Blobs,
        trees: Trees,
        in_use: Callable[[], Collection[str]] | None = None,
    ) -> None:
        """`in_use` gives the code that execution environments still run, or are about to.

        Without it trees are removed only at start, when nothing runs.
        """
        self._holders = holders
        self._blobs = blobs
        self._trees = trees
        self._in_use = in_use
        self._pins: Counter[str] = Counter()
        self._suspects: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._again = False
        for holder in holders:
            holder.on_release(self.suspect)

    @contextlib.contextmanager
    def pin(self, digest: str) -> Iterator[None]:
        """Keep `digest`, which may not be there yet; look at it afterwards unless something has come to need it."""
        self._pins[digest] += 1
        try:
            yield
        finally:
            self._pins[digest] -= 1
            if not self._pins[digest]:
                del self._pins[digest]
                if not any(holder.refers_to(digest) for holder in self._holders):
                    self.suspect(digest)

    def suspect(self, digest: str) -> None:
        """Remove `digest` soon, unless something keeps it; then it is looked at again with the next suspect."""
        self._suspects.add(digest)
        self.look_again()

    def look_again(self) -> None:
        """Something may have ceased to be in use: look at what it kept."""
        self._again = True  # also where a removal is under way, which may have decided already
        if self._suspects and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._remove_suspects())

    async def start(self, others: Collection[str] = ()) -> None:
        """Before anything runs: unpack again what a power cut has taken, remove what nothing refers to.

        Code that cannot be unpacked again is logged; its functions fail when they are invoked. `others` are digests
        that no package has: somebody else unpacks them.
        """
        for digest in self._referred().difference(others):
            if not self._trees.exists(digest):
                await self._restore(digest)
        await self._blobs.collect(self._kept)
        await self._trees.collect(self._kept)

    async def stop(self) -> None:
        """Wait until no removal is under way."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def _restore(self, digest: str) -> None:
        try:
            await self._trees.unpack(digest, await self._blobs.get(digest))
        except (BlobMissing, BlobDamaged, ArchiveError, OSError) as error:
            _log.error("the code %s is not unpacked and cannot be: %r", digest, error)

    def _kept(self) -> set[str]:
        in_use = self._in_use() if self._in_use is not None else ()
        return {*self._referred(), *self._pins, *in_use}

    def _referred(self) -> set[str]:
        return set().union(*(holder.digests() for holder in self._holders))

    async def _remove_suspects(self) -> None:
        try:
            while True:
                self._again = False
                suspects = set(self._suspects)
                self._suspects -= suspects - await self._remove(suspects)
                if not self._again or not self._suspects:
                    return
        except OSError:
            _log.exception("code that nothing refers to could not be removed; it will be at the next start")
        finally:
            self._suspects -= self._referred()  # released again when that time comes
            self._task = None

    async def _remove(self, suspects: set[str]) -> set[str]:
        """Remove what nothing keeps; those of `suspects` that something kept when it was decided."""
        kept: set[str] = set()

        def keep() -> set[str]:
            found = self._kept()
            kept.update(found)
            return found

        await self._blobs.collect(keep, suspects)
        if self._in_use is not None:
            await self._trees.collect(keep, suspects)
        return suspects & kept
