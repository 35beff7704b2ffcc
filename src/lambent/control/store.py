"""The functions of all accounts and regions: durable in the database, and in memory what invocations need."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database
from lambent.base.jobs import Job, Jobs
from lambent.control import markers, quotas, rows, states
from lambent.control.names import check_revision
from lambent.control.records import LATEST, Function, FunctionKey, Image
from lambent.control.rows import Row
from lambent.control.serving import Serving
from lambent.wire.errors import AwsError

_log = logging.getLogger("lambent.store")

MIGRATIONS = rows.MIGRATIONS

PREPARE = "prepare"
"""The kind of job that makes a created or updated function ready. Payload: account, region, name, version, revision."""


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


Heir = Callable[[Connection, FunctionKey, str | None], None]
"""Called inside the transaction that removes a function (the last is None), or a version or an alias of it: whoever
keeps something about it lets go. What it raises comes out of the removal, and nothing has changed."""


class FunctionStore:
    """Belongs to one event loop. What is in memory changes after the commit, in the order of commits."""

    def __init__(self, db: Database, jobs: Jobs, clock: Clock) -> None:
        self._db = db
        self._jobs = jobs
        self._clock = clock
        self._memory = Serving()
        self._watchers: list[Callable[[FunctionKey], None]] = []
        self._releasers: list[Callable[[str], None]] = []
        self._heirs: list[Heir] = []

    async def load(self) -> None:
        """Read everything once, at start, after `migrate` and before jobs start."""
        for row in await self._db.read(rows.every):
            self._memory.remember(row.document.key, row.document.version, row)

    # What invocations ask

    def serving(self, key: FunctionKey, version: str | None = None) -> Function | None:
        """The function as it is invoked now: one look-up. While an update is under way that is the old one."""
        return self._memory.find(key, version or LATEST)

    def versions(self, key: FunctionKey) -> Mapping[str, Function]:
        """All that can be invoked of a function, by version."""
        return self._memory.versions(key)

    def every_version(self) -> list[Function]:
        """All that can be invoked."""
        return list(self._memory.functions())

    async def settled(self, key: FunctionKey, seconds: float, version: str = LATEST) -> None:
        """Wait until nothing prepares that version of the function, at most so many `seconds`."""
        event = self._memory.busy(key, version)
        if event is None:
            return
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return

    def count(self) -> int:
        """How many functions there are, versions not counted."""
        return self._memory.count()

    def count_of(self, account: str, region: str) -> int:
        """How many functions an account has in a region, versions not counted."""
        return self._memory.usage(account, region)[0]

    def code_size(self, account: str, region: str) -> int:
        """Bytes: the packages of an account's functions and versions in a region."""
        return self._memory.usage(account, region)[1]

    def images(self) -> list[Image]:
        """Those of what can be invoked now."""
        return [function.image for function in self._memory.functions() if function.image is not None]

    def runtimes(self) -> set[str]:
        """The runtimes of what can be invoked now."""
        return {function.runtime for function in self._memory.functions()}

    def digests(self) -> set[str]:
        """The code that some function refers to, as it is shown or as it is invoked."""
        return self._memory.digests()

    def refers_to(self, digest: str) -> bool:
        return self._memory.refers_to(digest)

    def on_change(self, callback: Callable[[FunctionKey], None]) -> None:
        """Call `callback(key)` on the loop after each commit that changed the function or removed it."""
        self._watchers.append(callback)

    def on_release(self, callback: Callable[[str], None]) -> None:
        """Call `callback(digest)` on the loop once no function refers to that code any more."""
        self._releasers.append(callback)

    def on_remove(self, heir: Heir) -> None:
        """Have `heir` called in each transaction that removes a function, a version or an alias."""
        self._heirs.append(heir)

    def let_go(self, connection: Connection, key: FunctionKey, qualifier: str | None) -> None:
        """Inside a transaction that removes a function, a version or an alias: call whoever keeps something of it."""
        for heir in self._heirs:
            heir(connection, key, qualifier)

    # What the operations do

    async def get(self, key: FunctionKey, version: str = LATEST) -> Function | None:
        row = await self._db.read(lambda connection: rows.find(connection, key, version))
        return row.document if row else None

    async def page(
        self, account: str, region: str, marker: str | None, max_items: int, *, all_versions: bool = False
    ) -> tuple[list[Function], str | None]:
        """Up to `max_items` functions in the order of their names, and the marker of what follows, if anything does."""
        name, rank, version = markers.read(marker, rows.START) if marker else rows.START
        after = (str(name), int(rank), str(version))
        found = await self._db.read(
            lambda connection: rows.page(connection, account, region, after, max_items + 1, versions=all_versions)
        )
        return markers.cut(found, max_items, rows.place_of)

    async def page_of_versions(
        self, key: FunctionKey, marker: str | None, max_items: int
    ) -> tuple[list[Function], str | None]:
        """Up to `max_items` versions of one function, $LATEST first, and the marker of what follows."""
        rank, version = markers.read(marker, rows.START[1:]) if marker else (-1, "")
        after = (int(rank), str(version))
        found = await self._db.read(lambda connection: rows.page_of_versions(connection, key, after, max_items + 1))
        return markers.cut(found, max_items, lambda function: rows.place_of(function)[1:])

    async def create(
        self, function: Function, *, publish: bool = False, also: Callable[[Connection], None] | None = None
    ) -> Function:
        """Store a new function as Pending, and the job that makes it ready. Its blob must be durable.

        With `publish` also its first version, which is what comes back. `also` is done in the same transaction. Raises
        ResourceConflictException when the name is taken.
        """
        row = Row(states.created(function), None, function.revision_id)

        def work(connection: Connection) -> Function:
            self._insert(connection, row)
            if also is not None:
                also(connection)
            return self._publish(connection, row, None) if publish else row.document

        return await self._db.write(work)

    async def replace(
        self,
        key: FunctionKey,
        change: Callable[[Function], Function],
        expected_revision: str | None = None,
        *,
        publish: bool = False,
    ) -> Function:
        """Update a function: `change` gives its new settings, this its states, revision and job.

        With `publish` also a new version, which is what comes back. `change` runs in another thread; what it raises
        comes out here and nothing has changed. Raises ResourceNotFoundException, ResourceConflictException while work
        is under way, PreconditionFailedException when the function is no longer at `expected_revision`.
        """

        def work(connection: Connection) -> Function:
            current = _demand(connection, key)
            refuse_update(current.document, expected_revision)
            document = states.updating(change(current.document), self._clock.uuid())
            self._refuse_storage(key, document.code_size - current.document.code_size)
            row = Row(document, current.serving, document.revision_id)
            self._store(connection, row)
            self._enqueue(connection, document)
            return self._publish(connection, row, None) if publish else document

        return await self._db.write(work)

    async def publish(
        self,
        key: FunctionKey,
        check: Callable[[Function], None],
        description: str | None = None,
        expected_revision: str | None = None,
    ) -> Function:
        """Make a version of the function as it is, or give the last one when nothing has changed since.

        `check` sees the function and may refuse. Raises as `replace` does.
        """

        def work(connection: Connection) -> Function:
            row = _demand(connection, key)
            refuse_update(row.document, expected_revision)
            states.refuse_failed(row.document)
            check(row.document)
            return self._publish(connection, row, description)

        return await self._db.write(work)

    async def amend(
        self,
        key: FunctionKey,
        change: Callable[[Function], Function],
        version: str = LATEST,
        also: Callable[[Connection], None] | None = None,
    ) -> Function:
        """Change what no environment sees (tags, policies): no job, invocations go on as before.

        `also` writes what belongs to it, in the same transaction. Raises ResourceNotFoundException.
        """

        def work(connection: Connection) -> Function:
            row = _demand(connection, key, version)
            document = states.amended(change(row.document), self._clock.uuid())
            if also is not None:
                also(connection)
            self._store(connection, Row(document, row.serving, row.preparing))
            return document

        return await self._db.write(work)

    async def delete(self, key: FunctionKey, version: str | None = None) -> bool:
        """Remove a function with all its versions, or one version of it; False when there is no such function."""

        def work(connection: Connection) -> bool:
            if rows.find(connection, key) is None:
                return False
            for gone in rows.delete(connection, key, version):
                self._announce(connection, key, gone, None)
            self.let_go(connection, key, version)
            return True

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
            row = rows.find(connection, key, version)
            if row is None or row.preparing != revision:
                return False
            fresh = self._clock.uuid()
            if reason_code is None:
                document = states.ready(row.document, fresh)
                self._store(connection, Row(document, document, None))
            else:
                document = states.failed(row.document, fresh, reason_code, reason)
                self._store(connection, Row(document, row.serving, None))
            return True

        return await self._db.write(work)

    # Inside a transaction

    def _insert(self, connection: Connection, row: Row) -> None:
        """A new row, and its job when it needs one."""
        function = row.document
        if not rows.insert(connection, row):
            raise already_exists(function.key)
        self._refuse_storage(function.key, function.code_size)
        if row.preparing is not None:
            self._enqueue(connection, function)
        self._announce(connection, function.key, function.version, row)

    def _refuse_storage(self, key: FunctionKey, more: int) -> None:
        """Raises CodeStorageExceededException when `more` bytes of code are too many for the account."""
        if more > 0:
            quotas.refuse_storage(self.code_size(key.account, key.region) + more)

    def _store(self, connection: Connection, row: Row) -> None:
        rows.update(connection, row)
        self._announce(connection, row.document.key, row.document.version, row)

    def _publish(self, connection: Connection, latest: Row, description: str | None) -> Function:
        """The version that stands for `latest`: a new one unless the last one is the same. $LATEST gets a revision."""
        function = latest.document
        last = rows.last_version(connection, function.key)
        if last is not None and states.same(last.document, function):
            return last.document
        version = states.published(
            function, rows.next_number(connection, function.key), self._clock.uuid(), description
        )
        ready = latest.preparing is None and latest.serving is not None and states.same(latest.serving, function)
        if ready and function.snap_start == "None":
            version = states.ready(version, version.revision_id)
            self._insert(connection, Row(version, version, None))
        else:
            self._insert(connection, Row(version, None, version.revision_id))
        if latest.preparing is None:
            self._store(connection, Row(states.amended(function, self._clock.uuid()), latest.serving, None))
        return version

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

    def _announce(self, connection: Connection, key: FunctionKey, version: str, row: Row | None) -> None:
        connection.after_commit(lambda: self._changed(key, version, row))

    # After the commit, on the loop

    def _changed(self, key: FunctionKey, version: str, row: Row | None) -> None:
        released = self._memory.remember(key, version, row)
        for watcher in self._watchers:
            _call(watcher, key)
        for digest in released:
            for releaser in self._releasers:
                _call(releaser, digest)


def already_exists(key: FunctionKey) -> AwsError:
    return AwsError("ResourceConflictException", f"Function already exist: {key.name}", Type="User")


def not_found(key: FunctionKey, qualifier: str | None = None) -> AwsError:
    return AwsError("ResourceNotFoundException", f"Function not found: {key.arn(qualifier)}", Type="User")


def refuse_update(function: Function, expected_revision: str | None) -> None:
    """Raises when the function cannot be updated now, or not from this revision."""
    states.refuse_busy(function)
    check_revision(expected_revision, function.revision_id)


def _demand(connection: Connection, key: FunctionKey, version: str = LATEST) -> Row:
    row = rows.find(connection, key, version)
    if row is None:
        raise not_found(key, None if version == LATEST else version)
    return row


def _call(callback: Callable[[Any], None], argument: object) -> None:
    try:
        callback(argument)
    except Exception:
        _log.exception("a watcher of the function store failed")
