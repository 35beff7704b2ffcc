"""Reserved and provisioned concurrency: durable in the database, and in memory for invocations."""

# ruff: noqa: S608  only constants are put together; every value is a parameter

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database, Migration
from lambent.base.jobs import Job, Jobs
from lambent.control import quotas
from lambent.control.names import is_version
from lambent.control.records import Alias, FunctionKey, Provision, Provisioned
from lambent.wire.errors import AwsError

PROVISION = "provision"
"""The kind of job that brings provisioned environments up. Payload: account, region, name, qualifier, revision."""

MIGRATIONS = (
    Migration(
        "concurrency",
        1,
        "concurrency",
        (
            "CREATE TABLE reserved_concurrency (account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,"
            " executions INTEGER NOT NULL, PRIMARY KEY (account, region, name))",
            "CREATE TABLE provisioned_concurrency (account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,"
            " qualifier TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (account, region, name, qualifier))",
        ),
    ),
)

_WHERE = "WHERE account = ? AND region = ? AND name = ?"


class ConcurrencyStore:
    """Belongs to one event loop. What is in memory changes after the commit, in the order of commits."""

    def __init__(self, db: Database, jobs: Jobs, clock: Clock) -> None:
        self._db = db
        self._jobs = jobs
        self._clock = clock
        self._reserved: dict[FunctionKey, int] = {}
        self._provisioned: dict[FunctionKey, dict[str, Provisioned]] = {}
        self._watchers: list[Callable[[FunctionKey], None]] = []
        self._taken: dict[tuple[str, str], int] = {}  # by account and region: what is not left to all functions

    async def load(self) -> None:
        """Read everything once, at start, after `migrate`."""
        query = "SELECT account, region, name, executions FROM reserved_concurrency"
        for account, region, name, executions in await self._db.read(lambda connection: connection.execute(query)):
            self._reserved[FunctionKey(account, region, name)] = executions
        query = "SELECT document FROM provisioned_concurrency"
        for (document,) in await self._db.read(lambda connection: connection.execute(query)):
            config = _from_document(document)
            self._provisioned.setdefault(config.key, {})[config.qualifier] = config

    def on_change(self, callback: Callable[[FunctionKey], None]) -> None:
        """Call `callback(key)` on the loop after each commit that changed the concurrency of the function."""
        self._watchers.append(callback)

    # What invocations ask

    def reserved(self, key: FunctionKey) -> int | None:
        """How many invocations of the function may run at once; None when nothing is reserved."""
        return self._reserved.get(key)

    def provisioned(self, key: FunctionKey) -> Mapping[str, Provisioned]:
        """The provisioned concurrency of a function by version or alias."""
        return self._provisioned.get(key, {})

    def requested(self, key: FunctionKey) -> int:
        """The sum of the provisioned concurrency of a function."""
        configs = self._provisioned.get(key)
        return sum(config.requested for config in configs.values()) if configs else 0

    def unreserved(self, account: str, region: str) -> int:
        """How many invocations of functions without a reservation may run at once, outside of what is provisioned."""
        place = (account, region)
        if place not in self._taken:
            keys = {key for key in (*self._reserved, *self._provisioned) if (key.account, key.region) == place}
            self._taken[place] = sum(self._claim(key) for key in keys)
        return quotas.CONCURRENT_EXECUTIONS - self._taken[place]

    def _claim(self, key: FunctionKey) -> int:
        """What a function takes from the account: its reservation, in which what is provisioned is contained."""
        reserved = self._reserved.get(key)
        return self.requested(key) if reserved is None else reserved

    def everything(self) -> Iterable[Provisioned]:
        return [config for configs in self._provisioned.values() for config in configs.values()]

    # What the operations do

    async def reserve(self, key: FunctionKey, executions: int, exists: Callable[[Connection], None]) -> None:
        """`exists` raises when there is no such function. Raises InvalidParameterValueException beyond the limits."""

        def work(connection: Connection) -> None:
            exists(connection)
            claims = _claims(connection, key.account, key.region)
            free = quotas.CONCURRENT_EXECUTIONS - sum(claims[other].taken for other in claims if other != key.name)
            if free - executions < quotas.LEAST_UNRESERVED:
                raise _too_much("ReservedConcurrentExecutions")
            if executions < claims[key.name].provisioned:
                problem = f" ReservedConcurrentExecutions  {executions} should not be lower than function's total"
                detail = f"provisioned concurrency [{claims[key.name].provisioned}]."
                raise AwsError("InvalidParameterValueException", f"{problem} {detail}", Type=None)
            query = (
                "INSERT INTO reserved_concurrency (account, region, name, executions) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (account, region, name) DO UPDATE SET executions = excluded.executions"
            )
            connection.execute(query, (*_names(key), executions))
            connection.after_commit(lambda: self._set_reserved(key, executions))

        await self._db.write(work)

    async def release(self, key: FunctionKey) -> None:
        def work(connection: Connection) -> None:
            connection.execute(f"DELETE FROM reserved_concurrency {_WHERE}", _names(key))
            connection.after_commit(lambda: self._set_reserved(key, None))

        await self._db.write(work)

    async def provision(self, config: Provisioned, check: Callable[[Connection], None]) -> Provisioned:
        """Store `config` with the job that brings its environments up. `check` raises for what may not have any."""

        def work(connection: Connection) -> Provisioned:
            check(connection)
            _refuse_amount(connection, config)
            self._put(connection, config)
            self._enqueue(connection, config)
            return config

        return await self._db.write(work)

    async def unprovision(self, key: FunctionKey, qualifier: str) -> None:
        """Nothing happens when nothing is provisioned there."""

        def work(connection: Connection) -> None:
            connection.execute(
                f"DELETE FROM provisioned_concurrency {_WHERE} AND qualifier = ?", (*_names(key), qualifier)
            )
            connection.after_commit(lambda: self._set_provisioned(key, qualifier, None))

        await self._db.write(work)

    async def renew(self) -> None:
        """At start: environments that were ready have ended with the server; have them brought up again."""
        for config in self.everything():
            if config.status == "READY":
                await self._again(config)

    async def _again(self, config: Provisioned) -> None:
        again = replace(config, status="IN_PROGRESS", status_reason=None, revision=self._clock.uuid())

        def work(connection: Connection) -> None:
            if _find(connection, config.key, config.qualifier) == config:
                self._put(connection, again)
                self._enqueue(connection, again)

        await self._db.write(work)

    def alias_moved(self, connection: Connection, before: Alias, after: Alias) -> None:
        """Inside the transaction that changes an alias: what is provisioned for it goes on to its new version."""
        config = _find(connection, after.key, after.name)
        if config is None or before.function_version == after.function_version:
            return
        if _find(connection, after.key, after.function_version) is not None:
            raise already_provisioned()
        moved = replace(
            config,
            version=after.function_version,
            status="IN_PROGRESS",
            status_reason=None,
            revision=self._clock.uuid(),
        )
        self._put(connection, moved)
        self._enqueue(connection, moved)

    def let_go(self, connection: Connection, key: FunctionKey, qualifier: str | None) -> None:
        """A function, a version or an alias goes with its concurrency."""
        if qualifier is None:
            connection.execute(f"DELETE FROM reserved_concurrency {_WHERE}", _names(key))
            connection.execute(f"DELETE FROM provisioned_concurrency {_WHERE}", _names(key))
            connection.after_commit(lambda: self._all_gone(key))
            return
        connection.execute(f"DELETE FROM provisioned_concurrency {_WHERE} AND qualifier = ?", (*_names(key), qualifier))
        connection.after_commit(lambda: self._set_provisioned(key, qualifier, None))

    # What the engine tells

    def task(self, job: Job) -> Provision:
        """What a job of kind PROVISION is about."""
        said = job.payload
        return Provision(
            FunctionKey(said["account"], said["region"], said["name"]), said["qualifier"], said["revision"]
        )

    async def finish(self, task: Provision, job: Job, status: str, reason: str | None = None) -> bool:
        """All environments are initialised (READY), or they cannot be (FAILED, with the reason); the job is done.

        False, and nothing else changes, when the configuration is gone or has changed since.
        """

        def work(connection: Connection) -> bool:
            job.finish(connection)
            config = _find(connection, task.key, task.qualifier)
            if config is None or config.revision != task.revision:
                return False
            self._put(connection, replace(config, status=status, status_reason=reason))
            return True

        return await self._db.write(work)

    # Inside a transaction

    def _put(self, connection: Connection, config: Provisioned) -> None:
        query = (
            "INSERT INTO provisioned_concurrency (account, region, name, qualifier, document) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (account, region, name, qualifier) DO UPDATE SET document = excluded.document"
        )
        document = orjson.dumps(config).decode()
        connection.execute(query, (*_names(config.key), config.qualifier, document))
        connection.after_commit(lambda: self._set_provisioned(config.key, config.qualifier, config))

    def _enqueue(self, connection: Connection, config: Provisioned) -> None:
        key = config.key
        names = {"account": key.account, "region": key.region, "name": key.name}
        self._jobs.enqueue(connection, PROVISION, names | {"qualifier": config.qualifier, "revision": config.revision})

    # After the commit, on the loop

    def _set_reserved(self, key: FunctionKey, executions: int | None) -> None:
        if executions is None:
            self._reserved.pop(key, None)
        else:
            self._reserved[key] = executions
        self._changed(key)

    def _set_provisioned(self, key: FunctionKey, qualifier: str, config: Provisioned | None) -> None:
        configs = self._provisioned.setdefault(key, {})
        if config is None:
            configs.pop(qualifier, None)
        else:
            configs[qualifier] = config
        if not configs:
            del self._provisioned[key]
        self._changed(key)

    def _all_gone(self, key: FunctionKey) -> None:
        self._reserved.pop(key, None)
        self._provisioned.pop(key, None)
        self._changed(key)

    def _changed(self, key: FunctionKey) -> None:
        self._taken.pop((key.account, key.region), None)
        for watcher in self._watchers:
            watcher(key)


