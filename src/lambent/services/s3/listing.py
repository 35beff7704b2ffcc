"""Pages of keys in the order of their bytes, those below a delimiter rolled up into their common prefix.

A common prefix costs one step into an index however many keys it stands for, so a page costs what it shows.
"""

# ruff: noqa: S608  only constants are put together; every value is a parameter

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from lambent.base.db import Connection
from lambent.services.s3.records import Bucket, Upload, Version
from lambent.services.s3.store import COLUMNS, version_of

T = TypeVar("T")
_FIRST = 2  # rows read after a common prefix, when most of what follows may be rolled up as well
_MOST = 1000
_FAR = 1 << 62  # a seq that no version reaches


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: behind this. `within`: with more of the same key, from before the `seq` or `text`."""

    key: bytes = b""
    within: bool = False
    seq: int = _FAR
    text: str = ""

    def skips(self, prefix: bytes) -> bool:
        """Whether a common prefix has been shown before this place."""
        return not self.within and prefix <= self.key


@dataclass(frozen=True, slots=True)
class Wanted:
    prefix: bytes
    delimiter: bytes
    most: int
    start: Place


@dataclass(slots=True)
class Page(Generic[T]):
    items: list[T] = field(default_factory=list)
    prefixes: list[bytes] = field(default_factory=list)
    truncated: bool = False
    last: T | bytes | None = None  # what the page ends with: an item or a common prefix

    @property
    def count(self) -> int:
        return len(self.items) + len(self.prefixes)


Fetch = Callable[[Place, int], list[T]]
"""Up to so many items behind a place, in order."""


def collect(wanted: Wanted, fetch: Fetch[T], place_of: Callable[[T], Place]) -> Page[T]:
    """A page of what `fetch` gives."""
    page: Page[T] = Page()
    place, batch = wanted.start, wanted.most + 1 if not wanted.delimiter else min(wanted.most + 1, 64)
    if wanted.most == 0:
        return page
    if place.key < wanted.prefix:
        place = Place(wanted.prefix, within=True)
    while True:
        items = fetch(place, batch)
        for item in items:
            found = place_of(item)
            if not found.key.startswith(wanted.prefix):
                return page
            group = _group(found.key, wanted)
            if group is not None and wanted.start.skips(group):
                place, batch = Place(_behind(group), within=True), _FIRST
                break
            if page.count >= wanted.most:
                page.truncated = True
                return page
            if group is not None:
                page.prefixes.append(group)
                page.last = group
                place, batch = Place(_behind(group), within=True), _FIRST
                break
            page.items.append(item)
            page.last = item
            place = found
        else:
            if len(items) < batch:
                return page
            batch = min(batch * 4, _MOST)


def _group(key: bytes, wanted: Wanted) -> bytes | None:
    if not wanted.delimiter:
        return None
    at = key.find(wanted.delimiter, len(wanted.prefix))
    return key[: at + len(wanted.delimiter)] if at >= 0 else None


def _behind(prefix: bytes) -> bytes:
    """The first of the byte strings that follow all that start with `prefix`. UTF-8 has no byte 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def current_objects(connection: Connection, bucket: Bucket, wanted: Wanted) -> Page[Version]:
    def fetch(place: Place, most: int) -> list[Version]:
        compare = ">=" if place.within else ">"
        query = (
            f"SELECT {COLUMNS} FROM s3_versions WHERE bucket = ? AND key {compare} ? AND latest = 1 AND marker = 0"
            " ORDER BY key LIMIT ?"
        )
        return [version_of(row) for row in connection.execute(query, (bucket.id, place.key, most))]

    return collect(wanted, fetch, lambda version: Place(version.key))


def versions(connection: Connection, bucket: Bucket, wanted: Wanted) -> Page[Version]:
    """Of each key the newest first."""

    def fetch(place: Place, most: int) -> list[Version]:
        if place.within and place.seq == _FAR:
            where, values = "key >= ?", (place.key,)
        elif place.within:
            where, values = "key >= ? AND (key > ? OR seq < ?)", (place.key, place.key, place.seq)  # type: ignore[assignment]
        else:
            where, values = "key > ?", (place.key,)
        query = f"SELECT {COLUMNS} FROM s3_versions WHERE bucket = ? AND {where} ORDER BY key, seq DESC LIMIT ?"
        return [version_of(row) for row in connection.execute(query, (bucket.id, *values, most))]

    return collect(wanted, fetch, lambda version: Place(version.key, within=True, seq=version.seq))


def uploads(wanted: Wanted, fetch: Fetch[Upload]) -> Page[Upload]:
    """Of each key in the order of their ids."""
    return collect(wanted, fetch, lambda upload: Place(upload.key, within=True, text=upload.id))
