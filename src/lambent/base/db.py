"""Transactions: what a `Database` promises, and the one that is embedded, SQLite.

Statements use `?` placeholders and only SQL that SQLite and PostgreSQL share (`RETURNING`, `ON CONFLICT`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import re
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]

_log = logging.getLogger("lambent.db")
_CHANGES = re.compile(r"\b(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|REPLACE\s+INTO|UPDATE|DELETE\s+FROM)\s+(\w+)", re.IGNORECASE)


class DatabaseError(Exception):
    """The database could not do it. The message says what was wrong and, where there is one, the way out."""


class Connection(Protocol):
    """What a unit of work holds while its transaction is open. Never kept beyond it."""

    def execute(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """Run one statement; the rows it gives, as tuples. Raises DatabaseError."""

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the event loop once the transaction is durable, before `write` returns.

        Callbacks of one database run in the order of its commits; a transaction that is rolled back calls none.
        """


class Database(Protocol):
    """Units of work, each one a transaction. `work` runs in another thread and must not touch the event loop."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one consistent state, which includes every write that has returned."""

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` after every write asked for earlier; durable when it returns.

        An exception of `work` rolls it back and comes out here. Also when the caller is cancelled, the outcome is
        decided (withdrawn, rolled back or durable) before the cancellation goes on.
        """

    def watch(self, tables: Sequence[str], callback: Callable[[], None]) -> None:
        """Call `callback` on the event loop when a commit has changed one of `tables`, before its `write` returns."""

    async def scrub(self) -> None:
        """Write everything anew: nothing that was overwritten or deleted is left in any file. At start only."""

    async def close(self) -> None:
        """Finish the writes under way. Later calls raise DatabaseError."""


class SqliteConnection:
    """A `Connection` on SQLite."""

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self._path = path
        self.callbacks: list[Callable[[], None]] = []
        self.watched: dict[str, list[Callable[[], None]]] = {}
        try:
            self._sqlite = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise DatabaseError(f"cannot open the database {path}: {error}") from error
        try:
            self.execute("PRAGMA busy_timeout = 10000")
            self.execute("PRAGMA foreign_keys = ON")
            self.execute("PRAGMA synchronous = FULL")  # with WAL: every commit is synced before it counts
            if readonly:
                self.execute("PRAGMA query_only = ON")
        except BaseException:
            self._sqlite.close()
            raise

    @property
    def in_transaction(self) -> bool:
        return self._sqlite.in_transaction

    def execute(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        if self.watched:
            for table in changed_by(sql):
                self.callbacks += self.watched.get(table, ())
        try:
            return self._sqlite.execute(sql, params).fetchall()
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def _explain(self, error: sqlite3.Error) -> DatabaseError:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return DatabaseError(
                f"the database {self._path} is damaged ({error}). Put back a copy of the data directory, or move"
                " the file aside to start with no functions"
            )
        return DatabaseError(f"the database {self._path} failed: {error}")

    def after_commit(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def close(self) -> None:
        self._sqlite.close()


@lru_cache(maxsize=1024)
def changed_by(sql: str) -> frozenset[str]:
    """The tables that a statement changes. It may name one too many."""
    return frozenset(table.lower() for table in _CHANGES.findall(sql))


class _Write:
    """One unit of work on its way through the writer thread."""

    def __init__(self, work: Callable[[Connection], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None
        self.callbacks: list[Callable[[], None]] = []
        self._claim = threading.Lock()

    def claim(self) -> bool:
        """True for the first who asks: the writer to run it, or a cancelled caller to withdraw it."""
        return self._claim.acquire(blocking=False)

    def deliver(self) -> None:
        for callback in self.callbacks:
            try:
                callback()
            except Exception:
                _log.exception("a callback after a commit failed")
        if self.future.done():
            return
        if isinstance(self.error, StopIteration):  # no future can carry it
            self.future.set_exception(RuntimeError(f"a unit of work raised {self.error!r}"))
        elif self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class SqliteDatabase:
    """A `Database` in one file. WAL; writes go through one thread, which commits those that wait together."""

    _GROUP = 64  # writes in one commit at most
    _READERS = 3

    def __init__(self, path: Path) -> None:
        """Open or create the file, readable by its owner only. Blocks for some ms. Raises DatabaseError."""
        self._path = path
        self._closing: asyncio.Future[None] | None = None
        self._writer = _open(path)
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="lambent-db-writer", daemon=True)
        self._readers = ThreadPoolExecutor(self._READERS, thread_name_prefix="lambent-db-reader")
        self._local = threading.local()
        self._opened: list[SqliteConnection] = []
        self._thread.start()

    async def read(self, work: Callable[[Connection], T]) -> T:
        self._refuse_closed()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def _read(self, work: Callable[[Connection], T]) -> T:
        connection: SqliteConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = SqliteConnection(self._path, readonly=True)
            self._opened.append(connection)
        connection.execute("BEGIN")
        try:
            return work(connection)
        finally:
            connection.callbacks.clear()
            connection.execute("ROLLBACK")

    async def write(self, work: Callable[[Connection], T]) -> T:
        self._refuse_closed()
        item = _Write(work, asyncio.get_running_loop())
        self._queue.put(item)
        try:
            return await asyncio.shield(item.future)
        except asyncio.CancelledError:
            if not item.claim():
                await _decided(item.future)
            raise

    def watch(self, tables: Sequence[str], callback: Callable[[], None]) -> None:
        for table in tables:
            self._writer.watched[table] = [*self._writer.watched.get(table, ()), callback]

    async def scrub(self) -> None:
        self._refuse_closed()
        await asyncio.get_running_loop().run_in_executor(None, self._scrub)

    def _scrub(self) -> None:
        connection = SqliteConnection(self._path)
        try:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()

    def _refuse_closed(self) -> None:
        if self._closing is not None:
            raise DatabaseError(f"the database {self._path} is closed")

    async def close(self) -> None:
        if self._closing is None:
            loop = asyncio.get_running_loop()
            self._queue.put(None)
            self._closing = loop.run_in_executor(None, self._shut)
        await asyncio.shield(self._closing)

    def _shut(self) -> None:
        self._thread.join()
        self._readers.shutdown()
        for connection in [*self._opened, self._writer]:
            connection.close()

    # The writer thread

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group, last = self._gather(first)
            if group:
                self._commit(group)
                _deliver(group)
            if last:
                return

    def _gather(self, first: _Write) -> tuple[list[_Write], bool]:
        """What waits and was not withdrawn; and whether the end of the queue was reached."""
        group = [first] if first.claim() else []
        while len(group) < self._GROUP:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return group, True
            if item.claim():
                group.append(item)
        return group, False

    def _commit(self, group: Sequence[_Write]) -> None:
        """Run the group in one transaction, each write in a savepoint of its own: all share the fate of the commit.

        Also what a write raised is told only afterwards: it may rest on what another of the group has written.
        """
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for item in group:
                self._attempt(item)
            self._writer.execute("COMMIT")
        except BaseException as error:
            if self._writer.in_transaction:
                with contextlib.suppress(DatabaseError):
                    self._writer.execute("ROLLBACK")
            for item in group:
                item.error, item.callbacks = error, []

    def _attempt(self, item: _Write) -> None:
        """Run one write. Raises only when the whole transaction is lost (SQLite gives up on a full disk)."""
        self._writer.execute("SAVEPOINT work")
        try:
            item.result = item.work(self._writer)
        except BaseException as error:
            if not self._writer.in_transaction:
                raise
            item.error = error
            self._writer.execute("ROLLBACK TO work")
        else:
            item.callbacks = self._writer.callbacks
        finally:
            self._writer.callbacks = []
        self._writer.execute("RELEASE work")


async def _decided(future: asyncio.Future[Any]) -> None:
    """Wait for `future` whatever happens to the waiting task; its outcome is of no interest."""
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({future})
    future.exception()


def _deliver(group: Sequence[_Write]) -> None:
    """Hand the outcomes to the loops that wait for them, one wake-up for each run of the same loop."""
    start = 0
    for end in range(1, len(group) + 1):
        if end == len(group) or group[end].loop is not group[start].loop:
            with contextlib.suppress(RuntimeError):  # that loop is gone, and with it whoever waited
                group[start].loop.call_soon_threadsafe(_deliver_here, group[start:end])
            start = end


def _deliver_here(group: Sequence[_Write]) -> None:
    for item in group:
        item.deliver()


def _open(path: Path) -> SqliteConnection:
    """The writer's connection, on a file that is sound and whose directory entry is durable."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise DatabaseError(f"cannot open the database {path}: {error.strerror}") from error
    connection = SqliteConnection(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        [[verdict]] = connection.execute("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise DatabaseError(f"the database {path} is damaged ({verdict}). Put back a copy of the data directory")
        os.fsync(directory)
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(directory)
    return connection


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of a room's schema. Its statements never change once released; a new step is added instead."""

    room: str  # whose tables: "jobs", "functions"
    number: int  # 1, 2, 3 … within the room
    name: str  # what it does, for the record
    statements: tuple[str, ...]


_LEDGER = """
CREATE TABLE IF NOT EXISTS migrations (
    room TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (room, number)
)"""


async def migrate(db: Database, migrations: Sequence[Migration]) -> None:
    """Bring the schema up to `migrations`: all of this Lambent's, in one call.

    Each runs in a transaction together with the record of it. Raises DatabaseError for a database that holds steps
    this Lambent does not know: a newer one wrote it.
    """
    _check_numbers(migrations)
    await db.write(lambda connection: connection.execute(_LEDGER))
    rows = await db.read(lambda connection: connection.execute("SELECT room, number FROM migrations"))
    done = {(room, number) for room, number in rows}
    if unknown := done - {(step.room, step.number) for step in migrations}:
        raise DatabaseError(
            "the database was written by a newer version of Lambent"
            f" (it holds {', '.join(f'{room} {number}' for room, number in sorted(unknown))})."
            " Install that version, or use another data directory"
        )
    for step in migrations:
        if (step.room, step.number) not in done:
            await db.write(lambda connection, step=step: _apply(connection, step))  # type: ignore[misc]


def _check_numbers(migrations: Sequence[Migration]) -> None:
    reached: dict[str, int] = {}
    for step in migrations:
        if step.number != reached.get(step.room, 0) + 1:
            raise ValueError(f"migration {step.room} {step.number} is out of order")
        reached[step.room] = step.number


def _apply(connection: Connection, step: Migration) -> None:
    for statement in step.statements:
        connection.execute(statement)
    record = (step.room, step.number, step.name)
    connection.execute("INSERT INTO migrations (room, number, name) VALUES (?, ?, ?)", record)