@dataclass(slots=True)
class _Claim:
    """What one function holds of its account's concurrency."""

    reserved: int | None = None
    provisioned: int = 0

    @property
    def taken(self) -> int:
        """What is provisioned is part of a reservation where there is one."""
        return self.provisioned if self.reserved is None else self.reserved


def _claims(connection: Connection, account: str, region: str) -> defaultdict[str, _Claim]:
    """By the name of the function, as this transaction sees it."""
    claims: defaultdict[str, _Claim] = defaultdict(_Claim)
    query = "SELECT name, executions FROM reserved_concurrency WHERE account = ? AND region = ?"
    for name, executions in connection.execute(query, (account, region)):
        claims[name].reserved = executions
    query = "SELECT document FROM provisioned_concurrency WHERE account = ? AND region = ?"
    for (document,) in connection.execute(query, (account, region)):
        config = _from_document(document)
        claims[config.key.name].provisioned += config.requested
    return claims


def _refuse_amount(connection: Connection, config: Provisioned) -> None:
    """Raises InvalidParameterValueException for more than the function or the account has."""
    key = config.key
    before = _find(connection, key, config.qualifier)
    claims = _claims(connection, key.account, key.region)
    claim = claims[key.name]
    claim.provisioned -= before.requested if before is not None else 0
    if claim.reserved is not None:
        if config.requested + claim.provisioned > claim.reserved:
            problem = "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution"
            raise AwsError("InvalidParameterValueException", f"{problem} for function", Type="User")
        return
    free = quotas.CONCURRENT_EXECUTIONS - sum(other.taken for other in claims.values())
    if config.requested > free:
        problem = "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency"
        raise AwsError("InvalidParameterValueException", f"{problem} [{free}].", Type=None)
    if free - config.requested < quotas.LEAST_UNRESERVED:
        raise _too_much("ConcurrentExecutions")


