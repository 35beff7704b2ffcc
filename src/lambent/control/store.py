"""The functions of all accounts and regions: durable in the database, and in memory what invocations need."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database, Migration
from lambent.base.jobs import Job, Jobs
from lambent.control import states
from lambent.control.documents import from_document, to_document
from lambent.control.records import LATEST, Function, FunctionKey
from lambent.wire.errors import AwsError

_log = logging.getLogger("lambent.store")

PREPARE = "prepare"
"""The kind of job that makes a created or updated function ready. Payload: account, region, name, version, revision."""

MIGRATIONS = (
    Migration(
        "functions",
        1,
        "functions",
        (
            # document: the function as the API shows it; serving: as it is invoked, NULL before it was first Active;
            # preparing: the revision that a job is at work on, NULL when none is
            "CREATE TABLE functions (account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,"
            " version TEXT NOT NULL, document TEXT NOT NULL, serving TEXT, preparing TEXT,"
            " PRIMARY KEY (account, region, name, version))",
        ),
    ),
)

_FIND = (
    "SELECT document, serving, preparing FROM functions WHERE account = ? AND region = ? AND name = ? AND version = ?"
)
_STORE = (
    "UPDATE functions SET document = ?, serving = ?, preparing = ?"
    " WHERE account = ? AND region = ? AND name = ? AND version = ?"
)
_PAGE = (
    "SELECT document FROM functions WHERE account = ? AND region = ? AND (name, version) > (?, ?)"
    " AND version = '$LATEST' ORDER BY name LIMIT ?"
)
_PAGE_OF_ALL = (
    "SELECT document FROM functions WHERE account = ? AND region = ? AND (name, version) > (?, ?)"
    " ORDER BY name, version LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a job of kind PREPARE is about."""

    key: FunctionKey
    version: str
    revision: str

    @classmethod
    def of(cls, job: Job) -> Preparation:
        said = job.payload
        key = FunctionKey(said["account"], said["region"], said["name"])
        return cls(key, said["version"], said["revision"])


@dataclass(frozen=True, slots=True)
class _Row:
    document: Function
    serving: Function | None
    preparing: str | None

    @property
    def digests(self) -> frozenset[str]:
        functions = (self.document, self.serving)
        return frozenset().union(*(function.digests for function in functions if function is not None))


