"""Identities, policies and keys in the database. Read inside `Database.read`, changed inside `Database.write`.

Names are stored as they were given and are unique whatever their case, as on AWS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from lambent.base.db import Connection, Migration
from lambent.services.iam.records import AccessKey, Identity, Kind, ManagedPolicy, Version

MIGRATIONS = (
    Migration(
        "iam",
        1,
        "roles, users, groups, managed policies and access keys",
        (
            "CREATE TABLE iam_identities (account TEXT NOT NULL, kind TEXT NOT NULL, folded TEXT NOT NULL,"
            " name TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (account, kind, folded))",
            "CREATE TABLE iam_policies (account TEXT NOT NULL, folded TEXT NOT NULL, arn TEXT NOT NULL UNIQUE,"
            " document TEXT NOT NULL, PRIMARY KEY (account, folded))",
            "CREATE TABLE iam_access_keys (id TEXT PRIMARY KEY, account TEXT NOT NULL, user_name TEXT NOT NULL,"
            " created DOUBLE PRECISION NOT NULL, sealed BLOB NOT NULL, active INTEGER NOT NULL)",
            "CREATE INDEX iam_access_keys_by_user ON iam_access_keys (account, user_name)",
        ),
    ),
    Migration(
        "iam",
        2,
        "when access keys were last used",
        (
            "CREATE TABLE iam_key_uses (id TEXT PRIMARY KEY, used DOUBLE PRECISION NOT NULL, service TEXT NOT NULL,"
            " region TEXT NOT NULL)",
        ),
    ),
)


# Identities


def add_identity(connection: Connection, identity: Identity) -> bool:
    """Whether the name was free."""
    made = connection.execute(
        "INSERT INTO iam_identities (account, kind, folded, name, document) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING RETURNING name",
        (*_key(identity.account, identity.kind, identity.name), identity.name, _dump(identity)),
    )
    return bool(made)


def put_identity(connection: Connection, identity: Identity) -> None:
    """In the place of what it was; its name stays."""
    connection.execute(
        "UPDATE iam_identities SET document = ? WHERE account = ? AND kind = ? AND folded = ?",
        (_dump(identity), *_key(identity.account, identity.kind, identity.name)),
    )


def find_identity(connection: Connection, account: str, kind: Kind, name: str) -> Identity | None:
    rows = connection.execute(
        "SELECT document FROM iam_identities WHERE account = ? AND kind = ? AND folded = ?",
        _key(account, kind, name),
    )
    return _identity(rows[0][0]) if rows else None


def remove_identity(connection: Connection, identity: Identity) -> None:
    connection.execute(
        "DELETE FROM iam_identities WHERE account = ? AND kind = ? AND folded = ?",
        _key(identity.account, identity.kind, identity.name),
    )


def identities(connection: Connection, account: str, kind: Kind | None = None) -> list[Identity]:
    """Of an account, in the order of their names."""
    query = "SELECT document FROM iam_identities WHERE account = ?"
    if kind is None:
        rows = connection.execute(f"{query} ORDER BY folded", (account,))
    else:
        rows = connection.execute(f"{query} AND kind = ? ORDER BY folded", (account, kind.value))
    return [_identity(document) for (document,) in rows]


# Managed policies


def add_policy(connection: Connection, policy: ManagedPolicy) -> bool:
    """Whether the name was free."""
    made = connection.execute(
        "INSERT INTO iam_policies (account, folded, arn, document) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING RETURNING arn",
        (policy.account, policy.name.lower(), policy.arn, _dump(policy)),
    )
    return bool(made)


def put_policy(connection: Connection, policy: ManagedPolicy) -> None:
    connection.execute("UPDATE iam_policies SET document = ? WHERE arn = ?", (_dump(policy), policy.arn))


def find_policy(connection: Connection, arn: str) -> ManagedPolicy | None:
    rows = connection.execute("SELECT document FROM iam_policies WHERE arn = ?", (arn,))
    return _policy(rows[0][0]) if rows else None


def remove_policy(connection: Connection, policy: ManagedPolicy) -> None:
    connection.execute("DELETE FROM iam_policies WHERE arn = ?", (policy.arn,))


def policies(connection: Connection, account: str) -> list[ManagedPolicy]:
    """Of an account, in the order of their names."""
    query = "SELECT document FROM iam_policies WHERE account = ? ORDER BY folded"
    return [_policy(document) for (document,) in connection.execute(query, (account,))]


# Access keys


def put_access_key(connection: Connection, key: AccessKey) -> None:
    connection.execute(
        "INSERT INTO iam_access_keys (id, account, user_name, created, sealed, active) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET active = excluded.active, user_name = excluded.user_name",
        (key.id, key.account, key.user, key.created, key.sealed, int(key.active)),
    )


def put_key_uses(connection: Connection, uses: Mapping[str, tuple[float, str, str]]) -> None:
    """When each was last used, for which service and in which region; of keys that are still there."""
    for key_id, use in uses.items():
        connection.execute(
            "INSERT INTO iam_key_uses (id, used, service, region) SELECT id, ?, ?, ? FROM iam_access_keys WHERE id = ?"
            " ON CONFLICT (id) DO UPDATE SET used = excluded.used, service = excluded.service,"
            " region = excluded.region",
            (*use, key_id),
        )


def key_uses(connection: Connection) -> dict[str, tuple[float, str, str]]:
    rows = connection.execute("SELECT id, used, service, region FROM iam_key_uses")
    return {key_id: (used, service, region) for key_id, used, service, region in rows}


def remove_access_key(connection: Connection, key: AccessKey) -> None:
    connection.execute("DELETE FROM iam_key_uses WHERE id = ?", (key.id,))
    connection.execute("DELETE FROM iam_access_keys WHERE id = ?", (key.id,))


def access_keys(connection: Connection, account: str, user: str) -> list[AccessKey]:
    """Of a user, oldest first."""
    query = (
        "SELECT id, account, user_name, created, sealed, active FROM iam_access_keys"
        " WHERE account = ? AND user_name = ? ORDER BY created, id"
    )
    return [_access_key(*row) for row in connection.execute(query, (account, user))]


def find_access_key(connection: Connection, key_id: str) -> AccessKey | None:
    query = "SELECT id, account, user_name, created, sealed, active FROM iam_access_keys WHERE id = ?"
    rows = connection.execute(query, (key_id,))
    return _access_key(*rows[0]) if rows else None


def every_access_key(connection: Connection) -> list[AccessKey]:
    query = "SELECT id, account, user_name, created, sealed, active FROM iam_access_keys"
    return [_access_key(*row) for row in connection.execute(query)]


def _key(account: str, kind: Kind, name: str) -> tuple[str, str, str]:
    return account, kind.value, name.lower()


def _dump(record: Identity | ManagedPolicy) -> str:
    return orjson.dumps(record).decode()


def _identity(document: str) -> Identity:
    members: dict[str, Any] = orjson.loads(document)
    members["kind"] = Kind(members["kind"])
    for name in ("attached", "groups"):
        members[name] = tuple(members[name])
    return Identity(**members)


def _policy(document: str) -> ManagedPolicy:
    members: dict[str, Any] = orjson.loads(document)
    members["versions"] = tuple(Version(**version) for version in members["versions"])
    return ManagedPolicy(**members)


def _access_key(key_id: str, account: str, user: str, created: float, sealed: bytes, active: int) -> AccessKey:
    return AccessKey(key_id, account, user, created, bytes(sealed), bool(active))
