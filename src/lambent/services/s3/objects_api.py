"""The operations on single objects: put, get, head, delete, tags, attributes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database
from lambent.services.s3 import acl, attributes, checksums, conditions, errors, store, tagging
from lambent.services.s3.buckets import Buckets
from lambent.services.s3.contents import Contents, Reading
from lambent.services.s3.intake import Intake
from lambent.services.s3.names import key_of
from lambent.services.s3.records import NULL, Bucket, Segment, Version
from lambent.services.s3.writes import Writes
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Operations, Parameters
from lambent.wire.streams import Outgoing

_SMALL = 65_536  # bytes that are answered in one piece
_MOST_DELETED = 1000
_CHECKED = 1000  # parts that GetObjectAttributes shows at once

Answer = Mapping[str, Any]


class ObjectsApi:
    """Handlers."""

    def __init__(
        self, db: Database, buckets: Buckets, contents: Contents, intake: Intake, clock: Clock, writes: Writes
    ) -> None:
        self._db = db
        self._buckets = buckets
        self._contents = contents
        self._intake = intake
        self._clock = clock
        self._writes = writes

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "PutObject": self.put_object,
            "GetObject": self.get_object,
            "HeadObject": self.head_object,
            "DeleteObject": self.delete_object,
            "DeleteObjects": self.delete_objects,
            "GetObjectAttributes": self.get_object_attributes,
            "GetObjectTagging": self.get_object_tagging,
            "PutObjectTagging": self.put_object_tagging,
            "DeleteObjectTagging": self.delete_object_tagging,
            "GetObjectAcl": self.get_object_acl,
            "PutObjectAcl": self.put_object_acl,
        }.items():
            operations.register("s3", operation, handler)

    # Put

    async def put_object(self, context: Context, parameters: Parameters) -> Answer:
        bucket = self._buckets.named(context, parameters)
        key_of(parameters["Key"])  # refused before its body comes
        if "WriteOffsetBytes" in parameters:
            raise errors.invalid_request("Appending is for directory buckets only.")
        said = attributes.of_request(parameters, bucket)
        tags = tagging.of_header(parameters.get("Tagging"))
        body = parameters.get("Body", b"")
        async with self._contents.staged() as staged:
            received = await self._intake.receive(staged, body, checksums.expected(parameters, body, "CRC64NVME"))
            put = await self._writes.put(context, parameters, bucket, staged, received, said, tags, "ObjectCreated:Put")
        answer = {"ETag": f'"{put.etag}"', **checksums.members(received.checksums), "ChecksumType": checksums.FULL}
        return answer | named(bucket, put) | attributes.encryption_shown(said)

    # Get

    async def get_object(self, context: Context, parameters: Parameters) -> Answer:
        bucket = self._buckets.named(context, parameters)
        while True:
            version, segments = await self._look_up(bucket, parameters, "GET")
            answer, (start, stop), status = _described(bucket, parameters, version, segments)
            try:
                reading = self._contents.open(segments, start, stop)
            except FileNotFoundError:  # replaced or deleted since it was looked up
                if version == (await self._look_up(bucket, parameters, "GET"))[0]:
                    raise
                continue
            if stop - start > _SMALL or status != 200:
                return answer | {"Body": Outgoing(stop - start, reading, status)}
            return answer | {"Body": await _whole(reading)}

    async def head_object(self, context: Context, parameters: Parameters) -> Answer:
        bucket = self._buckets.named(context, parameters)
        version, segments = await self._look_up(bucket, parameters, "HEAD")
        answer, _, status = _described(bucket, parameters, version, segments)
        return answer | {"StatusCode": status}

    async def _look_up(self, bucket: Bucket, parameters: Parameters, method: str) -> tuple[Version, list[Segment]]:
        """What is to be read. NoSuchKey, NoSuchVersion; MethodNotAllowed for a delete marker."""
        key, wanted = key_of(parameters["Key"]), parameters.get("VersionId")
        attributes.refuse_not_built(parameters)

        def work(connection: Connection) -> tuple[Version, list[Segment]]:
            found = demand(connection, bucket, key, wanted, method)
            return found, store.segments(connection, found)

        return await self._db.read(work)

    async def get_object_attributes(self, context: Context, parameters: Parameters) -> Answer:
        bucket = self._buckets.named(context, parameters)
        version, segments = await self._look_up(bucket, parameters, "GET")
        wanted = parameters["ObjectAttributes"]
        answer: dict[str, Any] = {"LastModified": attributes.moment(version.modified), **named(bucket, version)}
        if "ETag" in wanted:
            answer["ETag"] = version.etag
        if "ObjectSize" in wanted:
            answer["ObjectSize"] = version.size
        if "StorageClass" in wanted:
            answer["StorageClass"] = version.attributes.get("StorageClass", "STANDARD")
        if "Checksum" in wanted and (held := version.attributes.get("Checksums")):
            values = {algorithm: value.partition("-")[0] for algorithm, value in held.items()}
            answer["Checksum"] = checksums.members(values) | attributes.shown(version.attributes, "ChecksumType")
        if "ObjectParts" in wanted and version.parts:
            answer["ObjectParts"] = _parts(version, segments, parameters)
        return answer

    # Delete

    async def delete_object(self, context: Context, parameters: Parameters) -> Answer:
        bucket, key = self._buckets.named(context, parameters), key_of(parameters["Key"])
        work = self._deleting(context, bucket, parameters["Key"], key, parameters.get("VersionId"), parameters)
        return await self._db.write(work)

    def _deleting(
        self,
        context: Context,
        bucket: Bucket,
        name: str,
        key: bytes,
        wanted: str | None,
        parameters: Parameters,
    ) -> Callable[[Connection], dict[str, Any]]:
        def work(connection: Connection) -> dict[str, Any]:
            found = store.demand(connection, bucket)
            old = store.find(connection, found, key, wanted)
            if "IfMatch" in parameters:
                conditions.check_write({"IfMatch": parameters["IfMatch"]}, name, old)
            if wanted is None and found.versioning:
                return self._mark(connection, context, found, key)
            if wanted is not None and not found.versioning and wanted != NULL:
                raise AwsError("InvalidArgument", "Invalid version id specified", status=400)
            if old is None:
                return {"VersionId": wanted} if wanted is not None and found.versioning else {}
            released = store.remove(connection, found, old)
            connection.after_commit(lambda: self._contents.release(released))
            if not old.marker:
                self._writes.changed(connection, found, "ObjectRemoved:Delete", old, context)
            answer: dict[str, Any] = {"VersionId": old.id} if wanted is not None and found.versioning else {}
            return answer | ({"DeleteMarker": True} if old.marker else {})

        return work

    def _mark(self, connection: Connection, context: Context, bucket: Bucket, key: bytes) -> dict[str, Any]:
        """A delete marker, in place of the null version where versions are not kept any more."""
        identity = self._writes.version_id(bucket.versioning)
        marker = Version(0, key, identity, True, True, self._clock.time())
        replaced = store.put(connection, bucket, marker, bucket.versioning)
        connection.after_commit(lambda: self._contents.release(replaced))
        self._writes.changed(connection, bucket, "ObjectRemoved:DeleteMarkerCreated", marker, context)
        return {"DeleteMarker": True, "VersionId": identity}

    async def delete_objects(self, context: Context, parameters: Parameters) -> Answer:
        bucket, delete = self._buckets.named(context, parameters), parameters["Delete"]
        if not 1 <= len(delete["Objects"]) <= _MOST_DELETED:
            raise errors.malformed_xml()
        deleted: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []

        def work(connection: Connection) -> None:
            deleted.clear()
            failed.clear()
            for item in delete["Objects"]:
                try:
                    answer = self._delete_one(connection, context, bucket, item)
                except AwsError as error:
                    failed.append({**_named_item(item), "Code": error.code, "Message": error.message})
                else:
                    deleted.append(answer)

        await self._db.write(work)
        shown = [] if delete.get("Quiet") else deleted
        return {name: items for name, items in (("Deleted", shown), ("Errors", failed)) if items}

    def _delete_one(
        self, connection: Connection, context: Context, bucket: Bucket, item: Mapping[str, Any]
    ) -> dict[str, Any]:
        wanted = item.get("VersionId")
        conditions_of_item = {"IfMatch": item["ETag"]} if "ETag" in item else {}
        key = key_of(item["Key"])
        answer = self._deleting(context, bucket, item["Key"], key, wanted, conditions_of_item)(connection)
        shown = _named_item(item)
        if answer.get("DeleteMarker"):
            shown |= {"DeleteMarker": True, "DeleteMarkerVersionId": answer["VersionId"]}
        return shown

    # Tags and access control lists

    async def get_object_tagging(self, context: Context, parameters: Parameters) -> Answer:
        bucket = self._buckets.named(context, parameters)
        version, _ = await self._look_up(bucket, parameters, "GET")
        return {"TagSet": tagging.shown(version.tags), **named(bucket, version)}

    async def put_object_tagging(self, context: Context, parameters: Parameters) -> Answer:
        tags = tagging.checked(parameters["Tagging"]["TagSet"])
        return await self._retag(context, parameters, tags, "ObjectTagging:Put")

    async def delete_object_tagging(self, context: Context, parameters: Parameters) -> Answer:
        return await self._retag(context, parameters, {}, "ObjectTagging:Delete")

    async def _retag(self, context: Context, parameters: Parameters, tags: Mapping[str, str], event: str) -> Answer:
        bucket, key = self._buckets.named(context, parameters), key_of(parameters["Key"])

        def work(connection: Connection) -> Version:
            found = demand(connection, bucket, key, parameters.get("VersionId"), "PUT")
            store.set_tags(connection, found, tags)
            self._writes.changed(connection, store.demand(connection, bucket), event, found, context)
            return found

        return named(bucket, await self._db.write(work))

    async def get_object_acl(self, context: Context, parameters: Parameters) -> Answer:
        bucket = self._buckets.named(context, parameters)
        version, _ = await self._look_up(bucket, parameters, "GET")
        return acl.shown(version.attributes.get("Grants"), bucket.account)

    async def put_object_acl(self, context: Context, parameters: Parameters) -> Answer:
        bucket, key = self._buckets.named(context, parameters), key_of(parameters["Key"])
        grants = acl.of_request(parameters, bucket)

        def work(connection: Connection) -> None:
            found = demand(connection, bucket, key, parameters.get("VersionId"), "PUT")
            rest = {name: value for name, value in found.attributes.items() if name != "Grants"}
            store.set_attributes(connection, found, rest if grants is None else rest | {"Grants": grants})

        await self._db.write(work)
        return {}


def named(bucket: Bucket, version: Version) -> dict[str, str]:
    """The version's id, where the bucket keeps versions."""
    return {"VersionId": version.id} if bucket.versioning else {}


