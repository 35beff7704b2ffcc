"""The aliases of functions: durable in the database, and in memory for invocations."""

# ruff: noqa: S608  only constants are put together; every value is a parameter

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace

import orjson

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database, Migration
from lambent.control import markers, rows
from lambent.control.names import check_revision
from lambent.control.records import Alias, FunctionKey
from lambent.control.store import not_found
from lambent.wire.errors import AwsError

MIGRATIONS = (
    Migration(
        "aliases",
        1,
        "aliases",
        (
            "CREATE TABLE aliases (account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,"
            " alias TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (account, region, name, alias))",
        ),
    ),
)

_WHERE = "WHERE account = ? AND region = ? AND name = ?"


class AliasStore:
    """Belongs to one event loop. What is in memory changes after the commit, in the order of commits."""

    def __init__(self, db: Database, clock: Clock, draw: Callable[[], float] = random.random) -> None:
        """`draw` gives a number from 0 up to 1 for each invocation whose alias has weights."""
        self._db = db
        self._clock = clock
        self._draw = draw
        self._aliases: dict[FunctionKey, dict[str, Alias]] = {}
        self._movers: list[Callable[[Connection, Alias, Alias], None]] = []

    async def load(self) -> None:
        """Read everything once, at start, after `migrate`."""
        for (document,) in await self._db.read(lambda connection: connection.execute("SELECT document FROM aliases")):
            self._remember(_from_document(document))

    def on_move(self, callback: Callable[[Connection, Alias, Alias], None]) -> None:
        """Call `callback(connection, before, after)` inside each transaction that updates an alias; it may refuse."""
        self._movers.append(callback)

    # What invocations ask

    def find(self, key: FunctionKey, name: str) -> Alias | None:
        aliases = self._aliases.get(key)
        return aliases.get(name) if aliases is not None else None

    def of(self, key: FunctionKey) -> Mapping[str, Alias]:
        """The aliases of a function by name."""
        return self._aliases.get(key, {})

    def route(self, key: FunctionKey, name: str) -> str | None:
        """The version that takes the next invocation of an alias; None when there is no such alias."""
        alias = self.find(key, name)
        if alias is None:
            return None
        if alias.weights:
            ((other, weight),) = alias.weights.items()
            if self._draw() < weight:
                return other
        return alias.function_version

    # What the operations do

    async def page(
        self, key: FunctionKey, version: str | None, marker: str | None, most: int
    ) -> tuple[list[Alias], str | None]:
        """Up to `most` aliases in the order of their names, of those that point to `version` if one is given."""
        (after,) = markers.read(marker, ("",)) if marker else ("",)
        names = sorted(name for name in self.of(key) if name > str(after))
        aliases = [self.of(key)[name] for name in names]
        wanted = [alias for alias in aliases if version is None or alias.function_version == version]
        return markers.cut(wanted, most, lambda alias: (alias.name,))

    async def create(self, alias: Alias) -> Alias:
        """Raises ResourceNotFoundException for versions that are not there, ResourceConflictException for the name."""

        def work(connection: Connection) -> Alias:
            _demand_version(connection, alias.key, alias.function_version)
            if _find(connection, alias.key, alias.name) is not None:
                raise AwsError("ResourceConflictException", f"Alias already exists: {alias.arn}", Type="User")
            _check(connection, alias)
            query = "INSERT INTO aliases (account, region, name, alias, document) VALUES (?, ?, ?, ?, ?)"
            connection.execute(query, (*_names(alias.key), alias.name, _to_document(alias)))
            connection.after_commit(lambda: self._remember(alias))
            return alias

        return await self._db.write(work)

    async def update(
        self,
        key: FunctionKey,
        name: str,
        change: Callable[[Alias], Alias],
        expected_revision: str | None,
        also: Callable[[Connection], None] | None = None,
    ) -> Alias:
        """Raises ResourceNotFoundException, and PreconditionFailedException when it is at another revision.

        `also` writes what belongs to the change, in the same transaction.
        """

        def work(connection: Connection) -> Alias:
            current = _find(connection, key, name)
            if current is None:
                raise AwsError("ResourceNotFoundException", f"Alias not found: {key.arn(name)}", Type="User")
            check_revision(expected_revision, current.revision_id)
            alias = replace(change(current), revision_id=self._clock.uuid())
            _demand_version(connection, key, alias.function_version)
            _check(connection, alias)
            if also is not None:
                also(connection)
            for mover in self._movers:
                mover(connection, current, alias)
            query = f"UPDATE aliases SET document = ? {_WHERE} AND alias = ?"
            connection.execute(query, (_to_document(alias), *_names(key), name))
            connection.after_commit(lambda: self._remember(alias))
            return alias

        return await self._db.write(work)

    async def delete(self, key: FunctionKey, name: str, release: Callable[[Connection], None]) -> None:
        """Remove an alias, if it is there. `release` lets go of what belongs to it, in the same transaction."""

        def work(connection: Connection) -> None:
            release(connection)
            connection.execute(f"DELETE FROM aliases {_WHERE} AND alias = ?", (*_names(key), name))
            connection.after_commit(lambda: self._gone(key, name))

        await self._db.write(work)

    def stored(self, connection: Connection, key: FunctionKey, name: str) -> Alias | None:
        """Inside a transaction: the alias as it is there."""
        return _find(connection, key, name)

    def let_go(self, connection: Connection, key: FunctionKey, qualifier: str | None) -> None:
        """A function goes with its aliases; a version that an alias points to stays."""
        if qualifier is None:
            connection.execute(f"DELETE FROM aliases {_WHERE}", _names(key))
            connection.after_commit(lambda: self._all_gone(key))
            return
        query = f"SELECT document FROM aliases {_WHERE} ORDER BY alias"
        aliases = [_from_document(document) for (document,) in connection.execute(query, _names(key))]
        holding = [alias.name for alias in aliases if qualifier in (alias.function_version, *alias.weights)]
        if holding:
            problem = f"Unable to delete version because the following aliases reference it: [{', '.join(holding)}]"
            raise AwsError("ResourceConflictException", problem, Type="User")

    # After the commit, on the loop

    def _remember(self, alias: Alias) -> None:
        self._aliases.setdefault(alias.key, {})[alias.name] = alias

    def _all_gone(self, key: FunctionKey) -> None:
        self._aliases.pop(key, None)

    def _gone(self, key: FunctionKey, name: str) -> None:
        if (aliases := self._aliases.get(key)) is not None:
            aliases.pop(name, None)
            if not aliases:
                del self._aliases[key]


