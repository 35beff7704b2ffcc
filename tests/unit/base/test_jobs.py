from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from lambent.base.db import SqliteDatabase, migrate
from lambent.base.jobs import MIGRATIONS, Job, Jobs
from lambent.testing import FakeClock


@pytest.fixture
async def db(tmp_path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "lambent.db")
    await migrate(database, MIGRATIONS)
    yield database
    await database.close()


class Worker:
    """Handles jobs of kind "work" and remembers them."""

    def __init__(self, db, **options) -> None:
        self.jobs = Jobs(db, FakeClock(), pause=lambda attempt: 0, **options)
        self.db = db
        self.seen: list[Job] = []
        self.arrived = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures = 0
        self.jobs.bind("work", self.handle)

    async def handle(self, job: Job) -> None:
        self.seen.append(job)
        self.arrived.set()
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise RuntimeError("not this time")
        await self.db.write(job.finish)

    async def enqueue(self, **payload) -> str:
        return await self.db.write(lambda c: self.jobs.enqueue(c, "work", payload))

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.seen) < count or await left(self.db):
                await asyncio.sleep(0.001)


async def left(db) -> int:
    return (await db.read(lambda c: c.execute("SELECT count(*) FROM jobs")))[0][0]


async def test_a_job_is_done_once_its_transaction_has_committed(db):
    worker = Worker(db)
    await worker.jobs.start()
    identity = await worker.enqueue(name="f", number=1)
    await worker.until(1)
    [job] = worker.seen
    assert (job.id, job.kind, job.payload, job.attempt) == (identity, "work", {"name": "f", "number": 1}, 1)
    await worker.jobs.stop()


async def test_a_job_of_a_transaction_that_is_rolled_back_never_runs(db):
    worker = Worker(db)
    await worker.jobs.start()

    def work(connection):
        worker.jobs.enqueue(connection, "work", {})
        raise LookupError

    with pytest.raises(LookupError):
        await db.write(work)
    await worker.enqueue(real=True)
    await worker.until(1)
    assert [job.payload for job in worker.seen] == [{"real": True}]
    await worker.jobs.stop()


async def test_what_a_crash_left_is_done_at_start_oldest_first(db):
    before = Worker(db)
    for number in range(5):
        await before.enqueue(number=number)
        before.jobs._clock.advance(1)
    assert before.seen == []  # not started: nothing ran
    after = Worker(db, at_once=1)
    await after.jobs.start()
    await after.until(5)
    assert [job.payload["number"] for job in after.seen] == [0, 1, 2, 3, 4]
    await after.jobs.stop()


async def test_a_stop_in_the_middle_leaves_the_job_for_the_next_start(db):
    worker = Worker(db)
    worker.gate.clear()
    await worker.jobs.start()
    await worker.enqueue()
    await worker.arrived.wait()
    await worker.jobs.stop()
    assert await left(db) == 1
    again = Worker(db)
    await again.jobs.start()
    await again.until(1)
    await again.jobs.stop()


async def test_a_failing_job_is_tried_again(db, caplog):
    worker = Worker(db)
    worker.failures = 2
    await worker.jobs.start()
    await worker.enqueue()
    await worker.until(3)
    assert [job.attempt for job in worker.seen] == [1, 2, 3]
    assert "not this time" in caplog.text
    await worker.jobs.stop()


async def test_a_handler_that_only_returns_is_done_too(db):
    jobs, seen = Jobs(db, FakeClock()), []

    async def handle(job: Job) -> None:
        seen.append(job.id)

    jobs.bind("work", handle)
    await jobs.start()
    identity = await db.write(lambda c: jobs.enqueue(c, "work", {}))
    async with asyncio.timeout(10):
        while await left(db):
            await asyncio.sleep(0.001)
    assert seen == [identity]
    await jobs.stop()


async def test_a_job_that_fails_after_it_finished_is_not_repeated(db):
    jobs, seen = Jobs(db, FakeClock(), pause=lambda attempt: 0), []

    async def handle(job: Job) -> None:
        seen.append(job.id)
        await db.write(job.finish)
        raise RuntimeError("too late")

    jobs.bind("work", handle)
    await jobs.start()
    await db.write(lambda c: jobs.enqueue(c, "work", {}))
    async with asyncio.timeout(10):
        while jobs._tasks:
            await asyncio.sleep(0.001)
    assert len(seen) == 1
    assert await left(db) == 0
    await jobs.stop()


async def test_finishing_is_part_of_the_handlers_transaction(db):
    jobs = Jobs(db, FakeClock(), pause=lambda attempt: 0)
    attempts = []

    def finish_and_fail(connection, job):
        job.finish(connection)
        if job.attempt == 1:
            raise RuntimeError("rolled back")

    async def handle(job: Job) -> None:
        attempts.append(job.attempt)
        await db.write(lambda c: finish_and_fail(c, job))

    jobs.bind("work", handle)
    await jobs.start()
    await db.write(lambda c: jobs.enqueue(c, "work", {}))
    async with asyncio.timeout(10):
        while await left(db):
            await asyncio.sleep(0.001)
    assert attempts == [1, 2]
    await jobs.stop()


async def test_a_finished_job_costs_no_second_write(db, monkeypatch):
    worker, writes, plain = Worker(db), [], SqliteDatabase.write

    async def spy(self, work):
        writes.append(work)
        return await plain(self, work)

    await worker.jobs.start()
    monkeypatch.setattr(SqliteDatabase, "write", spy)
    await worker.enqueue()
    await worker.until(1)
    await worker.jobs.stop()
    assert len(writes) == 2  # to enqueue and to finish


async def test_no_more_than_so_many_at_once(db):
    jobs, running, most = Jobs(db, FakeClock(), at_once=3), 0, 0

    async def handle(job: Job) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    jobs.bind("work", handle)
    await jobs.start()
    await db.write(lambda c: [jobs.enqueue(c, "work", {}) for _ in range(20)])
    async with asyncio.timeout(10):
        while await left(db):
            await asyncio.sleep(0.001)
    assert most == 3
    await jobs.stop()


async def test_jobs_that_nobody_does_stay(db, caplog):
    jobs = Jobs(db, FakeClock())
    await jobs.start()
    await db.write(lambda c: jobs.enqueue(c, "other", {}))
    assert "nobody does jobs of kind 'other'" in caplog.text
    assert await left(db) == 1
    await jobs.stop()


async def test_a_kind_has_one_handler(db):
    jobs = Jobs(db, FakeClock())
    jobs.bind("work", lambda job: asyncio.sleep(0))
    with pytest.raises(ValueError, match="already have a handler"):
        jobs.bind("work", lambda job: asyncio.sleep(0))
