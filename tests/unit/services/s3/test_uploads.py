"""Multipart uploads."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any

import pytest

from unit.services.s3.lab import MEBI, S3Lab

LARGE, SMALL = b"a" * (5 * MEBI), b"the rest"


def etag(*parts: bytes) -> str:
    digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    return f'"{digest}-{len(parts)}"'


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def begin(s3: S3Lab, **members: Any) -> dict[str, str]:
    begun = await s3.call("CreateMultipartUpload", Bucket="bucket", Key="k", **members)
    return {"Bucket": "bucket", "Key": "k", "UploadId": begun["UploadId"]}


async def test_parts_become_an_object_without_being_copied(s3: S3Lab) -> None:
    await s3.bucket()
    before = s3.files()
    done = await s3.upload("k", LARGE, SMALL, Metadata={"a": "1"}, ContentType="x/y")
    assert done["ETag"] == etag(LARGE, SMALL)
    assert len(s3.files() - before) == 2
    await s3.restart()
    found = await s3.get("k")
    assert (found["Body"], found["Metadata"], found["ContentType"]) == (LARGE + SMALL, {"a": "1"}, "x/y")
    assert (await s3.get("k", Range=f"bytes={5 * MEBI - 1}-{5 * MEBI + 2}"))["Body"] == b"athe"
    part = await s3.get("k", PartNumber=2)
    assert (part["Body"], part["PartsCount"]) == (SMALL, 2)
    assert (await s3.refusal("GetObject", Bucket="bucket", Key="k", PartNumber=3)).code == "InvalidPartNumber"


async def test_the_checksum_of_the_whole_is_that_of_the_bytes(s3: S3Lab) -> None:
    await s3.bucket()
    await s3.upload("k", LARGE, SMALL, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    found = await s3.get("k", ChecksumMode="ENABLED")
    assert found["ChecksumCRC32"] == encoded(zlib.crc32(LARGE + SMALL).to_bytes(4, "big"))
    assert found["ChecksumType"] == "FULL_OBJECT"


async def test_composite_checksums(s3: S3Lab) -> None:
    await s3.bucket()
    done = await s3.upload("k", LARGE, SMALL, ChecksumAlgorithm="SHA256")
    digests = b"".join(hashlib.sha256(part).digest() for part in (LARGE, SMALL))
    assert done["ChecksumSHA256"] == f"{encoded(hashlib.sha256(digests).digest())}-2"
    wanted = ["ObjectParts", "Checksum"]
    shown = await s3.call("GetObjectAttributes", Bucket="bucket", Key="k", ObjectAttributes=wanted)
    assert [one["Size"] for one in shown["ObjectParts"]["Parts"]] == [len(LARGE), len(SMALL)]


@pytest.mark.parametrize(("algorithm", "kind"), [("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE")])
async def test_kinds_that_an_algorithm_does_not_have(s3: S3Lab, algorithm: str, kind: str) -> None:
    await s3.bucket()
    members = {"Bucket": "bucket", "Key": "k", "ChecksumAlgorithm": algorithm, "ChecksumType": kind}
    assert (await s3.refusal("CreateMultipartUpload", **members)).code == "InvalidRequest"


async def test_what_is_completed_wrongly_stays_as_it_was(s3: S3Lab) -> None:
    await s3.bucket()
    upload = await begin(s3)
    tags = {}
    for number, body in ((1, SMALL), (2, LARGE), (5, SMALL)):
        tags[number] = (await s3.call("UploadPart", **upload, PartNumber=number, Body=body))["ETag"]
    for parts, code in (
        ([], "MalformedXML"),
        ([(3, '"none"')], "InvalidPart"),
        ([(2, tags[1])], "InvalidPart"),
        ([(2, tags[2]), (1, tags[1])], "InvalidPartOrder"),
        ([(1, tags[1]), (2, tags[2])], "EntityTooSmall"),
    ):
        asked = {"Parts": [{"PartNumber": number, "ETag": tag} for number, tag in parts]}
        assert (await s3.refusal("CompleteMultipartUpload", **upload, MultipartUpload=asked)).code == code
    asked = {"Parts": [{"PartNumber": number, "ETag": tags[number]} for number in (2, 5)]}
    await s3.call("CompleteMultipartUpload", **upload, MultipartUpload=asked)
    assert await s3.body("k") == LARGE + SMALL
    assert (await s3.refusal("CompleteMultipartUpload", **upload, MultipartUpload=asked)).code == "NoSuchUpload"


async def test_a_part_is_replaced_and_an_upload_given_up(s3: S3Lab) -> None:
    await s3.bucket()
    upload = await begin(s3)
    await s3.call("UploadPart", **upload, PartNumber=1, Body=b"one")
    await s3.call("UploadPart", **upload, PartNumber=1, Body=b"other")
    listed = await s3.call("ListParts", **upload)
    assert [(part["PartNumber"], part["Size"]) for part in listed["Parts"]] == [(1, 5)]
    await s3.call("AbortMultipartUpload", **upload)
    assert (await s3.refusal("ListParts", **upload)).code == "NoSuchUpload"
    assert (await s3.refusal("UploadPart", **upload, PartNumber=1, Body=b"")).code == "NoSuchUpload"
    await s3.stop()
    await s3.start()
    await s3.service.sweep()
    assert s3.files() == set()


@pytest.mark.parametrize("number", [0, -1, 10_001])
async def test_numbers_that_no_part_has(s3: S3Lab, number: int) -> None:
    await s3.bucket()
    upload = await begin(s3)
    assert (await s3.refusal("UploadPart", **upload, PartNumber=number, Body=b"")).code == "InvalidArgument"


async def test_pages_of_parts_and_of_uploads(s3: S3Lab) -> None:
    await s3.bucket()
    upload = await begin(s3)
    for number in (1, 2, 3):
        await s3.call("UploadPart", **upload, PartNumber=number, Body=b"x")
    page = await s3.call("ListParts", **upload, MaxParts=2)
    assert (page["IsTruncated"], page["NextPartNumberMarker"]) == (True, 2)
    rest = await s3.call("ListParts", **upload, PartNumberMarker=2)
    assert [part["PartNumber"] for part in rest["Parts"]] == [3]
    for key in ("a/1", "a/2", "k", "z"):
        await s3.call("CreateMultipartUpload", Bucket="bucket", Key=key)
    found, more = [], {}
    while True:
        page = await s3.call("ListMultipartUploads", Bucket="bucket", MaxUploads=2, **more)
        found += [(one["Key"], one["UploadId"]) for one in page.get("Uploads", ())]
        if not page["IsTruncated"]:
            break
        more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert [key for key, _ in found] == ["a/1", "a/2", "k", "k", "z"]
    assert found == sorted(found)
    rolled = await s3.call("ListMultipartUploads", Bucket="bucket", Delimiter="/")
    assert [one["Prefix"] for one in rolled["CommonPrefixes"]] == ["a/"]


async def test_parts_are_copied(s3: S3Lab) -> None:
    await s3.bucket()
    await s3.put("source", LARGE + SMALL)
    upload = await begin(s3)
    copy = {**upload, "CopySource": "bucket/source"}
    first = await s3.call("UploadPartCopy", **copy, PartNumber=1)
    second = await s3.call("UploadPartCopy", **copy, PartNumber=2, CopySourceRange="bytes=0-3")
    beyond = {"CopySourceRange": f"bytes=0-{6 * MEBI}", "PartNumber": 3}
    assert (await s3.refusal("UploadPartCopy", **copy, **beyond)).code == "InvalidArgument"
    parts = [{"PartNumber": n, "ETag": a["CopyPartResult"]["ETag"]} for n, a in ((1, first), (2, second))]
    await s3.call("CompleteMultipartUpload", **upload, MultipartUpload={"Parts": parts})
    assert await s3.body("k") == LARGE + SMALL + b"aaaa"