def demand(connection: Connection, bucket: Bucket, key: bytes, wanted: str | None, method: str) -> Version:
    """The version that is meant, which is no delete marker."""
    if wanted == "":
        raise AwsError("InvalidArgument", "Version id cannot be the empty string", status=400)
    found = store.find(connection, bucket, key, wanted)
    name = key.decode()
    if found is None:
        if wanted is None:
            raise errors.no_key(name)
        if not re.fullmatch(r"[0-9a-f]{32}|null", wanted):
            raise AwsError("InvalidArgument", "Invalid version id specified", status=400)
        raise errors.no_version(name, wanted)
    if not found.marker:
        return found
    headers = [("x-amz-delete-marker", "true"), ("x-amz-version-id", found.id)]
    if wanted is None:
        raise errors.no_key(name, headers=headers)
    headers += [("Allow", "DELETE"), ("Last-Modified", attributes.http_date(found.modified))]
    raise errors.method_not_allowed(method, "DeleteMarker", headers=headers)


def _described(
    bucket: Bucket, parameters: Parameters, version: Version, segments: list[Segment]
) -> tuple[dict[str, Any], tuple[int, int], int]:
    """(members, the bytes that are asked for, status) of the answer to GetObject or HeadObject."""
    conditions.check_read(parameters, version)
    number, size = parameters.get("PartNumber"), version.size
    part = _part(version, segments, number) if number is not None else None
    if number is not None and parameters.get("Range"):
        raise errors.invalid_request("Cannot specify both Range header and partNumber query parameter")
    asked = part if part is not None else conditions.byte_range(parameters.get("Range"), size)
    start, stop = asked or (0, size)
    answer: dict[str, Any] = {
        "AcceptRanges": "bytes",
        "ContentLength": stop - start,
        "ETag": f'"{version.etag}"',
        "LastModified": attributes.moment(version.modified),
        **named(bucket, version),
        **attributes.headers_shown(version.attributes),
    }
    if asked is not None and size:
        answer["ContentRange"] = f"bytes {start}-{stop - 1}/{size}"
    if version.tags:
        answer["TagCount"] = len(version.tags)
    if number is not None and version.parts:
        answer["PartsCount"] = version.parts
    if parameters.get("ChecksumMode") == "ENABLED" and (start, stop) == (0, size):
        answer |= checksums.members(version.attributes.get("Checksums", {}))
        answer |= attributes.shown(version.attributes, "ChecksumType")
    for name in attributes.HEADERS:
        if given := parameters.get(f"Response{name}"):
            answer[name] = given
    return answer, (start, stop), 206 if asked is not None and size else 200


