"""SQLite itself: durability, damage, migrations. What every database promises is in tests/contract."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lambent.base.db import DatabaseError, Migration, SqliteConnection, SqliteDatabase, migrate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lambent.db"


@pytest.fixture
async def db(path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(path)
    yield database
    await database.close()


def step(number: int, *statements: str, room: str = "r") -> Migration:
    return Migration(room, number, f"step {number}", statements or (f"CREATE TABLE {room}{number} (a TEXT)",))


def tables(path: Path) -> set[str]:
    with sqlite3.connect(path) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


async def test_only_the_owner_reads_the_files(db, path):
    await db.write(lambda c: c.execute("CREATE TABLE t (a TEXT)"))
    files = list(path.parent.iterdir())
    assert len(files) == 3  # the database, its log and the log's index
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_commits_are_synced_to_the_disk(db):
    def settings(connection):
        names = ("synchronous", "journal_mode", "foreign_keys")
        return [connection.execute(f"PRAGMA {name}")[0][0] for name in names]

    assert await db.write(settings) == [2, "wal", 1]  # 2: FULL


async def test_waiting_writes_share_a_commit(path, monkeypatch):
    commits = []
    plain = SqliteConnection.execute

    def spy(self, sql, params=()):
        if sql == "COMMIT":
            commits.append(sql)
        return plain(self, sql, params)

    monkeypatch.setattr(SqliteConnection, "execute", spy)
    db = SqliteDatabase(path)
    await db.write(lambda c: c.execute("CREATE TABLE t (a INTEGER)"))
    commits.clear()
    await asyncio.gather(*(db.write(lambda c, n=n: c.execute("INSERT INTO t VALUES (?)", (n,))) for n in range(50)))
    assert 1 <= len(commits) < 25
    await db.close()


async def test_a_commit_that_fails_fails_all_of_its_group_and_applies_none(path, monkeypatch):
    plain = SqliteConnection.execute
    failing = []

    def broken(self, sql, params=()):
        if sql == "COMMIT" and failing:
            raise DatabaseError("the disk is full")
        return plain(self, sql, params)

    monkeypatch.setattr(SqliteConnection, "execute", broken)
    db = SqliteDatabase(path)
    await db.write(lambda c: c.execute("CREATE TABLE t (a INTEGER)"))
    failing.append(True)
    calls: list[int] = []

    def work(c, n):
        c.execute("INSERT INTO t VALUES (?)", (n,))
        c.after_commit(lambda: calls.append(n))
        if n == 3:
            raise LookupError  # rests on what is rolled back with the rest

    results = await asyncio.gather(*(db.write(lambda c, n=n: work(c, n)) for n in range(5)), return_exceptions=True)
    assert all(isinstance(result, DatabaseError) for result in results)
    failing.clear()
    assert await db.read(lambda c: c.execute("SELECT * FROM t")) == []
    assert calls == []
    await db.write(lambda c: c.execute("INSERT INTO t VALUES (9)"))
    await db.close()


_WRITER = """
import asyncio, sys
from pathlib import Path
from lambent.base.db import SqliteDatabase
async def main():
    db = SqliteDatabase(Path(sys.argv[1]))
    await db.write(lambda c: c.execute("CREATE TABLE t (a INTEGER)"))
    n = 0
    while True:
        await db.write(lambda c: c.execute("INSERT INTO t VALUES (?)", (n,)))
        print(n, flush=True)
        n += 1
asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_a_kill(path):
    process = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(30)]
    process.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in process.stdout.read().splitlines()]
    process.wait()
    process.stdout.close()
    db = SqliteDatabase(path)
    stored = [n for (n,) in await db.read(lambda c: c.execute("SELECT a FROM t ORDER BY a"))]
    await db.close()
    assert stored[: len(acknowledged)] == acknowledged
    assert len(stored) <= len(acknowledged) + 1


def test_a_file_that_is_no_database_is_refused_in_words(path):
    path.write_bytes(b"not a database, " * 1000)
    with pytest.raises(DatabaseError, match=r"lambent\.db is damaged"):
        SqliteDatabase(path)
    assert path.read_bytes().startswith(b"not a database")


async def test_damage_inside_is_told_in_words(path):
    db = SqliteDatabase(path)
    await db.write(lambda c: c.execute("CREATE TABLE t (a TEXT)"))
    await db.write(lambda c: [c.execute("INSERT INTO t VALUES (?)", ("x" * 3000,)) for _ in range(200)] and None)
    await db.close()
    with path.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(os.urandom(4096 * 60))
    with pytest.raises(DatabaseError, match="damaged"):
        SqliteDatabase(path)


def test_a_directory_that_is_missing_is_told_in_words(tmp_path):
    with pytest.raises(DatabaseError, match="cannot open the database"):
        SqliteDatabase(tmp_path / "missing" / "lambent.db")


async def test_a_work_that_raises_stop_iteration_does_not_hang_its_caller(db):
    with pytest.raises(RuntimeError, match="StopIteration"):
        await db.write(lambda c: next(iter(())))


async def test_migrations_run_once_and_in_order(db, path):
    first = [step(1), step(2, "ALTER TABLE r1 ADD COLUMN b TEXT")]
    await migrate(db, first)
    await migrate(db, first)
    await migrate(db, [*first, step(3), step(1, room="other")])
    assert {"r1", "r3", "other1"} <= tables(path)
    rows = await db.read(lambda c: c.execute("SELECT room, number FROM migrations ORDER BY room, number"))
    assert rows == [("other", 1), ("r", 1), ("r", 2), ("r", 3)]


async def test_a_migration_that_fails_leaves_the_one_before(db, path):
    with pytest.raises(DatabaseError):
        await migrate(db, [step(1), step(2, "CREATE TABLE half (a TEXT)", "SYNTAX ERROR")])
    assert "r1" in tables(path)
    assert "half" not in tables(path)
    await migrate(db, [step(1), step(2, "CREATE TABLE whole (a TEXT)")])
    assert "whole" in tables(path)


@pytest.mark.parametrize("newer", [step(2), step(1, room="layers")], ids=["step", "room"])
async def test_a_database_of_a_newer_lambent_is_refused(db, newer):
    await migrate(db, [step(1), newer])
    with pytest.raises(DatabaseError, match="newer version of Lambent") as caught:
        await migrate(db, [step(1)])
    assert f"{newer.room} {newer.number}" in str(caught.value)


async def test_migrations_out_of_order_are_a_mistake(db):
    with pytest.raises(ValueError, match="out of order"):
        await migrate(db, [step(1), step(3)])
