"""The log store as the server uses it: lines are taken on the loop, written by one thread, a moment later.

Whoever prints pays for one append to a list. What waits is handed to the thread `FLUSH_SECONDS` after the first line of
it: so much is lost when the server is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from lambent.base.clock import Clock
from lambent.services.logs.blocks import Line
from lambent.services.logs.query import Source
from lambent.services.logs.records import Event, GroupKey
from lambent.services.logs.shelf import Shelf

FLUSH_SECONDS = 0.2
_MOST_WAITING = 64 << 20  # characters that are not written yet; what comes on top is lost
_HOUSEKEEPING_SECONDS = 60.0

_log = logging.getLogger("lambent.logs")
T = TypeVar("T")


class _Lines:
    """The lines of one stream that wait."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines: list[Line] = []


class LogStore:
    """Between `start` and `stop`. Everything on the loop; files in threads."""

    def __init__(self, directory: Path, clock: Clock, bound: int) -> None:
        """`bound` is in bytes."""
        self.clock = clock
        self._shelf = Shelf(directory, bound)
        self._thread = ThreadPoolExecutor(1, "logs")
        self._sequence = 0
        self._waiting: dict[tuple[GroupKey, str], _Lines] = {}
        self._characters = 0  # that wait, here or in the thread
        self._handed = 0  # of these, in the thread
        self._lost = 0
        self._timer: asyncio.TimerHandle | None = None
        self._housekeeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """OSError when the directory cannot be used."""
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

    def writer(self, account: str, region: str, group: str, stream: str) -> Callable[[str], None]:
        """A function that appends one event to `stream`. Costs no more than that when it is called."""
        key = (GroupKey(account, region, group), stream)
        mine = _Lines()
        now = self.clock.time

        def write(message: str) -> None:
            if not mine.lines and not self._expect(key, mine):
                return
            self._characters += len(message)
            if self._characters > _MOST_WAITING:
                self._characters -= len(message)
                self._lost += 1
                return
            self._sequence += 1
            mine.lines.append((int(now() * 1000), self._sequence, message))

        return write

    def _expect(self, key: tuple[GroupKey, str], lines: _Lines) -> bool:
        """Have `lines` written in a moment. False when its stream has other lines waiting already."""
        if self._waiting.setdefault(key, lines) is not lines:
            self._hand_over()  # two writers of one stream
            self._waiting[key] = lines
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._hand_over)
        return True

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
