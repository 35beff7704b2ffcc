"""Buckets and versions as the database keeps them.

Whatever changes the database runs inside a transaction of the caller's; contents that no row names any more come back
from it, to be released after the commit.
"""

# ruff: noqa: S608  only constants are put together; every value is a parameter

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from lambent.base.db import Connection, Migration, Row
from lambent.services.s3 import errors
from lambent.services.s3.records import NULL, Bucket, Segment, Version, Versioning

MIGRATIONS = (
    Migration(
        "s3",
        1,
        "buckets and objects",
        (
            "CREATE TABLE s3_buckets (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, account TEXT NOT NULL,"
            " region TEXT NOT NULL, created DOUBLE PRECISION NOT NULL, versioning TEXT NOT NULL,"
            " configurations TEXT NOT NULL)",
            # The newest version of a key has the largest seq; keys are bytes, and so in the order of UTF-8.
            "CREATE TABLE s3_versions (seq INTEGER PRIMARY KEY, bucket INTEGER NOT NULL REFERENCES s3_buckets (id),"
            " key BLOB NOT NULL, version TEXT NOT NULL, latest INTEGER NOT NULL, marker INTEGER NOT NULL,"
            " modified DOUBLE PRECISION NOT NULL, size BIGINT NOT NULL, etag TEXT NOT NULL, content TEXT NOT NULL,"
            " parts INTEGER NOT NULL, attributes TEXT NOT NULL, tags TEXT NOT NULL)",
            "CREATE INDEX s3_by_key ON s3_versions (bucket, key, seq DESC)",
            "CREATE INDEX s3_by_version ON s3_versions (bucket, key, version)",
            "CREATE INDEX s3_current ON s3_versions (bucket, key) WHERE latest = 1 AND marker = 0",
            "CREATE TABLE s3_segments (seq INTEGER NOT NULL REFERENCES s3_versions (seq) ON DELETE CASCADE,"
            " number INTEGER NOT NULL, content TEXT NOT NULL, size BIGINT NOT NULL, checksum TEXT NOT NULL,"
            " PRIMARY KEY (seq, number))",
            "CREATE TABLE s3_uploads (id TEXT PRIMARY KEY, bucket INTEGER NOT NULL REFERENCES s3_buckets (id),"
            " key BLOB NOT NULL, initiated DOUBLE PRECISION NOT NULL, account TEXT NOT NULL, attributes TEXT NOT NULL,"
            " tags TEXT NOT NULL)",
            "CREATE INDEX s3_uploads_by_key ON s3_uploads (bucket, key, id)",
            "CREATE TABLE s3_parts (upload TEXT NOT NULL REFERENCES s3_uploads (id) ON DELETE CASCADE,"
            " number INTEGER NOT NULL, content TEXT NOT NULL, size BIGINT NOT NULL, etag TEXT NOT NULL,"
            " modified DOUBLE PRECISION NOT NULL, checksums TEXT NOT NULL, PRIMARY KEY (upload, number))",
        ),
    ),
)

COLUMNS = "seq, key, version, latest, marker, modified, size, etag, content, parts, attributes, tags"


def document(value: Mapping[str, Any]) -> str:
    return orjson.dumps(value).decode() if value else ""


def loaded(text: str) -> dict[str, Any]:
    return dict(orjson.loads(text)) if text else {}


# Buckets


_BUCKETS = "SELECT id, name, account, region, created, versioning, configurations FROM s3_buckets"


def buckets(connection: Connection) -> list[Bucket]:
    return [_bucket_of(row) for row in connection.execute(_BUCKETS)]


def bucket(connection: Connection, name: str) -> Bucket | None:
    rows = connection.execute(f"{_BUCKETS} WHERE name = ?", (name,))
    return _bucket_of(rows[0]) if rows else None


def _bucket_of(row: Row) -> Bucket:
    *columns, configurations = row
    return Bucket(*(*columns, loaded(configurations)))


def insert_bucket(connection: Connection, bucket: Bucket) -> Bucket:
    query = (
        "INSERT INTO s3_buckets (name, account, region, created, versioning, configurations)"
        " VALUES (?, ?, ?, ?, ?, ?) RETURNING id"
    )
    values = (bucket.name, bucket.account, bucket.region, bucket.created, bucket.versioning)
    [(number,)] = connection.execute(query, (*values, document(bucket.configurations)))
    return replace(bucket, id=number)


def update_bucket(connection: Connection, bucket: Bucket) -> None:
    query = "UPDATE s3_buckets SET versioning = ?, configurations = ? WHERE id = ?"
    connection.execute(query, (bucket.versioning, document(bucket.configurations), bucket.id))


def is_empty(connection: Connection, bucket: Bucket) -> bool:
    return not connection.execute("SELECT 1 FROM s3_versions WHERE bucket = ? LIMIT 1", (bucket.id,))


def delete_bucket(connection: Connection, bucket: Bucket) -> None:
    """An empty one. Its uploads have gone before."""
    connection.execute("DELETE FROM s3_buckets WHERE id = ?", (bucket.id,))