def _find(connection: Connection, key: FunctionKey, qualifier: str) -> Provisioned | None:
    query = f"SELECT document FROM provisioned_concurrency {_WHERE} AND qualifier = ?"
    found = connection.execute(query, (*_names(key), qualifier))
    return _from_document(found[0][0]) if found else None


def already_provisioned() -> AwsError:
    problem = "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
    return AwsError("ResourceConflictException", problem, Type="User")


def refuse_double(configs: Mapping[str, Provisioned], qualifier: str, aliases: Mapping[str, Alias]) -> None:
    """A version is provisioned by itself or through one alias, never both. Raises ResourceConflictException."""
    if is_version(qualifier):
        pointing = (name for name, alias in aliases.items() if alias.function_version == qualifier)
        if any(name in configs for name in pointing):
            problem = "Version is pointed by a Provisioned Concurrency alias"
            raise AwsError("ResourceConflictException", problem, Type="User")
        return
    if aliases[qualifier].function_version in configs:
        raise already_provisioned()


def _too_much(member: str) -> AwsError:
    problem = f"Specified {member} for function decreases account's UnreservedConcurrentExecution below its minimum"
    return AwsError("InvalidParameterValueException", f"{problem} value of [{quotas.LEAST_UNRESERVED}].", Type=None)


def _names(key: FunctionKey) -> tuple[str, str, str]:
    return key.account, key.region, key.name


def _from_document(document: str) -> Provisioned:
    members: dict[str, Any] = orjson.loads(document)
    return Provisioned(key=FunctionKey(**members.pop("key")), **members)
