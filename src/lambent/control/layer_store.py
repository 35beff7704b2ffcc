"""The layer versions of all accounts and regions, and the policy of each."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import orjson

from lambent.base.db import Connection, Database, Migration, Row
from lambent.control import quotas
from lambent.control.policies import Policy
from lambent.control.records import LayerKey, LayerVersion

_log = logging.getLogger("lambent.layers")

MIGRATIONS = (
    Migration(
        "layers",
        1,
        "layers",
        (
            # last: the highest number ever given, so that none is given again
            "CREATE TABLE layers (account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,"
            " last INTEGER NOT NULL, PRIMARY KEY (account, region, name))",
            # policy and revision: NULL while the version has no policy
            "CREATE TABLE layer_versions (account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,"
            " number INTEGER NOT NULL, document TEXT NOT NULL, policy TEXT, revision TEXT,"
            " PRIMARY KEY (account, region, name, number))",
        ),
    ),
    Migration("layers", 2, "tags of layers", ("ALTER TABLE layers ADD COLUMN tags TEXT",)),
)

_FIND = (
    "SELECT account, region, name, number, document, policy, revision FROM layer_versions"
    " WHERE account = ? AND region = ? AND name = ? AND number = ?"
)
_ANY = "SELECT 1 FROM layer_versions WHERE account = ? AND region = ? AND name = ? LIMIT 1"
_FORGET_TAGS = "UPDATE layers SET tags = NULL WHERE account = ? AND region = ? AND name = ?"
_DELETE = "DELETE FROM layer_versions WHERE account = ? AND region = ? AND name = ? AND number = ? RETURNING document"
_SET_POLICY = (
    "UPDATE layer_versions SET policy = ?, revision = ? WHERE account = ? AND region = ? AND name = ? AND number = ?"
)
_MEMBERS = ("digest", "code_size", "created", "description", "license_info", "runtimes", "architectures")


@dataclass(frozen=True, slots=True)
class Attached:
    """A layer version with its policy; an empty policy has no revision."""

    version: LayerVersion
    policy: Policy
    revision: str | None


class LayerStore:
    """Belongs to one event loop. Knows in memory which contents its versions refer to, and their sizes."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._references: Counter[str] = Counter()
        self._sizes: Counter[tuple[str, str]] = Counter()  # by account and region
        self._releasers: list[Callable[[str], None]] = []

    async def load(self) -> None:
        """Read once, at start, what is referred to."""
        query = "SELECT account, region, document FROM layer_versions"
        for account, region, document in await self._db.read(lambda connection: connection.execute(query)):
            members = orjson.loads(document)
            self._take(account, region, members["digest"], members["code_size"])

    def digests(self) -> set[str]:
        """The contents that some layer version refers to."""
        return set(self._references)

    def refers_to(self, digest: str) -> bool:
        return digest in self._references

    def code_size(self, account: str, region: str) -> int:
        """Bytes: the packages of an account's layer versions in a region."""
        return self._sizes[account, region]

    def on_release(self, callback: Callable[[str], None]) -> None:
        """Call `callback(digest)` on the loop once no layer version refers to that content any more."""
        self._releasers.append(callback)

    async def publish(self, version: LayerVersion, besides: Callable[[str, str], int]) -> LayerVersion:
        """Store `version` under the next number of its layer. Its blob must be durable.

        `besides` gives the bytes of code that an account stores in a region besides its layers. Raises
        CodeStorageExceededException when it would store too much with this version.
        """
        key = version.key

        def work(connection: Connection) -> LayerVersion:
            used = besides(key.account, key.region) + _code_size(connection, key.account, key.region)
            quotas.refuse_storage(used + version.code_size)
            [[number]] = connection.execute(
                "INSERT INTO layers (account, region, name, last) VALUES (?, ?, ?, 1)"
                " ON CONFLICT (account, region, name) DO UPDATE SET last = layers.last + 1 RETURNING last",
                (key.account, key.region, key.name),
            )
            numbered = replace(version, number=number)
            connection.execute(
                "INSERT INTO layer_versions (account, region, name, number, document) VALUES (?, ?, ?, ?, ?)",
                (key.account, key.region, key.name, number, _to_document(numbered)),
            )
            taken = (key.account, key.region, version.digest, version.code_size)
            connection.after_commit(lambda: self._take(*taken))
            return numbered

        return await self._db.write(work)

    async def find(self, key: LayerKey, number: int) -> Attached | None:
        return await self._db.read(lambda connection: find(connection, key, number))

    async def delete(self, key: LayerKey, number: int) -> None:
        """Nothing happens where there is no such version."""

        def work(connection: Connection) -> None:
            for (document,) in connection.execute(_DELETE, (key.account, key.region, key.name, number)):
                members = orjson.loads(document)
                gone = (key.account, key.region, members["digest"], members["code_size"])
                connection.after_commit(lambda gone=gone: self._let_go(*gone))  # type: ignore[misc]
            if not connection.execute(_ANY, (key.account, key.region, key.name)):
                connection.execute(_FORGET_TAGS, (key.account, key.region, key.name))

        await self._db.write(work)

    async def change_policy(
        self, key: LayerKey, number: int, revision: str, change: Callable[[Attached | None], Policy]
    ) -> None:
        """Put what `change` makes of the version in the place of its policy, under a new `revision`.

        What `change` raises comes out here, and nothing has changed.
        """

        def work(connection: Connection) -> None:
            policy = change(find(connection, key, number))
            values = (policy.document(), revision) if policy.statements else (None, None)
            connection.execute(_SET_POLICY, (*values, key.account, key.region, key.name, number))

        await self._db.write(work)

    async def tags(self, key: LayerKey) -> Mapping[str, str] | None:
        """None when there is no such layer."""
        return await self._db.read(lambda connection: _tags(connection, key))

    async def change_tags(self, key: LayerKey, change: Callable[[Mapping[str, str]], dict[str, str]]) -> bool:
        """Put what `change` makes of them in their place; False when there is no such layer."""

        def work(connection: Connection) -> bool:
            tags = _tags(connection, key)
            if tags is None:
                return False
            query = "UPDATE layers SET tags = ? WHERE account = ? AND region = ? AND name = ?"
            connection.execute(query, (orjson.dumps(change(tags)).decode(), key.account, key.region, key.name))
            return True

        return await self._db.write(work)

    async def versions(self, key: LayerKey) -> list[LayerVersion]:
        """Newest first."""
        query = (
            "SELECT account, region, name, number, document FROM layer_versions"
            " WHERE account = ? AND region = ? AND name = ? ORDER BY number DESC"
        )
        params = (key.account, key.region, key.name)
        rows = await self._db.read(lambda connection: connection.execute(query, params))
        return [_from_row(row) for row in rows]

    async def layers(self, account: str, region: str, after: str) -> list[LayerVersion]:
        """The versions of the layers whose names come after `after`: by name, the newest version of each first."""
        query = (
            "SELECT account, region, name, number, document FROM layer_versions"
            " WHERE account = ? AND region = ? AND name > ? ORDER BY name, number DESC"
        )
        rows = await self._db.read(lambda connection: connection.execute(query, (account, region, after)))
        return [_from_row(row) for row in rows]

    def _take(self, account: str, region: str, digest: str, size: int) -> None:
        self._references[digest] += 1
        self._sizes[account, region] += size

    def _let_go(self, account: str, region: str, digest: str, size: int) -> None:
        self._references[digest] -= 1
        self._sizes[account, region] -= size
        if self._references[digest]:
            return
        del self._references[digest]
        for releaser in self._releasers:
            try:
                releaser(digest)
            except Exception:
                _log.exception("a watcher of the layer store failed")