def demand(connection: Connection, bucket: Bucket) -> Bucket:
    """The bucket as it is in this transaction. NoSuchBucket when it has gone meanwhile."""
    rows = connection.execute(f"{_BUCKETS} WHERE id = ?", (bucket.id,))
    if not rows:
        raise errors.no_bucket(bucket.name)
    return _bucket_of(rows[0])


# Versions


def version_of(row: Row) -> Version:
    """From `COLUMNS`."""
    seq, key, version, latest, marker, modified, size, etag, content, parts, attributes, tags = row
    return Version(
        seq, bytes(key), version, bool(latest), bool(marker), modified, size, etag, content, parts,
        loaded(attributes), loaded(tags),
    )  # fmt: skip


def current(connection: Connection, bucket: Bucket, key: bytes) -> Version | None:
    """The latest version, be it a delete marker."""
    query = f"SELECT {COLUMNS} FROM s3_versions WHERE bucket = ? AND key = ? ORDER BY seq DESC LIMIT 1"
    rows = connection.execute(query, (bucket.id, key))
    return version_of(rows[0]) if rows else None


def find(connection: Connection, bucket: Bucket, key: bytes, version: str | None) -> Version | None:
    """The version that is named, else the latest."""
    if version is None:
        return current(connection, bucket, key)
    query = f"SELECT {COLUMNS} FROM s3_versions WHERE bucket = ? AND key = ? AND version = ?"
    rows = connection.execute(query, (bucket.id, key, version))
    return version_of(rows[0]) if rows else None


def put(connection: Connection, bucket: Bucket, version: Version, versioning: Versioning) -> list[str]:
    """Make `version` the latest of its key; the contents of what it replaces.

    Its id is the null version's unless the bucket keeps versions.
    """
    replaced: list[str] = []
    if versioning != "Enabled" and (old := find(connection, bucket, version.key, NULL)) is not None:
        replaced = remove_row(connection, old)
    query = "UPDATE s3_versions SET latest = 0 WHERE bucket = ? AND key = ? AND latest = 1"
    connection.execute(query, (bucket.id, version.key))
    _insert(connection, bucket, version)
    return replaced


def _insert(connection: Connection, bucket: Bucket, version: Version) -> None:
    connection.execute(
        "INSERT INTO s3_versions (bucket, key, version, latest, marker, modified, size, etag, content, parts,"
        " attributes, tags) VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(bucket.id, version.key, version.id, int(version.marker), version.modified, version.size, version.etag),
            *(version.content, version.parts, document(version.attributes), document(version.tags)),
        ),
    )


def add_segments(connection: Connection, bucket: Bucket, key: bytes, segments: Iterable[Segment]) -> None:
    """To the version that was put last."""
    [(seq,)] = connection.execute(
        "SELECT seq FROM s3_versions WHERE bucket = ? AND key = ? ORDER BY seq DESC LIMIT 1", (bucket.id, key)
    )
    query = "INSERT INTO s3_segments (seq, number, content, size, checksum) VALUES (?, ?, ?, ?, ?)"
    for segment in segments:
        connection.execute(query, (seq, segment.number, segment.content, segment.size, segment.checksum))


def remove(connection: Connection, bucket: Bucket, version: Version) -> list[str]:
    """A version, for good; its contents. Where it was the latest, the one before it is now."""
    released = remove_row(connection, version)
    if version.latest:
        connection.execute(
            "UPDATE s3_versions SET latest = 1 WHERE seq ="
            " (SELECT seq FROM s3_versions WHERE bucket = ? AND key = ? ORDER BY seq DESC LIMIT 1)",
            (bucket.id, version.key),
        )
    return released


def remove_row(connection: Connection, version: Version) -> list[str]:
    contents = [version.content] if version.content else []
    if version.parts:
        query = "SELECT content FROM s3_segments WHERE seq = ?"
        contents += [content for (content,) in connection.execute(query, (version.seq,))]
    connection.execute("DELETE FROM s3_versions WHERE seq = ?", (version.seq,))
    return contents


def segments(connection: Connection, version: Version) -> list[Segment]:
    """What the content of a version is made of."""
    if not version.parts:
        return [Segment(1, version.content, version.size)] if version.size else []
    query = "SELECT number, content, size, checksum FROM s3_segments WHERE seq = ? ORDER BY number"
    return [Segment(*row) for row in connection.execute(query, (version.seq,))]


def set_tags(connection: Connection, version: Version, tags: Mapping[str, str]) -> None:
    connection.execute("UPDATE s3_versions SET tags = ? WHERE seq = ?", (document(tags), version.seq))


def set_attributes(connection: Connection, version: Version, attributes: Mapping[str, Any]) -> None:
    query = "UPDATE s3_versions SET attributes = ? WHERE seq = ?"
    connection.execute(query, (document(attributes), version.seq))


def contents(connection: Connection) -> set[str]:
    """Every file that a row names."""
    query = "SELECT content FROM s3_versions UNION SELECT content FROM s3_segments UNION SELECT content FROM s3_parts"
    return {content for (content,) in connection.execute(query)}
