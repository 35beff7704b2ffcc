"""CopyObject and UploadPartCopy: content that is here already. Links where the file system has them."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambent.base.db import Connection, Database
from lambent.services.s3 import attributes, checksums, conditions, errors, store, tagging, uploads
from lambent.services.s3.buckets import Buckets
from lambent.services.s3.checksums import Digests
from lambent.services.s3.contents import Contents, Staged
from lambent.services.s3.names import key_of
from lambent.services.s3.objects_api import demand, named
from lambent.services.s3.records import Bucket, Received, Segment, Version
from lambent.services.s3.uploads_api import number_of
from lambent.services.s3.writes import Writes
from lambent.wire.operations import Context, Operations, Parameters

_LIMIT = 5 << 30  # bytes that are copied at once
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})")

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    bucket: Bucket
    version: Version
    segments: list[Segment]


class CopiesApi:
    """Handlers."""

    def __init__(self, db: Database, buckets: Buckets, contents: Contents, writes: Writes) -> None:
        self._db = db
        self._buckets = buckets
        self._contents = contents
        self._writes = writes

    def register(self, operations: Operations) -> None:
        operations.register("s3", "CopyObject", self.copy_object)
        operations.register("s3", "UploadPartCopy", self.upload_part_copy)

    async def _source(self, context: Context, parameters: Parameters) -> Source:
        """What `CopySource` names. Raises what GetObject does."""
        name, key, version = parse_source(parameters["CopySource"])
        owner = parameters.get("ExpectedSourceBucketOwner")
        bucket = self._buckets.named(context, {"Bucket": name} | ({"ExpectedBucketOwner": owner} if owner else {}))

        def work(connection: Connection) -> Source:
            found = demand(connection, bucket, key_of(key), version, "GET")
            return Source(bucket, found, store.segments(connection, found))

        source = await self._db.read(work)
        conditions.check_copy(parameters, source.version)
        return source

    async def copy_object(self, context: Context, parameters: Parameters) -> Answer:
        bucket = self._buckets.named(context, parameters)
        key_of(parameters["Key"])  # refused before the source is looked for
        source = await self._source(context, parameters)
        if source.version.size > _LIMIT:
            message = (
                "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120"
            )
            raise errors.invalid_request(message)
        said = _attributes(parameters, bucket, source)
        tags = source.version.tags
        if parameters.get("TaggingDirective") == "REPLACE":
            tags = tagging.of_header(parameters.get("Tagging"))
        algorithm, _ = checksums.named(parameters)
        held = source.version.attributes.get("Checksums", {})
        algorithm = algorithm or next(iter(held), "CRC64NVME")
        async with self._contents.staged() as staged:
            received = await self._copied(staged, source, algorithm)
            put = await self._writes.put(
                context, parameters, bucket, staged, received, said, tags, "ObjectCreated:Copy"
            )
        answer: dict[str, Any] = {"CopyObjectResult": _result(put.etag, put.modified, received)}
        if source.bucket.versioning:
            answer["CopySourceVersionId"] = source.version.id
        return answer | named(bucket, put) | attributes.encryption_shown(said)

    async def _copied(self, staged: Staged, source: Source, algorithm: str) -> Received:
        """The source's content under an id of its own; read only where a digest of it is not known yet."""
        version = source.version
        known = version.attributes.get("Checksums", {})
        if not version.parts and algorithm in known:
            try:
                content = await staged.copy(version.content)
            except FileNotFoundError:  # replaced or deleted meanwhile
                raise errors.no_key(version.name) from None
            return Received(content, version.size, bytes.fromhex(version.etag), {algorithm: known[algorithm]})
        return await self._read_again(staged, source, 0, version.size, algorithm)

    async def _read_again(self, staged: Staged, source: Source, start: int, stop: int, algorithm: str) -> Received:
        digests = Digests([algorithm])
        try:
            reading = self._contents.open(source.segments, start, stop)
        except FileNotFoundError:
            raise errors.no_key(source.version.name) from None
        try:
            content, size = await staged.write(aiter(reading), digests)
        finally:
            await reading.aclose()
        return Received(content, size, digests.md5, {algorithm: checksums.encoded(digests.value(algorithm))})

    async def upload_part_copy(self, context: Context, parameters: Parameters) -> Answer:
        bucket, key = self._buckets.named(context, parameters), key_of(parameters["Key"])
        number, identity = number_of(parameters), parameters["UploadId"]
        upload = await self._db.read(lambda connection: uploads.demand(connection, bucket, key, identity))
        source = await self._source(context, parameters)
        start, stop = _range(parameters.get("CopySourceRange"), source.version.size)
        algorithm = upload.attributes.get("Algorithm", "CRC64NVME")
        async with self._contents.staged() as staged:
            if (start, stop) == (0, source.version.size):
                received = await self._copied(staged, source, algorithm)
            else:
                received = await self._read_again(staged, source, start, stop, algorithm)
            part = await self._writes.put_part(bucket, key, identity, number, staged, received)
        answer: dict[str, Any] = {"CopyPartResult": _result(part.etag, part.modified, received)}
        if source.bucket.versioning:
            answer["CopySourceVersionId"] = source.version.id
        return answer | attributes.encryption_shown(upload.attributes)


