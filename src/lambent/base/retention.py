"""Keeps the removal of content-addressed things apart from their making."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable


class Retention:
    """Belongs to one event loop and to one kind of thing, each known by its digest."""

    def __init__(self) -> None:
        self._making: Counter[str] = Counter()
        self._condemned: set[str] = set()
        self._sweeping = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def making(self, digest: str) -> AsyncIterator[None]:
        """While it is open, no sweep removes `digest`; waits for a sweep that is removing it."""
        while digest in self._condemned:
            async with self._sweeping:
                pass
        self._making[digest] += 1
        try:
            yield
        finally:
            self._making[digest] -= 1
            if not self._making[digest]:
                del self._making[digest]

    async def sweep(
        self,
        present: Iterable[str],
        keep: Callable[[], Collection[str]],
        remove: Callable[[Collection[str]], None],
    ) -> list[str]:
        """Remove what is `present`, is not being made and is not kept; the digests that went, sorted.

        `keep` is asked once, on the event loop, in the same instant as the decision; `remove` blocks, in a thread.
        """
        async with self._sweeping:
            kept = keep()
            self._condemned = {digest for digest in present if digest not in kept and digest not in self._making}
            gone = sorted(self._condemned)
            try:
                if gone:
                    await asyncio.to_thread(remove, gone)
            finally:
                self._condemned = set()
        return gone