def _part(version: Version, segments: list[Segment], number: int) -> tuple[int, int]:
    """The bytes of a part; an object that was not uploaded in parts has one."""
    if not version.parts and number == 1:
        return 0, version.size
    at = 0
    for segment in segments:
        if segment.number == number:
            return at, at + segment.size
        at += segment.size
    message = "The requested partnumber is not satisfiable"
    raise AwsError("InvalidPartNumber", message, status=416, PartNumberRequested=number, ActualPartCount=len(segments))


async def _whole(reading: Reading) -> bytes:
    try:
        return b"".join([piece async for piece in reading])
    finally:
        await reading.aclose()


def _parts(version: Version, segments: list[Segment], parameters: Parameters) -> dict[str, Any]:
    after, most = int(parameters.get("PartNumberMarker", 0)), min(parameters.get("MaxParts", _CHECKED), _CHECKED)
    following = [segment for segment in segments if segment.number > after]
    answer: dict[str, Any] = {"TotalPartsCount": version.parts}
    algorithm = next(iter(version.attributes.get("Checksums", {})), None)
    if algorithm is None or version.attributes.get("ChecksumType") == checksums.FULL:
        return answer
    page = following[:most]
    answer |= {"PartNumberMarker": after, "MaxParts": most, "IsTruncated": len(following) > most}
    answer["Parts"] = [
        {"PartNumber": one.number, "Size": one.size, **checksums.members({algorithm: one.checksum})} for one in page
    ]
    return answer | ({"NextPartNumberMarker": page[-1].number} if page else {})


def _named_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in ("Key", "VersionId") if name in item}
