"""What every `Database` promises."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lambent.base.db import Connection, Database, DatabaseError, SqliteDatabase


@pytest.fixture(params=["sqlite"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    database = SqliteDatabase(tmp_path / "lambent.db")
    await database.write(lambda c: c.execute("CREATE TABLE t (k TEXT PRIMARY KEY, v INTEGER NOT NULL)"))
    yield database
    await database.close()


def insert(key: str, value: int = 0):
    return lambda c: c.execute("INSERT INTO t (k, v) VALUES (?, ?) RETURNING k, v", (key, value))


async def keys(db: Database) -> list[str]:
    return [k for (k,) in await db.read(lambda c: c.execute("SELECT k FROM t ORDER BY k"))]


async def test_a_write_gives_its_result_and_is_seen_by_the_next_read(db):
    assert await db.write(insert("a", 7)) == [("a", 7)]
    assert await db.read(lambda c: c.execute("SELECT k, v FROM t")) == [("a", 7)]


async def test_an_exception_rolls_the_whole_write_back(db):
    def work(c: Connection) -> None:
        c.execute("INSERT INTO t (k, v) VALUES (?, ?)", ("a", 1))
        raise LookupError("no")

    with pytest.raises(LookupError):
        await db.write(work)
    assert await keys(db) == []


async def test_writes_at_the_same_time_stand_and_fall_alone(db):
    def bad(c: Connection) -> None:
        c.execute("INSERT INTO t (k, v) VALUES (?, ?)", ("bad", 1))
        raise LookupError("no")

    works = [bad if n % 3 == 1 else insert(f"k{n:03}") for n in range(200)]
    results = await asyncio.gather(*(db.write(work) for work in works), return_exceptions=True)
    assert all(isinstance(result, LookupError) == (n % 3 == 1) for n, result in enumerate(results))
    assert await keys(db) == [f"k{n:03}" for n in range(200) if n % 3 != 1]


async def test_writes_are_serial(db):
    await db.write(insert("a", 0))

    def add(c: Connection) -> None:
        [[value]] = c.execute("SELECT v FROM t WHERE k = 'a'")
        c.execute("UPDATE t SET v = ? WHERE k = 'a'", (value + 1,))

    await asyncio.gather(*(db.write(add) for _ in range(100)))
    assert await db.read(lambda c: c.execute("SELECT v FROM t")) == [(100,)]


async def test_a_broken_statement_is_a_database_error_and_the_next_write_works(db):
    with pytest.raises(DatabaseError):
        await db.write(lambda c: c.execute("INSERT INTO nowhere VALUES (1)"))
    await db.write(insert("a"))
    with pytest.raises(DatabaseError):
        await db.write(insert("a"))
    assert await keys(db) == ["a"]


async def test_a_read_cannot_write(db):
    with pytest.raises(DatabaseError):
        await db.read(insert("a"))
    assert await keys(db) == []


async def test_callbacks_run_on_the_loop_after_the_commit_in_its_order_and_before_write_returns(db):
    loop, calls = asyncio.get_running_loop(), []

    def work(c: Connection, name: str) -> None:
        insert(name)(c)
        c.after_commit(lambda: calls.append((name, asyncio.get_running_loop() is loop)))

    async def one(name: str) -> None:
        await db.write(lambda c: work(c, name))
        calls.append(("returned", name))

    await asyncio.gather(*(one(f"k{n}") for n in range(10)))
    assert [name for name, where in calls if where is True] == [f"k{n}" for n in range(10)]
    assert all(calls.index((f"k{n}", True)) < calls.index(("returned", f"k{n}")) for n in range(10))


async def test_callbacks_of_what_is_rolled_back_never_run(db):
    calls: list[str] = []

    def work(c: Connection) -> None:
        c.after_commit(lambda: calls.append("no"))
        raise LookupError

    with pytest.raises(LookupError):
        await db.write(work)
    await db.write(lambda c: c.after_commit(lambda: calls.append("yes")))
    assert calls == ["yes"]


async def test_a_callback_that_fails_spoils_nothing(db):
    calls: list[str] = []

    def work(c: Connection) -> str:
        c.after_commit(lambda: 1 // 0)
        c.after_commit(lambda: calls.append("second"))
        return "result"

    assert await db.write(work) == "result"
    assert calls == ["second"]


async def test_a_cancelled_write_is_decided_when_the_cancellation_comes_out(db):
    for n in range(40):
        applied: list[str] = []

        def work(c: Connection, key: str = f"k{n:02}", applied: list[str] = applied) -> None:
            insert(key)(c)
            c.after_commit(lambda: applied.append(key))

        task = asyncio.create_task(db.write(work))
        await asyncio.sleep(0.0001 * (n % 7))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        before = list(applied)
        assert (f"k{n:02}" in await keys(db)) == bool(before)
        await asyncio.sleep(0)
        assert applied == before


async def test_a_write_that_runs_when_its_caller_is_cancelled_is_waited_for(db):
    running, go_on, applied = threading.Event(), threading.Event(), []

    def work(c: Connection) -> None:
        running.set()
        go_on.wait(10)
        insert("a")(c)
        c.after_commit(lambda: applied.append("a"))

    task = asyncio.create_task(db.write(work))
    await asyncio.to_thread(running.wait, 10)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.001)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert applied == ["a"]


async def test_a_write_that_waits_when_its_caller_is_cancelled_never_runs(db):
    running, go_on = threading.Event(), threading.Event()
    first = asyncio.create_task(db.write(lambda c: (running.set(), go_on.wait(10), insert("first")(c))))
    await asyncio.to_thread(running.wait, 10)
    second = asyncio.create_task(db.write(insert("second")))
    await asyncio.sleep(0.001)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    go_on.set()
    await first
    assert await keys(db) == ["first"]


async def test_what_was_deleted_is_in_no_file_after_a_scrub(db, tmp_path):
    secret = b"a secret that was here"
    await db.write(lambda c: c.execute("CREATE TABLE secrets (text TEXT)"))
    await db.write(lambda c: c.execute("INSERT INTO secrets VALUES (?)", (secret.decode(),)))
    await db.write(lambda c: c.execute("DELETE FROM secrets"))
    await db.write(lambda c: c.execute("INSERT INTO secrets VALUES ('kept')"))
    await db.scrub()
    assert await db.read(lambda c: c.execute("SELECT text FROM secrets")) == [("kept",)]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_bytes()]


async def test_after_close_every_call_is_refused(db):
    pending = [asyncio.create_task(db.write(insert(f"k{n}"))) for n in range(5)]
    await asyncio.sleep(0)
    await db.close()
    await asyncio.gather(*pending)
    await db.close()
    with pytest.raises(DatabaseError, match="closed"):
        await db.write(insert("late"))
    with pytest.raises(DatabaseError, match="closed"):
        await keys(db)


async def test_placeholders_take_what_would_be_sql(db):
    name = "a'); DROP TABLE t; --"
    await db.write(insert(name))
    assert await keys(db) == [name]
