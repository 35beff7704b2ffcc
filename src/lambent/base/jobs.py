"""Durable background jobs, enqueued in the transaction that caused them.

A job is done at least once: by this process as soon as its transaction has committed, or after a crash by the next
one at its start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database, Migration

_log = logging.getLogger("lambent.jobs")

MIGRATIONS = (
    Migration(
        "jobs",
        1,
        "jobs",
        (
            "CREATE TABLE jobs (id TEXT PRIMARY KEY, kind TEXT NOT NULL, payload TEXT NOT NULL,"
            " enqueued DOUBLE PRECISION NOT NULL)",
            "CREATE INDEX jobs_enqueued ON jobs (enqueued)",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Job:
    """One job, as its handler gets it."""

    id: str
    kind: str
    payload: Mapping[str, Any]  # what was enqueued: JSON
    attempt: int = 1  # which try of this process it is
    _finished: Callable[[str], None] = field(default=lambda _: None, repr=False, compare=False)

    def finish(self, connection: Connection) -> None:
        """Done, in the same transaction as what the handler writes. Finishing twice does nothing."""
        connection.execute("DELETE FROM jobs WHERE id = ?", (self.id,))
        connection.after_commit(lambda: self._finished(self.id))


JobHandler = Callable[[Job], Awaitable[None]]
"""Does the job; may be called again for the same one. Returning means done, also without `Job.finish`.

What it raises is logged and the job tried again later; so is a job that a crash interrupts.
"""


def _pause(attempt: int) -> float:
    """Seconds before the try after `attempt`: 1, 2, 4 … 60."""
    return float(min(60, 2 ** (attempt - 1)))


class Jobs:
    """The jobs of one database; one process works on them at a time."""

    def __init__(
        self, db: Database, clock: Clock, *, at_once: int = 32, pause: Callable[[int], float] = _pause
    ) -> None:
        """`at_once` jobs run at the same time; `pause` gives the seconds to wait after the nth failed try."""
        self._db = db
        self._clock = clock
        self._pause = pause
        self._handlers: dict[str, JobHandler] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._open: set[str] = set()  # jobs under way whose row is still there
        self._places = asyncio.Semaphore(at_once)
        self._started = False

    def enqueue(self, connection: Connection, kind: str, payload: Mapping[str, Any]) -> str:
        """Add a job inside a unit of work; its id. It starts once that has committed."""
        job = Job(self._clock.uuid(), kind, dict(payload))
        connection.execute(
            "INSERT INTO jobs (id, kind, payload, enqueued) VALUES (?, ?, ?, ?)",
            (job.id, kind, orjson.dumps(job.payload).decode(), self._clock.time()),
        )
        connection.after_commit(lambda: self._begin(job))
        return job.id

    def bind(self, kind: str, handler: JobHandler) -> None:
        """Say who does the jobs of a kind; before `start`. Twice is a mistake."""
        if kind in self._handlers:
            raise ValueError(f"jobs of kind {kind} already have a handler")
        self._handlers[kind] = handler

    async def start(self) -> None:
        """Begin, first with what an earlier process left."""
        self._started = True
        query = "SELECT id, kind, payload FROM jobs ORDER BY enqueued, id"
        for identity, kind, payload in await self._db.read(lambda connection: connection.execute(query)):
            self._begin(Job(identity, kind, orjson.loads(payload)))

    async def stop(self) -> None:
        """Cancel what runs; it is done again after the next start."""
        self._started = False
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, job: Job) -> None:
        if not self._started or job.id in self._tasks:
            return
        handler = self._handlers.get(job.kind)
        if handler is None:
            _log.error("job %s stays where it is: nobody does jobs of kind %r", job.id, job.kind)
            return
        self._open.add(job.id)
        task = asyncio.get_running_loop().create_task(self._run(job, handler), name=f"job {job.kind} {job.id}")
        self._tasks[job.id] = task
        task.add_done_callback(lambda _: self._ended(job.id))

    def _ended(self, identity: str) -> None:
        self._tasks.pop(identity, None)
        self._open.discard(identity)

    async def _run(self, job: Job, handler: JobHandler) -> None:
        attempt = 0
        while job.id in self._open:
            attempt += 1
            try:
                async with self._places:
                    await handler(Job(job.id, job.kind, job.payload, attempt, self._open.discard))
                    if job.id in self._open:
                        await self._db.write(job.finish)
                    return
            except Exception:
                _log.exception("job %s of kind %s failed at try %d", job.id, job.kind, attempt)
            await asyncio.sleep(self._pause(attempt))