class FunctionStore:
    """Belongs to one event loop. What is in memory changes after the commit, in the order of commits."""

    def __init__(self, db: Database, jobs: Jobs, clock: Clock) -> None:
        self._db = db
        self._jobs = jobs
        self._clock = clock
        self._serving: dict[tuple[FunctionKey, str], Function] = {}
        self._busy: dict[FunctionKey, asyncio.Event] = {}
        self._digests: dict[tuple[FunctionKey, str], frozenset[str]] = {}
        self._references: Counter[str] = Counter()
        self._watchers: list[Callable[[FunctionKey], None]] = []
        self._releasers: list[Callable[[str], None]] = []
        self._heirs: list[Callable[[Connection, FunctionKey], None]] = []

    async def load(self) -> None:
        """Read everything once, at start, after `migrate` and before jobs start."""
        query = "SELECT document, serving, preparing FROM functions"
        for values in await self._db.read(lambda connection: connection.execute(query)):
            row = _row(values)
            self._remember(row.document.key, row.document.version, row)

    # What invocations ask

    def serving(self, key: FunctionKey, qualifier: str | None = None) -> Function | None:
        """The function as it is invoked now: one look-up. While an update is under way that is the old one."""
        return self._serving.get((key, qualifier or LATEST))

    async def settled(self, key: FunctionKey, seconds: float) -> None:
        """Wait until nothing prepares the function, at most so many `seconds`."""
        event = self._busy.get(key)
        if event is None:
            return
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return

    def count(self) -> int:
        """How many functions there are, versions not counted."""
        return sum(version == LATEST for _, version in self._digests)

    def runtimes(self) -> set[str]:
        """The runtimes of what can be invoked now."""
        return {function.runtime for function in self._serving.values()}

    def digests(self) -> set[str]:
        """The code that some function refers to, as it is shown or as it is invoked."""
        return set(self._references)

    def on_change(self, callback: Callable[[FunctionKey], None]) -> None:
        """Call `callback(key)` on the loop after each commit that changed the function or removed it."""
        self._watchers.append(callback)

    def on_release(self, callback: Callable[[str], None]) -> None:
        """Call `callback(digest)` on the loop once no function refers to that code any more."""
        self._releasers.append(callback)

    def on_delete(self, callback: Callable[[Connection, FunctionKey], None]) -> None:
        """Call `callback(connection, key)` in the transaction that removes a function with all its versions."""
        self._heirs.append(callback)

    # What the operations do

    async def get(self, key: FunctionKey, version: str = LATEST) -> Function | None:
        row = await self._db.read(lambda connection: _find(connection, key, version))
        return row.document if row else None

    async def page(
        self, account: str, region: str, marker: str | None, max_items: int, *, all_versions: bool = False
    ) -> tuple[list[Function], str | None]:
        """Up to `max_items` functions in the order of their names, and the marker of what follows, if anything does.

        A marker stands for a place in that order: functions that come and go between pages shift nothing.
        """
        name, version = _read_marker(marker) if marker else ("", "")
        query, params = _PAGE_OF_ALL if all_versions else _PAGE, (account, region, name, version, max_items + 1)
        rows = await self._db.read(lambda connection: connection.execute(query, params))
        functions = [from_document(document) for (document,) in rows]
        if len(functions) <= max_items:
            return functions, None
        last = functions[max_items - 1]
        return functions[:max_items], _make_marker(last.key.name, last.version)

    async def create(self, function: Function) -> Function:
        """Store a new function as Pending, and the job that makes it ready. Its blob must be durable.

        Raises ResourceConflictException when the name is taken.
        """
        row = _Row(states.created(function), None, function.revision_id)

        def work(connection: Connection) -> Function:
            key, values = function.key, (to_document(row.document), row.preparing)
            made = connection.execute(
                "INSERT INTO functions (account, region, name, version, document, preparing) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING RETURNING version",
                (key.account, key.region, key.name, function.version, *values),
            )
            if not made:
                raise already_exists(key)
            self._enqueue(connection, row.document)
            self._announce(connection, key, function.version, row)
            return row.document

        return await self._db.write(work)

    async def replace(
        self, key: FunctionKey, change: Callable[[Function], Function], expected_revision: str | None = None
    ) -> Function:
        """Update a function: `change` gives its new settings, this its states, revision and job.

        `change` runs in another thread; what it raises comes out here and nothing has changed. Raises
        ResourceNotFoundException, ResourceConflictException while work is under way, PreconditionFailedException
        when the function is no longer at `expected_revision`.
        """

        def work(connection: Connection) -> Function:
            row = _demand(connection, key)
            refuse_update(row.document, expected_revision)
            document = states.updating(change(row.document), self._clock.uuid())
            self._store(connection, _Row(document, row.serving, document.revision_id))
            self._enqueue(connection, document)
            return document

        return await self._db.write(work)

    async def amend(self, key: FunctionKey, change: Callable[[Function], Function]) -> Function:
        """Change what no environment sees (tags): no job, invocations go on as before.

        Raises ResourceNotFoundException.
        """

        def work(connection: Connection) -> Function:
            row = _demand(connection, key)
            document = states.amended(change(row.document), self._clock.uuid())
            self._store(connection, _Row(document, row.serving, row.preparing))
            return document

        return await self._db.write(work)

    async def delete(self, key: FunctionKey) -> bool:
        """Remove a function with all its versions; False when there was none."""

        def work(connection: Connection) -> bool:
            query = "DELETE FROM functions WHERE account = ? AND region = ? AND name = ? RETURNING version"
            gone = connection.execute(query, (key.account, key.region, key.name))
            for (version,) in gone:
                self._announce(connection, key, version, None)
            for heir in self._heirs if gone else ():
                heir(connection, key)
            return bool(gone)

        return await self._db.write(work)

    # What the engine tells

    async def finish(
        self,
        key: FunctionKey,
        revision: str,
        *,
        version: str = LATEST,
        job: Job | None = None,
        reason_code: str | None = None,
        reason: str = "",
    ) -> bool:
        """The preparation of `revision` is over: the function is Active and served, or failed with `reason_code`.

        Finishes `job` in the same transaction. False, and nothing else changes, when the function is gone or a later
        update has overtaken this one.
        """

        def work(connection: Connection) -> bool:
            if job is not None:
                job.finish(connection)
            row = _find(connection, key, version)
            if row is None or row.preparing != revision:
                return False
            fresh = self._clock.uuid()
            if reason_code is None:
                document = states.ready(row.document, fresh)
                self._store(connection, _Row(document, document, None))
            else:
                document = states.failed(row.document, fresh, reason_code, reason)
                self._store(connection, _Row(document, row.serving, None))
            return True

        return await self._db.write(work)

    # Inside a transaction

    def _store(self, connection: Connection, row: _Row) -> None:
        function = row.document
        key, serving = function.key, to_document(row.serving) if row.serving else None
        connection.execute(
            _STORE,
            (to_document(function), serving, row.preparing, key.account, key.region, key.name, function.version),
        )
        self._announce(connection, key, function.version, row)

    def _enqueue(self, connection: Connection, function: Function) -> None:
        key = function.key
        payload = {
            "account": key.account,
            "region": key.region,
            "name": key.name,
            "version": function.version,
            "revision": function.revision_id,
        }
        self._jobs.enqueue(connection, PREPARE, payload)

    def _announce(self, connection: Connection, key: FunctionKey, version: str, row: _Row | None) -> None:
        connection.after_commit(lambda: self._changed(key, version, row))

    # After the commit, on the loop

    def _changed(self, key: FunctionKey, version: str, row: _Row | None) -> None:
        released = self._remember(key, version, row)
        for watcher in self._watchers:
            _call(watcher, key)
        for digest in released:
            for releaser in self._releasers:
                _call(releaser, digest)

    def _remember(self, key: FunctionKey, version: str, row: _Row | None) -> Iterable[str]:
        """Bring the memory up to `row`; the digests that nothing refers to any more."""
        if row is not None and row.serving is not None:
            self._serving[key, version] = row.serving
        else:
            self._serving.pop((key, version), None)
        if version == LATEST:
            if row is not None and states.is_busy(row.document):
                self._busy.setdefault(key, asyncio.Event())
            elif (event := self._busy.pop(key, None)) is not None:
                event.set()
        return self._count(key, version, row.digests if row is not None else frozenset())

    def _count(self, key: FunctionKey, version: str, digests: frozenset[str]) -> Iterable[str]:
        before = self._digests.pop((key, version), frozenset())
        if digests:
            self._digests[key, version] = digests
        self._references.update(digests)
        self._references.subtract(before)
        released = [digest for digest in before if not self._references[digest]]
        for digest in released:
            del self._references[digest]
        return released


