"""Multipart uploads as the database keeps them. All of it inside transactions of the caller's."""

from __future__ import annotations

from lambent.base.db import Connection, Row
from lambent.services.s3 import errors
from lambent.services.s3.records import Bucket, Part, Upload
from lambent.services.s3.store import document, loaded

_UPLOADS = "SELECT id, bucket, key, initiated, account, attributes, tags FROM s3_uploads"
_PARTS = "SELECT number, content, size, etag, modified, checksums FROM s3_parts WHERE upload = ?"


def insert(connection: Connection, upload: Upload) -> None:
    connection.execute(
        "INSERT INTO s3_uploads (id, bucket, key, initiated, account, attributes, tags) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *(upload.id, upload.bucket, upload.key, upload.initiated, upload.account),
            *(document(upload.attributes), document(upload.tags)),
        ),
    )


def demand(connection: Connection, bucket: Bucket, key: bytes, upload: str) -> Upload:
    """Raises NoSuchUpload."""
    rows = connection.execute(f"{_UPLOADS} WHERE id = ? AND bucket = ? AND key = ?", (upload, bucket.id, key))
    if not rows:
        raise errors.no_upload(upload)
    return _upload_of(rows[0])


def page(connection: Connection, bucket: Bucket, after: tuple[bytes, str], prefix: bytes, most: int) -> list[Upload]:
    """Up to `most` whose (key, id) follow `after`, among those whose key starts with `prefix`."""
    key, upload = after
    query = f"{_UPLOADS} WHERE bucket = ? AND key >= ? AND (key > ? OR (key = ? AND id > ?)) ORDER BY key, id LIMIT ?"
    rows = connection.execute(query, (bucket.id, max(prefix, key), key, key, upload, most))
    return [one for one in map(_upload_of, rows) if one.key.startswith(prefix)]


def old(connection: Connection, before: float) -> list[Upload]:
    """Those that began before a time."""
    return [_upload_of(row) for row in connection.execute(f"{_UPLOADS} WHERE initiated < ?", (before,))]


def _upload_of(row: Row) -> Upload:
    identity, bucket, key, initiated, account, attributes, tags = row
    return Upload(identity, bucket, bytes(key), initiated, loaded(attributes), loaded(tags), account)


def put_part(connection: Connection, upload: str, part: Part) -> list[str]:
    """A part, in place of one with the same number; the content of that."""
    query = "SELECT content FROM s3_parts WHERE upload = ? AND number = ?"
    replaced = [content for (content,) in connection.execute(query, (upload, part.number))]
    connection.execute(
        "INSERT INTO s3_parts (upload, number, content, size, etag, modified, checksums) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (upload, number) DO UPDATE SET content = excluded.content, size = excluded.size,"
        " etag = excluded.etag, modified = excluded.modified, checksums = excluded.checksums",
        (upload, part.number, part.content, part.size, part.etag, part.modified, document(part.checksums)),
    )
    return replaced


def parts(connection: Connection, upload: str, after: int = 0, most: int = 10_000) -> list[Part]:
    rows = connection.execute(f"{_PARTS} AND number > ? ORDER BY number LIMIT ?", (upload, after, most))
    return [Part(*(*row[:5], loaded(row[5]))) for row in rows]


def remove(connection: Connection, upload: str) -> list[str]:
    """An upload and its parts; their contents."""
    contents = [
        content for (content,) in connection.execute("SELECT content FROM s3_parts WHERE upload = ?", (upload,))
    ]
    connection.execute("DELETE FROM s3_uploads WHERE id = ?", (upload,))
    return contents


def abort_all(connection: Connection, bucket: Bucket) -> list[str]:
    """Those of a bucket; their contents."""
    found = connection.execute("SELECT id FROM s3_uploads WHERE bucket = ?", (bucket.id,))
    return [content for (upload,) in found for content in remove(connection, upload)]
