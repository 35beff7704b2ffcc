"""Named documents: what Lambda stores besides functions and what belongs to one of their settings.

A kind ("code-signing-config") has its resources per account and region, each under a name, perhaps below a parent (the
function it belongs to). Documents are JSON objects. Whoever changes them does it in a transaction of their own:

    await db.write(lambda connection: resources.put(connection, home, name, document))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from lambent.base.db import Connection, Database, Migration
from lambent.control import markers
from lambent.control.records import FunctionKey

MIGRATIONS = (
    Migration(
        "resources",
        1,
        "resources",
        (
            "CREATE TABLE resources (kind TEXT NOT NULL, account TEXT NOT NULL, region TEXT NOT NULL,"
            " name TEXT NOT NULL, parent TEXT NOT NULL, document TEXT NOT NULL,"
            " PRIMARY KEY (kind, account, region, name))",
            "CREATE INDEX resources_by_parent ON resources (kind, account, region, parent, name)",
        ),
    ),
)

_FIND = "SELECT document FROM resources WHERE kind = ? AND account = ? AND region = ? AND name = ?"
_PUT = (
    "INSERT INTO resources (kind, account, region, name, parent, document) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (kind, account, region, name) DO UPDATE SET parent = excluded.parent, document = excluded.document"
)
_AMEND = "UPDATE resources SET document = ? WHERE kind = ? AND account = ? AND region = ? AND name = ?"
_REMOVE = "DELETE FROM resources WHERE kind = ? AND account = ? AND region = ? AND name = ? RETURNING document"
_EMPTY = "DELETE FROM resources WHERE kind = ? AND account = ? AND region = ? AND parent = ?"
_PAGE = (
    "SELECT name, document FROM resources WHERE kind = ? AND account = ? AND region = ? AND name > ?"
    " ORDER BY name LIMIT ?"
)
_PAGE_OF_PARENT = (
    "SELECT name, document FROM resources WHERE kind = ? AND account = ? AND region = ? AND name > ? AND parent = ?"
    " ORDER BY name LIMIT ?"
)

Document = Mapping[str, Any]


class Home(Protocol):
    """Where a resource lives: a Caller, a FunctionKey."""

    @property
    def account(self) -> str: ...
    @property
    def region(self) -> str: ...


class Resources:
    """The resources of one kind."""

    def __init__(self, db: Database, kind: str) -> None:
        self.db = db
        self._kind = kind

    async def get(self, home: Home, name: str) -> Document | None:
        return await self.db.read(lambda connection: self.find(connection, home, name))

    async def page(
        self,
        home: Home,
        marker: str | None,
        max_items: int,
        parent: str | None = None,
        wanted: Document | None = None,
    ) -> tuple[list[Document], str | None]:
        """Up to `max_items` in the order of their names, and the marker of what follows, if anything does.

        Only those below `parent` and with the members `wanted`, where these are given.

        A marker stands for a place in that order: resources that come and go between pages shift nothing. Raises
        InvalidParameterValueException for one that no answer has given.
        """
        (after,) = markers.read(marker, ("",)) if marker else ("",)
        found = await self.db.read(
            lambda connection: self._collect(connection, home, str(after), max_items + 1, parent, wanted or {})
        )
        shown, following = markers.cut(found, max_items, lambda pair: (pair[0],))
        return [document for _, document in shown], following

    # Inside a transaction

    def find(self, connection: Connection, home: Home, name: str) -> Document | None:
        rows = connection.execute(_FIND, (self._kind, home.account, home.region, name))
        return orjson.loads(rows[0][0]) if rows else None

    def children(self, connection: Connection, home: Home, parent: str) -> list[Document]:
        """All below one parent."""
        return [orjson.loads(document) for _, document in self._rows(connection, home, "", -1, parent)]

    def put(self, connection: Connection, home: Home, name: str, document: Document, parent: str = "") -> Document:
        """Store, in the place of what has that name; `document` again."""
        text = orjson.dumps(document).decode()
        connection.execute(_PUT, (self._kind, home.account, home.region, name, parent, text))
        return document

    def amend(self, connection: Connection, home: Home, name: str, document: Document) -> None:
        """Store in the place of what has that name, below the parent that it has."""
        connection.execute(_AMEND, (orjson.dumps(document).decode(), self._kind, home.account, home.region, name))

    def remove(self, connection: Connection, home: Home, name: str) -> Document | None:
        """What has been removed."""
        rows = connection.execute(_REMOVE, (self._kind, home.account, home.region, name))
        return orjson.loads(rows[0][0]) if rows else None

    def empty(self, connection: Connection, home: Home, parent: str) -> None:
        """Remove all below one parent."""
        connection.execute(_EMPTY, (self._kind, home.account, home.region, parent))

    def let_go(self, connection: Connection, key: FunctionKey, qualifier: str | None) -> None:
        """Where these are of functions and their qualifiers: remove those of what is being removed."""
        if qualifier is None:
            self.empty(connection, key, key.name)
        else:
            self.remove(connection, key, f"{key.name}:{qualifier}")

    def _collect(
        self, connection: Connection, home: Home, after: str, count: int, parent: str | None, wanted: Document
    ) -> list[tuple[str, Document]]:
        found: list[tuple[str, Document]] = []
        while rows := self._rows(connection, home, after, count, parent):
            documents = [(name, orjson.loads(document)) for name, document in rows]
            found += [pair for pair in documents if wanted.items() <= {k: pair[1].get(k) for k in wanted}.items()]
            after = rows[-1][0]
            if len(found) >= count or len(rows) < count:
                break
        return found[:count]

    def _rows(
        self, connection: Connection, home: Home, after: str, limit: int, parent: str | None
    ) -> list[tuple[Any, ...]]:
        where = (self._kind, home.account, home.region, after)
        if parent is None:
            return connection.execute(_PAGE, (*where, limit))
        return connection.execute(_PAGE_OF_PARENT, (*where, parent, limit))


@dataclass(frozen=True, slots=True)
class Place:
    """Where an ARN points."""

    account: str
    region: str


def home_of(arn: str) -> Place:
    """The account and region in an ARN that has passed validation."""
    _, _, _, region, account, *_ = arn.split(":")
    return Place(account, region)


def name_of(arn: str) -> str:
    """The last part of an ARN."""
    return arn.rpartition(":")[2]


def is_of(arn: str, home: Home) -> bool:
    """Whether an ARN is of the account and region of `home`."""
    return home_of(arn) == Place(home.account, home.region)