def already_exists(key: FunctionKey) -> AwsError:
    return AwsError("ResourceConflictException", f"Function already exist: {key.name}", Type="User")


def not_found(key: FunctionKey, qualifier: str | None = None) -> AwsError:
    return AwsError("ResourceNotFoundException", f"Function not found: {key.arn(qualifier)}", Type="User")


def refuse_update(function: Function, expected_revision: str | None) -> None:
    """Raises when the function cannot be updated now, or not from this revision."""
    states.refuse_busy(function)
    if expected_revision is not None and expected_revision != function.revision_id:
        raise AwsError(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to"
            " retrieve the latest Revision Id",
            Type="User",
        )


def _find(connection: Connection, key: FunctionKey, version: str) -> _Row | None:
    rows = connection.execute(_FIND, (key.account, key.region, key.name, version))
    return _row(rows[0]) if rows else None


def _demand(connection: Connection, key: FunctionKey) -> _Row:
    row = _find(connection, key, LATEST)
    if row is None:
        raise not_found(key)
    return row


def _row(values: tuple[Any, ...]) -> _Row:
    document, serving, preparing = values
    return _Row(from_document(document), from_document(serving) if serving else None, preparing)


def _make_marker(name: str, version: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([name, version])).decode()


def _read_marker(marker: str) -> tuple[str, str]:
    try:
        name, version = orjson.loads(base64.urlsafe_b64decode(marker))
        return str(name), str(version)
    except (binascii.Error, ValueError, TypeError):
        raise AwsError("InvalidParameterValueException", "Invalid value for Marker", Type="User") from None


def _call(callback: Callable[[Any], None], argument: object) -> None:
    try:
        callback(argument)
    except Exception:
        _log.exception("a watcher of the function store failed")
