"""The operations of multipart uploads. What is uploaded becomes the object's content as it lies: nothing is copied."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database
from lambent.services.s3 import attributes, checksums, conditions, errors, listing, names, store, tagging, uploads
from lambent.services.s3.buckets import Buckets
from lambent.services.s3.contents import Contents
from lambent.services.s3.intake import Intake
from lambent.services.s3.listing import Place
from lambent.services.s3.listing_api import encoder, frame, wanted_of
from lambent.services.s3.names import key_of
from lambent.services.s3.objects_api import named
from lambent.services.s3.records import Part, Segment, Upload, Version
from lambent.services.s3.writes import Writes
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Operations, Parameters

_MOST_PARTS = 10_000
_SMALLEST = 5 << 20  # bytes of a part that is not the last
_MOST_SHOWN = 1000
_INVALID = "Part number must be an integer between 1 and 10000, inclusive"

Answer = Mapping[str, Any]


class UploadsApi:
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
            "CreateMultipartUpload": self.create_multipart_upload,
            "UploadPart": self.upload_part,
            "CompleteMultipartUpload": self.complete_multipart_upload,
            "AbortMultipartUpload": self.abort_multipart_upload,
            "ListParts": self.list_parts,
            "ListMultipartUploads": self.list_multipart_uploads,
        }.items():
            operations.register("s3", operation, handler)

    async def create_multipart_upload(self, context: Context, parameters: Parameters) -> Answer:
        bucket, key = self._buckets.named(context, parameters), key_of(parameters["Key"])
        said = attributes.of_request(parameters, bucket)
        algorithm, _ = checksums.named(parameters)
        asked = parameters.get("ChecksumType")
        if algorithm is not None:
            said |= {"Algorithm": algorithm, "ChecksumType": checksums.kind_of(algorithm, asked)}
        elif asked is not None:
            raise errors.invalid_request(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            )
        tags = tagging.of_header(parameters.get("Tagging"))
        upload = Upload(self._clock.token(32), bucket.id, key, self._clock.time(), said, tags, context.caller.account)

        def work(connection: Connection) -> None:
            store.demand(connection, bucket)
            uploads.insert(connection, upload)

        await self._db.write(work)
        answer = {"Bucket": bucket.name, "Key": parameters["Key"], "UploadId": upload.id}
        return answer | _checksum(said) | attributes.encryption_shown(said)

    async def upload_part(self, context: Context, parameters: Parameters) -> Answer:
        bucket, key = self._buckets.named(context, parameters), key_of(parameters["Key"])
        number, body = number_of(parameters), parameters.get("Body", b"")
        attributes.refuse_not_built(parameters)
        identity = parameters["UploadId"]
        upload = await self._db.read(lambda connection: uploads.demand(connection, bucket, key, identity))
        async with self._contents.staged() as staged:
            wanted = checksums.expected(parameters, body, upload.attributes.get("Algorithm", "CRC64NVME"))
            refuse_other_algorithm(upload, wanted.algorithm)
            received = await self._intake.receive(staged, body, wanted)
            part = await self._writes.put_part(bucket, key, identity, number, staged, received)
        shown = checksums.members(part.checksums) if "Algorithm" in upload.attributes or wanted.value else {}
        return {"ETag": f'"{part.etag}"', **shown, **attributes.encryption_shown(upload.attributes)}

    async def complete_multipart_upload(self, context: Context, parameters: Parameters) -> Answer:
        bucket, key = self._buckets.named(context, parameters), key_of(parameters["Key"])
        asked = parameters.get("MultipartUpload", {}).get("Parts", [])
        if not asked:
            raise errors.malformed_xml()
        if len(asked) > _MOST_PARTS:
            raise errors.malformed_xml()
        identity = parameters["UploadId"]

        def work(connection: Connection) -> Version:
            found = store.demand(connection, bucket)
            upload = uploads.demand(connection, bucket, key, identity)
            conditions.check_write(parameters, parameters["Key"], store.current(connection, bucket, key))
            there = uploads.parts(connection, identity)
            chosen = _chosen(asked, {part.number: part for part in there})
            version = self._assembled(upload, chosen, parameters)
            version = replace(version, id=self._writes.version_id(found.versioning))
            replaced = store.put(connection, found, version, found.versioning)
            algorithm = next(iter(version.attributes.get("Checksums", {})), "")
            segments = [Segment(p.number, p.content, p.size, p.checksums.get(algorithm, "")) for p in chosen]
            store.add_segments(connection, found, key, segments)
            uploads.remove(connection, identity)
            used = {part.content for part in chosen}
            replaced += [part.content for part in there if part.content not in used]
            connection.after_commit(lambda: self._contents.release(replaced))
            self._writes.changed(connection, found, "ObjectCreated:CompleteMultipartUpload", version, context)
            return version

        version = await self._db.write(work)
        answer: dict[str, Any] = {
            "Location": f"{context.endpoint}/{bucket.name}/{parameters['Key']}",
            "Bucket": bucket.name,
            "Key": parameters["Key"],
            "ETag": f'"{version.etag}"',
            **checksums.members(version.attributes.get("Checksums", {})),
            **attributes.shown(version.attributes, "ChecksumType"),
        }
        return answer | named(bucket, version) | attributes.encryption_shown(version.attributes)

    def _assembled(self, upload: Upload, parts: list[Part], parameters: Parameters) -> Version:
        """The object that the parts make. InvalidRequest and BadDigest for another size or checksum than is told."""
        digest = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts), usedforsecurity=False).hexdigest()
        size = sum(part.size for part in parts)
        if parameters.get("MpuObjectSize", size) != size:
            told = f"The provided 'x-amz-mp-object-size' header value {parameters['MpuObjectSize']}"
            message = f"{told} does not match what was computed: {size}"
            raise errors.invalid_request(message)
        said = {name: value for name, value in upload.attributes.items() if name not in ("Algorithm", "ChecksumType")}
        algorithm = upload.attributes.get("Algorithm", "CRC64NVME")
        kind = upload.attributes.get("ChecksumType", checksums.FULL)
        if parameters.get("ChecksumType", kind) != kind:
            raise errors.invalid_request(
                f"The upload was created using the {kind} checksum mode. The complete request must use the same"
                " checksum mode."
            )
        if kind == checksums.COMPOSITE:
            value = checksums.composite(algorithm, [part.checksums[algorithm] for part in parts])
        else:
            held = [(part.checksums.get(algorithm, ""), part.size) for part in parts]
            value = checksums.combined(algorithm, held) if all(checksum for checksum, _ in held) else ""
        expected = checksums.named(parameters)[1]
        if expected is not None and value and expected.partition("-")[0] != value.partition("-")[0]:
            raise errors.bad_digest(algorithm.lower())
        if value:
            said |= {"Checksums": {algorithm: value}, "ChecksumType": kind}
        return Version(
            *(0, upload.key, "", True, False, self._clock.time(), size, f"{digest}-{len(parts)}", "", len(parts)),
            attributes=said,
            tags=upload.tags,
        )

    async def abort_multipart_upload(self, context: Context, parameters: Parameters) -> Answer:
        bucket, key = self._buckets.named(context, parameters), key_of(parameters["Key"])
        identity = parameters["UploadId"]

        def work(connection: Connection) -> None:
            uploads.demand(connection, bucket, key, identity)
            released = uploads.remove(connection, identity)
            connection.after_commit(lambda: self._contents.release(released))

        await self._db.write(work)
        return {}

    async def list_parts(self, context: Context, parameters: Parameters) -> Answer:
        bucket, key = self._buckets.named(context, parameters), key_of(parameters["Key"])
        after, most = (
            int(parameters.get("PartNumberMarker", 0)),
            min(parameters.get("MaxParts", _MOST_SHOWN), _MOST_SHOWN),
        )
        identity = parameters["UploadId"]

        def work(connection: Connection) -> tuple[Upload, list[Part]]:
            upload = uploads.demand(connection, bucket, key, identity)
            return upload, uploads.parts(connection, identity, after, most + 1)

        upload, found = await self._db.read(work)
        page, owner = found[:most], {"ID": names.canonical_user(bucket.account)}
        answer: dict[str, Any] = {
            "Bucket": bucket.name,
            "Key": parameters["Key"],
            "UploadId": identity,
            "PartNumberMarker": after,
            "NextPartNumberMarker": page[-1].number if page else 0,
            "MaxParts": most,
            "IsTruncated": len(found) > most,
            "Initiator": owner,
            "Owner": owner,
            "StorageClass": upload.attributes.get("StorageClass", "STANDARD"),
            **_checksum(upload.attributes),
        }
        shown = [_part(part, "Algorithm" in upload.attributes) for part in page]
        return answer | ({"Parts": shown} if shown else {})

    async def list_multipart_uploads(self, context: Context, parameters: Parameters) -> Answer:
        bucket, encode = self._buckets.named(context, parameters), encoder(parameters)
        key, marker = (
            parameters.get("KeyMarker", ""),
            parameters.get("UploadIdMarker", "") if parameters.get("KeyMarker") else "",
        )
        place = Place(key.encode(), within=True, text=marker) if marker else Place(key.encode())
        wanted = wanted_of(parameters, "MaxUploads", place)

        def work(connection: Connection) -> listing.Page[Upload]:
            def fetch(place: Place, most: int) -> list[Upload]:
                after = (place.key, place.text if place.within else "~")  # "~" follows all ids
                return uploads.page(connection, bucket, after, wanted.prefix, most)

            return listing.uploads(wanted, fetch)

        page = await self._db.read(work)
        answer = frame(parameters, page, wanted, encode)
        answer |= {"Bucket": bucket.name, "MaxUploads": wanted.most, "KeyMarker": encode(key), "UploadIdMarker": marker}
        if page.truncated:
            last = page.last
            answer["NextKeyMarker"] = encode((last.key if isinstance(last, Upload) else last or b"").decode())
            answer["NextUploadIdMarker"] = last.id if isinstance(last, Upload) else ""
        owner = {"ID": names.canonical_user(bucket.account)}
        shown = [
            _upload(upload, encode(upload.key.decode())) | {"Owner": owner, "Initiator": owner} for upload in page.items
        ]
        return answer | ({"Uploads": shown} if shown else {})


def number_of(parameters: Parameters) -> int:
    """The number of a part. InvalidArgument for what cannot be one."""
    number: int = parameters["PartNumber"]
    if not 1 <= number <= _MOST_PARTS:
        raise errors.invalid_argument(_INVALID, "partNumber", str(number))
    return number


def refuse_other_algorithm(upload: Upload, algorithm: str) -> None:
    """InvalidRequest for a part with another checksum than the upload was begun with."""
    begun = upload.attributes.get("Algorithm")
    if begun is not None and algorithm != begun:
        message = (
            f"Checksum Type mismatch occurred, expected checksum Type: {begun.lower()}, actual checksum Type:"
            f" {algorithm.lower()}"
        )
        raise errors.invalid_request(message)


def _chosen(asked: list[Mapping[str, Any]], there: Mapping[int, Part]) -> list[Part]:
    """The parts that a request lists. InvalidPartOrder, InvalidPart, EntityTooSmall."""
    chosen: list[Part] = []
    for item in asked:
        number, etag = item.get("PartNumber"), item.get("ETag", "").strip().strip('"')
        if number is None:
            raise errors.malformed_xml()
        if chosen and number <= chosen[-1].number:
            message = "The list of parts was not in ascending order. Parts must be ordered by part number."
            raise AwsError("InvalidPartOrder", message, status=400)
        part = there.get(number)
        if part is None or part.etag != etag.lower():
            raise errors.invalid_part()
        _, told = checksums.named(item)
        if told is not None and told not in part.checksums.values():
            raise errors.invalid_part()
        chosen.append(part)
    for part in chosen[:-1]:
        if part.size < _SMALLEST:
            raise AwsError(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
                status=400,
                ProposedSize=part.size,
                MinSizeAllowed=_SMALLEST,
                PartNumber=part.number,
                ETag=part.etag,
            )
    return chosen


def _checksum(said: Mapping[str, Any]) -> dict[str, Any]:
    if "Algorithm" not in said:
        return {}
    return {"ChecksumAlgorithm": said["Algorithm"], "ChecksumType": said["ChecksumType"]}


def _part(part: Part, with_checksum: bool) -> dict[str, Any]:
    shown = {
        "PartNumber": part.number,
        "LastModified": attributes.moment(part.modified),
        "ETag": f'"{part.etag}"',
        "Size": part.size,
    }
    return shown | (checksums.members(part.checksums) if with_checksum else {})


def _upload(upload: Upload, key: str) -> dict[str, Any]:
    return {
        "UploadId": upload.id,
        "Key": key,
        "Initiated": attributes.moment(upload.initiated),
        "StorageClass": upload.attributes.get("StorageClass", "STANDARD"),
        **_checksum(upload.attributes),
    }