def _code_size(connection: Connection, account: str, region: str) -> int:
    query = "SELECT document FROM layer_versions WHERE account = ? AND region = ?"
    return sum(orjson.loads(document)["code_size"] for (document,) in connection.execute(query, (account, region)))


def _tags(connection: Connection, key: LayerKey) -> dict[str, str] | None:
    names = (key.account, key.region, key.name)
    query = "SELECT tags FROM layers WHERE account = ? AND region = ? AND name = ?"
    if not connection.execute(_ANY, names):
        return None
    [[tags]] = connection.execute(query, names)
    found: dict[str, str] = orjson.loads(tags) if tags else {}
    return found


def find(connection: Connection, key: LayerKey, number: int) -> Attached | None:
    rows = connection.execute(_FIND, (key.account, key.region, key.name, number))
    if not rows:
        return None
    *version, policy, revision = rows[0]
    return Attached(_from_row(tuple(version)), Policy.of(policy), revision)


def _to_document(version: LayerVersion) -> str:
    return orjson.dumps({name: getattr(version, name) for name in _MEMBERS}).decode()


def _from_row(row: Row) -> LayerVersion:
    account, region, name, number, document = row
    members = orjson.loads(document)
    for lists in ("runtimes", "architectures"):
        if members[lists] is not None:
            members[lists] = tuple(members[lists])
    return LayerVersion(LayerKey(account, region, name), number, **members)
