"""The queue of asynchronous events: accepts them durably and takes them to functions, each function its fair share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import Protocol

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database, DatabaseError
from lambent.control.records import FunctionKey
from lambent.sources import event_store
from lambent.sources.delivery import Aftermath, Limits, Note, unnoted
from lambent.sources.event_store import Event
from lambent.sources.schedule import History

_log = logging.getLogger("lambent.async")

PLACES = 128  # events under way at once: all that are in memory
_BATCH = 16  # events read at once
_TROUBLE_SECONDS = 5.0  # after a mistake of ours, before the event is tried again


class Delivers(Protocol):
    async def deliver(self, event: Event) -> Aftermath:
        """Try once, and write what came of it."""


def share(under_way: int, free: int, reserved: int | None) -> int:
    """How many more events a function may have under way.

    Never more than there are free places: so alone it gets half of them, and there is always room for others, whose
    functions are quick, beside one whose backlog is long and slow. Nor more than may run at once.
    """
    fair = (free - under_way + 1) // 2
    return max(0, min(fair, reserved - under_way) if reserved else fair)


class EventQueue:
    """Belongs to one event loop. In memory are the events under way, and when the next of each function is due."""

    def __init__(
        self,
        db: Database,
        delivery: Delivers,
        limits: Limits,
        clock: Clock,
        *,
        places: int = PLACES,
        note: Note = unnoted,
    ) -> None:
        self._note_metric = note
        self._db = db
        self._delivery = delivery
        self._limits = limits
        self._clock = clock
        self._places = places
        self._heads: dict[FunctionKey, float] = {}  # when the first event that is not under way is due
        self._under_way: dict[FunctionKey, dict[str, asyncio.Task[None]]] = {}
        self._fetching: FunctionKey | None = None  # whose events are being read
        self._count = 0  # of what is under way
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Go on with what an earlier process has left."""
        self._heads = await self._db.read(event_store.heads)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Break off what is under way; it is tried again after the next start."""
        task, self._task = self._task, None
        tasks = [*([task] if task is not None else []), *self._tasks()]
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def accept(
        self, request_id: str, key: FunctionKey, qualifier: str | None, payload: bytes, trace: str, tenant: str | None
    ) -> None:
        """Take an event, durable when this returns. `payload` is JSON."""
        event = Event(request_id, key, qualifier, payload, trace, tenant, History(self._clock.time()))

        def work(connection: Connection) -> None:
            event_store.insert(connection, event)
            connection.after_commit(lambda: self._offer(event))

        await self._db.write(work)

    @property
    def under_way(self) -> int:
        """Events that a function has, or that wait for one in memory."""
        return self._count

    def wake(self) -> None:
        """Look again what is due: time has passed."""
        self._awake.set()

    def let_go(self, connection: Connection, key: FunctionKey, qualifier: str | None) -> None:
        """Inside the transaction that removes a function: its events go with it."""
        event_store.let_go(connection, key, qualifier)

    def _tasks(self) -> Iterable[asyncio.Task[None]]:
        return [task for tasks in self._under_way.values() for task in tasks.values()]

    def _offer(self, event: Event) -> None:
        """A new event: under way at once unless others of its function wait."""
        self._note_metric(event.key, event.qualifier, "AsyncEventsReceived", 1.0)
        if self._task is None:
            return
        others_wait = event.key in self._heads or event.key == self._fetching
        if not others_wait and self._share(event.key) > 0:
            self._begin(event)
        else:
            self._note(event.key, event.history.accepted)

    def _note(self, key: FunctionKey, due: float) -> None:
        self._heads[key] = min(due, self._heads.get(key, due))
        self._awake.set()

    def _share(self, key: FunctionKey) -> int:
        under_way = len(self._under_way.get(key, ()))
        return share(under_way, self._places - self._count, self._limits.reserved(key))

    # What waits in the database

    async def _run(self) -> None:
        while True:
            self._awake.clear()
            while (key := self._next()) is not None:
                await self._fetch(key)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), self._pause())

    def _pause(self) -> float | None:
        """Seconds until the next event becomes due. What is due already waits for a place, which wakes us."""
        now = self._clock.time()
        return min((due - now for due in self._heads.values() if due > now), default=None)

    def _next(self) -> FunctionKey | None:
        """Of the functions with an event that is due and a place for it: the one with the fewest under way."""
        now = self._clock.time()
        ready = (key for key, due in self._heads.items() if due <= now and self._share(key) > 0)
        return min(ready, key=lambda key: (len(self._under_way.get(key, ())), self._heads[key]), default=None)

    async def _fetch(self, key: FunctionKey) -> None:
        count, now = min(_BATCH, self._share(key)), self._clock.time()
        besides = set(self._under_way.get(key, ()))
        del self._heads[key]
        self._fetching = key  # what is accepted from here on notes itself
        try:
            events, following = await self._db.read(
                lambda connection: event_store.take(connection, key, count, now, besides)
            )
        except DatabaseError:
            _log.exception("the events of %s could not be read", key.arn())
            events, following = [], now + _TROUBLE_SECONDS
        finally:
            self._fetching = None
        if following is not None:
            self._note(key, following)
        for event in events:
            self._begin(event)

    # What is under way

    def _begin(self, event: Event) -> None:
        tasks = self._under_way.setdefault(event.key, {})
        if event.request_id in tasks:
            return
        tasks[event.request_id] = asyncio.get_running_loop().create_task(self._deliver(event))
        self._count += 1

    async def _deliver(self, event: Event) -> None:
        due: float | None = None
        follower: Event | None = None
        try:
            aftermath = await self._delivery.deliver(event)
            due, follower = aftermath.due, aftermath.follower
        except Exception:
            _log.exception("the event %s for %s could not be delivered", event.request_id, event.key.arn())
            due = self._clock.time() + _TROUBLE_SECONDS
        finally:
            self._ended(event)
        if due is not None:
            self._note(event.key, due)
        if follower is not None:
            self._offer(follower)

    def _ended(self, event: Event) -> None:
        tasks = self._under_way[event.key]
        del tasks[event.request_id]
        if not tasks:
            del self._under_way[event.key]
        self._count -= 1
        self._awake.set()