def parse_source(text: str) -> tuple[str, str, str | None]:
    """(bucket, key, version id) of a `CopySource`: "bucket/key?versionId=…", percent-encoded."""
    path, _, query = text.partition("?versionId=")
    try:
        name = urllib.parse.unquote(path, errors="strict").removeprefix("/")
    except UnicodeDecodeError:
        name = ""
    bucket, slash, key = name.partition("/")
    if not bucket or not slash or not key:
        message = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey"
        raise errors.invalid_argument(message, "x-amz-copy-source", text)
    return bucket, key, urllib.parse.unquote(query) if query else None


def _attributes(parameters: Parameters, bucket: Bucket, source: Source) -> attributes.Attributes:
    """What is said of the copy: of the source, or by the request. InvalidRequest for a copy onto itself."""
    given = attributes.of_request(parameters, bucket)
    replacing = parameters.get("MetadataDirective", "COPY")
    if replacing not in ("COPY", "REPLACE"):
        raise errors.invalid_argument("Unknown metadata directive.", "x-amz-metadata-directive", replacing)
    onto_itself = source.bucket.id == bucket.id and source.version.name == parameters["Key"]
    changing = ("StorageClass", "ServerSideEncryption", "WebsiteRedirectLocation", "ChecksumAlgorithm")
    if (
        onto_itself
        and replacing == "COPY"
        and source.version.latest
        and not any(parameters.get(one) for one in changing)
    ):
        raise errors.invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the"
            " object's metadata, storage class, website redirect location or encryption attributes."
        )
    if replacing == "REPLACE":
        return given
    kept = attributes.shown(source.version.attributes, *attributes.HEADERS, "Metadata")
    kept.pop("WebsiteRedirectLocation", None)
    own = ("StorageClass", "Grants", "WebsiteRedirectLocation")
    return kept | attributes.encryption_shown(given) | attributes.shown(given, *own)


def _range(header: str | None, size: int) -> tuple[int, int]:
    if header is None:
        return 0, size
    match = _RANGE.fullmatch(header)
    if match is None or int(match[1]) > int(match[2]):
        message = (
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the"
            " zero-based offsets of the first and last bytes to copy"
        )
        raise errors.invalid_argument(message, "x-amz-copy-source-range", header)
    start, stop = int(match[1]), int(match[2]) + 1
    if stop > size:
        message = f"Range specified is not valid for source object of size: {size}"
        raise errors.invalid_argument(message, "x-amz-copy-source-range", header)
    return start, stop


def _result(etag: str, modified: float, received: Received) -> dict[str, Any]:
    shown = {"ETag": f'"{etag}"', "LastModified": attributes.moment(modified)}
    return shown | checksums.members(received.checksums) | {"ChecksumType": checksums.FULL}
