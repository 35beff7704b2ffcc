"""The log store as the server uses it: lines are taken on the loop, written by one thread, a moment later.

Whoever prints pays for one append to a list. What waits is handed to the thread `FLUSH_SECONDS` after the first line of
it: so much is lost when the server is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import TypeVar

from lambent.base.clock import Clock
from lambent.services.logs.blocks import Line
from lambent.services.logs.query import Source
from lambent.services.logs.records import Event, GroupKey
from lambent.services.logs.shelf import Shelf
from lambent.services.logs.taps import Taps

FLUSH_SECONDS = 0.2
_MOST_WAITING = 64 << 20  # characters that are not written yet; what comes on top is lost
_HOUSEKEEPING_SECONDS = 60.0

_log = logging.getLogger("lambent.logs")
T = TypeVar("T")


class _Writer:
    """Appends to one stream; with the lines of it that wait."""

    __slots__ = ("_key", "_store", "_time", "lines")

    def __init__(self, store: LogStore, key: tuple[GroupKey, str]) -> None:
        self._store = store
        self._key = key
        self._time = store.clock.time
        self.lines: list[Line] = []

    def __call__(self, message: str) -> None:
        if first := self._store.admit(self._key, self, 1, len(message)):
            self.lines.append((int(self._time() * 1000), first, message))

    def many(self, messages: Sequence[str]) -> None:
        count = len(messages)
        if first := self._store.admit(self._key, self, count, sum(map(len, messages))):
            self.lines += zip(
                repeat(int(self._time() * 1000), count), range(first, first + count), messages, strict=True
            )


class LogStore:
    """Between `start` and `stop`. Everything on the loop; files in threads."""

    def __init__(self, directory: Path, clock: Clock, bound: int) -> None:
        """`bound` is in bytes."""
        self.clock = clock
        self.taps = Taps()
        self._shelf = Shelf(directory, bound, self.taps)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = ThreadPoolExecutor(1, "logs")
        self._sequence = 0
        self._waiting: dict[tuple[GroupKey, str], _Writer] = {}
        self._characters = 0  # that wait, here or in the thread
        self._handed = 0  # of these, in the thread
        self._lost = 0
        self._timer: asyncio.TimerHandle | None = None
        self._housekeeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """OSError when the directory cannot be used."""
        self._loop = asyncio.get_running_loop()
        found = await asyncio.wrap_future(self._thread.submit(self._shelf.open))
        self._sequence = max(found, int(self.clock.time() * 1e6))  # below 2**53: a number that every client can hold
        self._housekeeping = asyncio.get_running_loop().create_task(self._keep_house())

    async def stop(self) -> None:
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.gather(self._housekeeping, return_exceptions=True)
        await self.run(Shelf.close)
        self._thread.shutdown()

    @property
    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int(self.clock.time() * 1000)

    def writer(self, account: str, region: str, group: str, stream: str) -> _Writer:
        """Appends events to `stream`. Costs no more than that when it is called."""
        return _Writer(self, (GroupKey(account, region, group), stream))

    def admit(self, key: tuple[GroupKey, str], writer: _Writer, count: int, characters: int) -> int:
        """The first of `count` sequence numbers for lines that a writer is about to add; 0 when they are lost."""
        if self._characters + characters > _MOST_WAITING:
            self._lost += count
            return 0
        if not writer.lines:
            self._expect(key, writer)
        self._characters += characters
        return self.number(count)

    def _expect(self, key: tuple[GroupKey, str], writer: _Writer) -> None:
        """Have the lines of `writer` written in a moment."""
        if self._waiting.setdefault(key, writer) is not writer:
            self._hand_over()  # two writers of one stream
            self._waiting[key] = writer
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._hand_over)

    def _hand_over(self) -> None:
        """Give the thread what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lost:
            _log.error("%d log lines are lost: functions print faster than the disk takes", self._lost)
            self._lost = 0
        batch: dict[GroupKey, dict[str, list[Line]]] = {}
        for (group, stream), waiting in self._waiting.items():
            if waiting.lines:
                batch.setdefault(group, {})[stream] = waiting.lines
                waiting.lines = []
        self._waiting.clear()
        if not batch:
            return
        characters = self._characters - self._handed
        self._handed += characters
        loop = asyncio.get_running_loop()
        future = self._thread.submit(self._shelf.write, batch, self.now)
        future.add_done_callback(lambda done: _later(loop, partial(self._written, characters, done)))

    def _written(self, characters: int, done: Future[None]) -> None:
        self._characters -= characters
        self._handed -= characters
        if (error := done.exception()) is not None:
            _log.error("writing logs failed", exc_info=error)

    async def run(self, work: Callable[[Shelf], T]) -> T:
        """`work` in the thread that writes, behind all that was printed before."""
        self._hand_over()
        return await asyncio.wrap_future(self._thread.submit(work, self._shelf))

    def on_loop(self, action: Callable[[], None]) -> None:
        """Have `action` done on the event loop; for taps, which are called in the thread that writes."""
        if self._loop is not None:
            _later(self._loop, action)

    def number(self, count: int) -> int:
        """Take `count` sequence numbers; the first of them."""
        first = self._sequence + 1
        self._sequence += count
        return first

    async def read(self, account: str, region: str, group: str, after: int = 0, limit: int = 1000) -> list[Event]:
        """Up to `limit` events with a sequence above `after`, oldest first; without `after` the newest ones."""
        key, now = GroupKey(account, region, group), self.now

        def source(shelf: Shelf) -> Source | None:
            found = shelf.groups.get(key)
            return None if found is None else found.source(None, now)

        found = await self.run(source)
        if found is None:
            return []
        if not after:
            return await asyncio.to_thread(found.arrived_last, limit)
        return await asyncio.to_thread(lambda: list(islice(found.since(after), limit)))

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
            try:
                await self.run(lambda shelf: shelf.expire(self.now))
                await self.run(Shelf.rest)
            except OSError:
                _log.exception("tidying the logs up failed")


def _later(loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(action)