def _find(connection: Connection, key: FunctionKey, name: str) -> Alias | None:
    found = connection.execute(f"SELECT document FROM aliases {_WHERE} AND alias = ?", (*_names(key), name))
    return _from_document(found[0][0]) if found else None


def _demand_version(connection: Connection, key: FunctionKey, version: str) -> None:
    if rows.find(connection, key, version) is None:
        raise not_found(key, version)


def _check(connection: Connection, alias: Alias) -> None:
    """The rules of weights, in the order in which AWS finds fault."""
    if len(alias.weights) > 1:
        problem = "Number of items in AdditionalVersionWeights cannot be greater than 1"
        raise AwsError("InvalidParameterValueException", problem, Type="User")
    for version in alias.weights:
        if version == alias.function_version:
            problem = f"Invalid function version {version}. Function version {version} is already included in routing"
            raise AwsError("InvalidParameterValueException", f"{problem} configuration.", Type="User")
        if alias.function_version == "$LATEST":
            problem = "$LATEST is not supported for an alias pointing to more than 1 version"
            raise AwsError("InvalidParameterValueException", problem, Type=None)
        _demand_version(connection, alias.key, version)


def _names(key: FunctionKey) -> tuple[str, str, str]:
    return key.account, key.region, key.name


def _to_document(alias: Alias) -> str:
    return orjson.dumps(alias).decode()


def _from_document(document: str) -> Alias:
    members = orjson.loads(document)
    return Alias(key=FunctionKey(**members.pop("key")), **members)
