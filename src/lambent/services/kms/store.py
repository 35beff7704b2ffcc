"""Keys, aliases and grants in the database. Read inside `Database.read`, changed inside `Database.write`."""

from __future__ import annotations

from typing import Any

import orjson

from lambent.base.db import Connection, Migration
from lambent.services.kms.records import Alias, Grant, Key, Material

MIGRATIONS = (
    Migration(
        "kms",
        1,
        "keys, aliases and grants",
        (
            "CREATE TABLE kms_root (sealed BLOB NOT NULL)",
            "CREATE TABLE kms_keys (id TEXT PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL,"
            " document TEXT NOT NULL)",
            "CREATE INDEX kms_keys_by_home ON kms_keys (account, region, id)",
            "CREATE TABLE kms_aliases (account TEXT NOT NULL, region TEXT NOT NULL, name TEXT NOT NULL,"
            " document TEXT NOT NULL, PRIMARY KEY (account, region, name))",
            "CREATE TABLE kms_grants (id TEXT PRIMARY KEY, key_id TEXT NOT NULL, document TEXT NOT NULL)",
            "CREATE INDEX kms_grants_by_key ON kms_grants (key_id, id)",
        ),
    ),
)


def put_key(connection: Connection, key: Key) -> Key:
    """Store a new key, or one in the place of what it was."""
    connection.execute(
        "INSERT INTO kms_keys (id, account, region, document) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET document = excluded.document",
        (key.id, key.account, key.region, _dump(key)),
    )
    return key


def find_key(connection: Connection, key_id: str) -> Key | None:
    rows = connection.execute("SELECT document FROM kms_keys WHERE id = ?", (key_id,))
    return _key(rows[0][0]) if rows else None


def keys(connection: Connection, account: str, region: str, after: str, count: int) -> list[Key]:
    query = "SELECT document FROM kms_keys WHERE account = ? AND region = ? AND id > ? ORDER BY id LIMIT ?"
    return [_key(document) for (document,) in connection.execute(query, (account, region, after, count))]


def remove_key(connection: Connection, key: Key) -> None:
    """With its aliases and grants: what it has encrypted is lost."""
    connection.execute("DELETE FROM kms_grants WHERE key_id = ?", (key.id,))
    for alias in aliases(connection, key.account, key.region, target=key.id):
        remove_alias(connection, alias)
    connection.execute("DELETE FROM kms_keys WHERE id = ?", (key.id,))


def overdue(connection: Connection, now: float) -> list[Key]:
    """The keys whose day has come."""
    every = [_key(document) for (document,) in connection.execute("SELECT document FROM kms_keys")]
    return [key for key in every if key.deletion is not None and key.deletion <= now]


def put_alias(connection: Connection, alias: Alias) -> Alias:
    connection.execute(
        "INSERT INTO kms_aliases (account, region, name, document) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (account, region, name) DO UPDATE SET document = excluded.document",
        (alias.account, alias.region, alias.name, _dump(alias)),
    )
    return alias


def find_alias(connection: Connection, account: str, region: str, name: str) -> Alias | None:
    query = "SELECT document FROM kms_aliases WHERE account = ? AND region = ? AND name = ?"
    rows = connection.execute(query, (account, region, name))
    return Alias(**orjson.loads(rows[0][0])) if rows else None


def remove_alias(connection: Connection, alias: Alias) -> None:
    query = "DELETE FROM kms_aliases WHERE account = ? AND region = ? AND name = ?"
    connection.execute(query, (alias.account, alias.region, alias.name))


def aliases(connection: Connection, account: str, region: str, *, target: str | None = None) -> list[Alias]:
    """In the order of their names."""
    query = "SELECT document FROM kms_aliases WHERE account = ? AND region = ? ORDER BY name"
    every = [Alias(**orjson.loads(document)) for (document,) in connection.execute(query, (account, region))]
    return [alias for alias in every if target is None or alias.target == target]


def put_grant(connection: Connection, grant: Grant) -> Grant:
    query = "INSERT INTO kms_grants (id, key_id, document) VALUES (?, ?, ?)"
    connection.execute(query, (grant.id, grant.key_id, _dump(grant)))
    return grant


def grants(connection: Connection, key_id: str | None = None) -> list[Grant]:
    """Those of one key, or all, in the order of their ids."""
    if key_id is None:
        rows = connection.execute("SELECT document FROM kms_grants ORDER BY id")
    else:
        rows = connection.execute("SELECT document FROM kms_grants WHERE key_id = ? ORDER BY id", (key_id,))
    return [_grant(document) for (document,) in rows]


def remove_grant(connection: Connection, grant: Grant) -> None:
    connection.execute("DELETE FROM kms_grants WHERE id = ?", (grant.id,))


def _dump(record: Key | Alias | Grant) -> str:
    return orjson.dumps(record).decode()


def _key(document: str) -> Key:
    members: dict[str, Any] = orjson.loads(document)
    members["materials"] = tuple(Material(**material) for material in members["materials"])
    members["tags"] = tuple((name, value) for name, value in members["tags"])
    return Key(**members)


def _grant(document: str) -> Grant:
    members: dict[str, Any] = orjson.loads(document)
    members["operations"] = tuple(members["operations"])
    return Grant(**members)
