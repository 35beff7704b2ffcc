"""The operations that list what a bucket holds."""

from __future__ import annotations

import base64
import binascii
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from lambent.base.db import Connection, Database
from lambent.services.s3 import attributes, errors, listing, names, store
from lambent.services.s3.buckets import Buckets
from lambent.services.s3.listing import Page, Place, Wanted
from lambent.services.s3.records import Bucket, Version
from lambent.wire.operations import Context, Operations, Parameters

_MOST = 1000

Answer = Mapping[str, Any]
Encode = Callable[[str], str]


class ListingApi:
    """Handlers."""

    def __init__(self, db: Database, buckets: Buckets) -> None:
        self._db = db
        self._buckets = buckets

    def register(self, operations: Operations) -> None:
        operations.register("s3", "ListObjects", self.list_objects)
        operations.register("s3", "ListObjectsV2", self.list_objects_v2)
        operations.register("s3", "ListObjectVersions", self.list_object_versions)

    async def list_objects(self, context: Context, parameters: Parameters) -> Answer:
        bucket, encode = self._buckets.named(context, parameters), encoder(parameters)
        marker = parameters.get("Marker", "")
        wanted = wanted_of(parameters, "MaxKeys", Place(marker.encode()))
        page = await self._current(bucket, wanted)
        answer = self._shown(bucket, parameters, page, wanted, encode, owner=True)
        answer["Marker"] = encode(marker)
        if page.truncated and wanted.delimiter:
            answer["NextMarker"] = encode(_last(page).decode())
        return answer

    async def list_objects_v2(self, context: Context, parameters: Parameters) -> Answer:
        bucket, encode = self._buckets.named(context, parameters), encoder(parameters)
        after, token = parameters.get("StartAfter", ""), parameters.get("ContinuationToken")
        wanted = wanted_of(parameters, "MaxKeys", Place(after.encode() if token is None else _read(token)))
        page = await self._current(bucket, wanted)
        owner = parameters.get("FetchOwner", False)
        answer = self._shown(bucket, parameters, page, wanted, encode, owner=owner) | {"KeyCount": page.count}
        if after:
            answer["StartAfter"] = encode(after)
        if token is not None:
            answer["ContinuationToken"] = token
        if page.truncated:
            answer["NextContinuationToken"] = base64.urlsafe_b64encode(b"1" + _last(page)).decode()
        return answer

    async def _current(self, bucket: Bucket, wanted: Wanted) -> Page[Version]:
        return await self._db.read(lambda connection: listing.current_objects(connection, bucket, wanted))

    def _shown(
        self,
        bucket: Bucket,
        parameters: Parameters,
        page: Page[Version],
        wanted: Wanted,
        encode: Encode,
        *,
        owner: bool,
    ) -> dict[str, Any]:
        answer = frame(parameters, page, wanted, encode) | {"Name": bucket.name, "MaxKeys": wanted.most}
        shown = [_object(version, encode) for version in page.items]
        if owner:
            for item in shown:
                item["Owner"] = {"ID": names.canonical_user(bucket.account)}
        return answer | ({"Contents": shown} if shown else {})

    async def list_object_versions(self, context: Context, parameters: Parameters) -> Answer:
        bucket, encode = self._buckets.named(context, parameters), encoder(parameters)
        key, version = parameters.get("KeyMarker", ""), parameters.get("VersionIdMarker")
        if version is not None and not key:
            message = "A version-id marker cannot be specified without a key marker."
            raise errors.invalid_argument(message, "version-id-marker", version)

        def work(connection: Connection) -> tuple[Page[Version], Wanted]:
            place = Place(key.encode())
            if version:
                found = store.find(connection, bucket, key.encode(), version)
                place = Place(key.encode(), within=True, seq=found.seq) if found is not None else place
            wanted = wanted_of(parameters, "MaxKeys", place)
            return listing.versions(connection, bucket, wanted), wanted

        page, wanted = await self._db.read(work)
        answer = frame(parameters, page, wanted, encode) | {"Name": bucket.name, "MaxKeys": wanted.most}
        answer |= {"KeyMarker": encode(key), "VersionIdMarker": version or ""}
        if page.truncated:
            answer["NextKeyMarker"] = encode(_last(page).decode())
            if isinstance(page.last, Version):
                answer["NextVersionIdMarker"] = page.last.id
        owner = {"Owner": {"ID": names.canonical_user(bucket.account)}}
        for kind, marker in (("Versions", False), ("DeleteMarkers", True)):
            if shown := [_version(one, encode) | owner for one in page.items if one.marker is marker]:
                answer[kind] = shown
        return answer


def encoder(parameters: Parameters) -> Encode:
    """How keys are written: as they are, or as `EncodingType` says."""
    kind = parameters.get("EncodingType")
    if kind is None:
        return lambda text: text
    if kind != "url":
        raise errors.invalid_argument("Invalid Encoding Method specified in Request", "encoding-type", kind)
    return lambda text: urllib.parse.quote_plus(text, safe="/")


def wanted_of(parameters: Parameters, limit: str, start: Place) -> Wanted:
    """What a request wants listed; `limit` is the member that bounds the page."""
    most = parameters.get(limit, _MOST)
    if most < 0:
        name = "max-keys" if limit == "MaxKeys" else "max-uploads"
        raise errors.invalid_argument(f"Argument {name} must be an integer between 0 and 2147483647", name, str(most))
    prefix, delimiter = parameters.get("Prefix", ""), parameters.get("Delimiter", "")
    return Wanted(prefix.encode(), delimiter.encode(), min(most, _MOST), start)


def frame(parameters: Parameters, page: Page[Any], wanted: Wanted, encode: Encode) -> dict[str, Any]:
    """What all lists have."""
    answer: dict[str, Any] = {"IsTruncated": page.truncated, "Prefix": encode(parameters.get("Prefix", ""))}
    if wanted.delimiter:
        answer["Delimiter"] = encode(parameters["Delimiter"])
    if "EncodingType" in parameters:
        answer["EncodingType"] = parameters["EncodingType"]
    if page.prefixes:
        answer["CommonPrefixes"] = [{"Prefix": encode(prefix.decode())} for prefix in page.prefixes]
    return answer


def _object(version: Version, encode: Encode) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "Key": encode(version.name),
        "LastModified": attributes.moment(version.modified),
        "ETag": f'"{version.etag}"',
        "Size": version.size,
        "StorageClass": version.attributes.get("StorageClass", "STANDARD"),
    }
    if held := version.attributes.get("Checksums"):
        shown |= {"ChecksumAlgorithm": list(held), "ChecksumType": version.attributes.get("ChecksumType")}
    return shown


def _version(version: Version, encode: Encode) -> dict[str, Any]:
    more = {"VersionId": version.id, "IsLatest": version.latest}
    if version.marker:
        return {"Key": encode(version.name), "LastModified": attributes.moment(version.modified)} | more
    return _object(version, encode) | more


def _last(page: Page[Version]) -> bytes:
    return page.last.key if isinstance(page.last, Version) else page.last or b""


def _read(token: str) -> bytes:
    try:
        found = base64.b64decode(token.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if found[:1] != b"1":
        message = "The continuation token provided is incorrect"
        raise errors.invalid_argument(message, "continuation-token", token)
    return found[1:]
