"""The rows of functions and their versions, inside a transaction."""

# ruff: noqa: S608  only constants are put together; every value is a parameter

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lambent.base.db import Connection, Migration
from lambent.control.documents import from_document, to_document
from lambent.control.records import LATEST, Function, FunctionKey

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
    Migration(
        "versions",
        1,
        "version numbers",
        (
            # last: the highest number ever given to a version of that name; outlives the function
            "CREATE TABLE version_numbers (account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,"
            " last INTEGER NOT NULL, PRIMARY KEY (account, region, name))",
        ),
    ),
)

_WHERE = "WHERE account = ? AND region = ? AND name = ?"
_RANK = "CASE WHEN version = '$LATEST' THEN 0 ELSE length(version) END"  # orders numbers as numbers, $LATEST first
_COLUMNS = "document, serving, preparing"


@dataclass(frozen=True, slots=True)
class Row:
    document: Function
    serving: Function | None
    preparing: str | None

    @property
    def digests(self) -> frozenset[str]:
        functions = (self.document, self.serving)
        return frozenset().union(*(function.digests for function in functions if function is not None))


def place_of(function: Function) -> tuple[str, int, str]:
    """Where a function stands in the order of names and versions."""
    rank = 0 if function.version == LATEST else len(function.version)
    return function.key.name, rank, function.version


START = ("", 0, "")  # before every function


def every(connection: Connection) -> list[Row]:
    return [_row(values) for values in connection.execute(f"SELECT {_COLUMNS} FROM functions")]


def find(connection: Connection, key: FunctionKey, version: str = LATEST) -> Row | None:
    query = f"SELECT {_COLUMNS} FROM functions {_WHERE} AND version = ?"
    rows = connection.execute(query, (*_names(key), version))
    return _row(rows[0]) if rows else None


def last_version(connection: Connection, key: FunctionKey) -> Row | None:
    """The newest published version that is still there."""
    published = f"{_WHERE} AND version <> '$LATEST'"
    query = f"SELECT {_COLUMNS} FROM functions {published} ORDER BY {_RANK} DESC, version DESC LIMIT 1"
    rows = connection.execute(query, _names(key))
    return _row(rows[0]) if rows else None


def next_number(connection: Connection, key: FunctionKey) -> str:
    """A version number that no version of a function of this name has had, even one that was deleted."""
    query = (
        "INSERT INTO version_numbers (account, region, name, last) VALUES (?, ?, ?, 1)"
        " ON CONFLICT (account, region, name) DO UPDATE SET last = version_numbers.last + 1 RETURNING last"
    )
    return str(connection.execute(query, _names(key))[0][0])


def insert(connection: Connection, row: Row) -> bool:
    """False when there is one already."""
    function = row.document
    values = (to_document(function), to_document(row.serving) if row.serving else None, row.preparing)
    query = (
        "INSERT INTO functions (account, region, name, version, document, serving, preparing)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING version"
    )
    return bool(connection.execute(query, (*_names(function.key), function.version, *values)))


def update(connection: Connection, row: Row) -> None:
    function = row.document
    values = (to_document(function), to_document(row.serving) if row.serving else None, row.preparing)
    query = f"UPDATE functions SET document = ?, serving = ?, preparing = ? {_WHERE} AND version = ?"
    connection.execute(query, (*values, *_names(function.key), function.version))


def delete(connection: Connection, key: FunctionKey, version: str | None = None) -> list[str]:
    """Remove one version, or the function with all its versions; the versions that were there."""
    only, names = ("", _names(key)) if version is None else (" AND version = ?", (*_names(key), version))
    query = f"DELETE FROM functions {_WHERE}{only} RETURNING version"
    return [gone for (gone,) in connection.execute(query, names)]


def page(
    connection: Connection,
    account: str,
    region: str,
    after: tuple[str, int, str],
    count: int,
    *,
    versions: bool,
) -> list[Function]:
    """Up to `count` functions after a place, without or with their published `versions`."""
    only = "" if versions else " AND version = '$LATEST'"
    query = (
        f"SELECT document FROM functions WHERE account = ? AND region = ? AND (name, {_RANK}, version) > (?, ?, ?)"
        f"{only} ORDER BY name, {_RANK}, version LIMIT ?"
    )
    rows = connection.execute(query, (account, region, *after, count))
    return [from_document(document) for (document,) in rows]


def page_of_versions(connection: Connection, key: FunctionKey, after: tuple[int, str], count: int) -> list[Function]:
    """Up to `count` versions of one function after a place, $LATEST first."""
    query = f"SELECT document FROM functions {_WHERE} AND ({_RANK}, version) > (?, ?) ORDER BY {_RANK}, version LIMIT ?"
    rows = connection.execute(query, (*_names(key), *after, count))
    return [from_document(document) for (document,) in rows]


def _names(key: FunctionKey) -> tuple[str, str, str]:
    return key.account, key.region, key.name


def _row(values: tuple[Any, ...]) -> Row:
    document, serving, preparing = values
    return Row(from_document(document), from_document(serving) if serving else None, preparing)
