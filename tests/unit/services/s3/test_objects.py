"""Objects: put, read, conditions, versions, tags, copies."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lambent.wire.errors import AwsError
from unit.services.s3.lab import MEBI, S3Lab, read


def md5(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("body", [b"", b"x", b"y" * 65_536, b"z" * (3 * MEBI + 1)])
async def test_what_was_put_is_read_and_survives_a_restart(s3: S3Lab, body: bytes) -> None:
    await s3.bucket()
    put = await s3.put("k", body, ContentType="text/plain", Metadata={"Name": "value"}, CacheControl="no-store")
    assert put["ETag"] == md5(body)
    await s3.restart()
    found = await s3.get("k")
    assert found["Body"] == body
    assert (found["ContentLength"], found["ETag"], found["ContentType"]) == (len(body), md5(body), "text/plain")
    assert (found["Metadata"], found["CacheControl"]) == ({"name": "value"}, "no-store")


@pytest.mark.parametrize(
    "key", ["../../etc/passwd", "/", "//a//", "a\x00b", ".", "é/ü/日本", "k" * 1024, "\U0001f600", " "]
)
async def test_any_key_is_only_a_key(s3: S3Lab, key: str) -> None:
    await s3.bucket()
    before = {path for path in s3.root.rglob("*") if path.is_dir()}
    await s3.put(key, b"body")
    assert await s3.body(key) == b"body"
    assert await s3.keys() == [key]
    assert {path for path in s3.root.rglob("*") if path.is_dir()} == before
    await s3.call("DeleteObject", Bucket="bucket", Key=key)
    assert await s3.keys() == []


async def test_a_key_may_have_1024_bytes(s3: S3Lab) -> None:
    await s3.bucket()
    assert (await s3.refusal("PutObject", Bucket="bucket", Key="é" * 513)).code == "KeyTooLongError"


async def test_what_is_replaced_or_deleted_gives_its_space_back(s3: S3Lab) -> None:
    await s3.bucket()
    await s3.put("k", b"one")
    (first,) = s3.files()
    await s3.put("k", b"two")
    await settled(s3)
    (second,) = s3.files()
    assert first != second
    await s3.call("DeleteObject", Bucket="bucket", Key="k")
    await settled(s3)
    assert s3.files() == set()


async def settled(s3: S3Lab) -> None:
    """What is being unlinked has gone."""
    while s3.service.contents._unlinking:
        await asyncio.sleep(0)


async def test_a_reader_reads_on_though_the_object_goes(s3: S3Lab) -> None:
    await s3.bucket()
    await s3.upload("k", b"a" * (5 * MEBI), b"b" * MEBI)
    answer = await s3.call("GetObject", Bucket="bucket", Key="k")
    await s3.put("k", b"other")
    await s3.call("DeleteObject", Bucket="bucket", Key="k")
    assert await read(answer["Body"]) == b"a" * (5 * MEBI) + b"b" * MEBI
    await settled(s3)
    assert s3.files() == set()


async def test_what_no_row_names_goes_at_the_next_start(s3: S3Lab) -> None:
    await s3.bucket()
    await s3.put("k", b"kept")
    await s3.upload("parts", b"kept too")
    begun = await s3.call("CreateMultipartUpload", Bucket="bucket", Key="half")
    await s3.call("UploadPart", Bucket="bucket", Key="half", UploadId=begun["UploadId"], PartNumber=1, Body=b"kept")
    kept = s3.files()
    orphan = "ab" * 16
    (s3.root / "objects/ab" / orphan).write_bytes(b"of a request that a crash ended")
    assert await s3.service.sweep() == 1
    assert s3.files() == kept


async def test_a_body_that_breaks_off_leaves_nothing(s3: S3Lab) -> None:
    await s3.bucket()
    await s3.put("k", b"before")
    kept = s3.files()
    error = await s3.refusal(
        "PutObject", Bucket="bucket", Key="k", Body=b"x" * (2 * MEBI), ContentMD5=encoded(bytes(16))
    )
    assert error.code == "BadDigest"
    assert (await s3.body("k"), s3.files()) == (b"before", kept)


DATA = b"some content"


@pytest.mark.parametrize(
    ("member", "right"),
    [
        ("ContentMD5", encoded(hashlib.md5(DATA).digest())),
        ("ChecksumCRC32", encoded(zlib.crc32(DATA).to_bytes(4, "big"))),
        ("ChecksumSHA1", encoded(hashlib.sha1(DATA).digest())),
        ("ChecksumSHA256", encoded(hashlib.sha256(DATA).digest())),
        ("ChecksumCRC32C", "8iP7kw=="),
        ("ChecksumCRC64NVME", "nPvBh0EdN2I="),
    ],
)
async def test_checksums_are_compared_and_kept(s3: S3Lab, member: str, right: str) -> None:
    await s3.bucket()
    put = await s3.put("k", DATA, **{member: right})
    if member != "ContentMD5":
        assert put[member] == right
        assert (await s3.get("k", ChecksumMode="ENABLED"))[member] == right
    wrong = encoded(bytes(len(base64.b64decode(right))))
    assert (await s3.refusal("PutObject", Bucket="bucket", Key="k", Body=DATA, **{member: wrong})).code == "BadDigest"
    odd = {member: "no base64"}
    assert (await s3.refusal("PutObject", Bucket="bucket", Key="k", Body=DATA, **odd)).status == 400


async def test_two_checksums_are_one_too_many(s3: S3Lab) -> None:
    await s3.bucket()
    both = {"ChecksumCRC32": "AAAAAA==", "ChecksumCRC32C": "AAAAAA=="}
    assert (await s3.refusal("PutObject", Bucket="bucket", Key="k", **both)).code == "InvalidRequest"


@pytest.mark.parametrize(
    ("header", "body", "told"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=4-", b"456789", "bytes 4-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-30", b"0123456789", "bytes 0-9/10"),
        ("bytes=8-100", b"89", "bytes 8-9/10"),
        ("bytes=5-2", b"0123456789", None),
        ("bytes=0-1,3-4", b"0123456789", None),
        ("lines=0-1", b"0123456789", None),
    ],
)
async def test_ranges(s3: S3Lab, header: str, body: bytes, told: str | None) -> None:
    await s3.bucket()
    await s3.put("k", b"0123456789")
    found = await s3.get("k", Range=header)
    assert (found["Body"], found.get("ContentRange")) == (body, told)


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0"])
async def test_ranges_that_are_not_there(s3: S3Lab, header: str) -> None:
    await s3.bucket()
    await s3.put("k", b"0123456789")
    error = await s3.refusal("GetObject", Bucket="bucket", Key="k", Range=header)
    assert (error.code, error.status, dict(error.headers)) == ("InvalidRange", 416, {"Content-Range": "bytes */10"})


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"IfMatch": md5(b"x")}, 200),
        ({"IfMatch": '"other"'}, 412),
        ({"IfMatch": f'"other", {md5(b"x")}'}, 200),
        ({"IfNoneMatch": md5(b"x")}, 304),
        ({"IfNoneMatch": '"other"'}, 200),
        ({"IfModifiedSince": HOUR}, 304),
        ({"IfModifiedSince": -HOUR}, 200),
        ({"IfUnmodifiedSince": HOUR}, 200),
        ({"IfUnmodifiedSince": -HOUR}, 412),
        ({"IfMatch": md5(b"x"), "IfUnmodifiedSince": -HOUR}, 200),
        ({"IfNoneMatch": '"other"', "IfModifiedSince": HOUR}, 200),
        ({"IfNoneMatch": md5(b"x"), "IfModifiedSince": -HOUR}, 304),
    ],
)
async def test_conditions_on_reading(s3: S3Lab, conditions: dict[str, Any], status: int) -> None:
    await s3.bucket()
    await s3.put("k", b"x")
    now = datetime.fromtimestamp(s3.clock.time(), UTC)
    given = {name: now + value if isinstance(value, timedelta) else value for name, value in conditions.items()}
    for operation in ("GetObject", "HeadObject"):
        if status == 200:
            await s3.call(operation, Bucket="bucket", Key="k", **given)
        else:
            assert (await s3.refusal(operation, Bucket="bucket", Key="k", **given)).status == status


async def test_conditions_on_writing(s3: S3Lab) -> None:
    await s3.bucket()
    await s3.put("k", b"one", IfNoneMatch="*")
    again = {"Bucket": "bucket", "Key": "k", "Body": b"two"}
    assert (await s3.refusal("PutObject", **again, IfNoneMatch="*")).code == "PreconditionFailed"
    assert (await s3.refusal("PutObject", **again, IfMatch=md5(b"other"))).code == "PreconditionFailed"
    await s3.put("k", b"two", IfMatch=md5(b"one"))
    assert (await s3.refusal("PutObject", **again | {"Key": "none"}, IfMatch=md5(b"one"))).code == "NoSuchKey"
    wrong = {"Bucket": "bucket", "Key": "k", "IfMatch": md5(b"one")}
    assert (await s3.refusal("DeleteObject", **wrong)).code == "PreconditionFailed"
    assert await s3.body("k") == b"two"


async def test_of_writers_that_want_to_be_first_one_is(s3: S3Lab) -> None:
    await s3.bucket()
    writers = [s3.put("k", b"%d" % number, IfNoneMatch="*") for number in range(8)]
    results = await asyncio.gather(*writers, return_exceptions=True)
    failed = [result for result in results if isinstance(result, AwsError)]
    assert [error.code for error in failed] == ["PreconditionFailed"] * 7


# Versions


async def test_versions(s3: S3Lab) -> None:
    await s3.bucket()
    await s3.put("k", b"null")
    await s3.version("Enabled")
    first = (await s3.put("k", b"first"))["VersionId"]
    marker = await s3.call("DeleteObject", Bucket="bucket", Key="k")
    assert marker["DeleteMarker"]
    error = await s3.refusal("GetObject", Bucket="bucket", Key="k")
    assert (error.code, dict(error.headers)["x-amz-delete-marker"]) == ("NoSuchKey", "true")
    named = {"Bucket": "bucket", "Key": "k", "VersionId": marker["VersionId"]}
    assert (await s3.refusal("GetObject", **named)).code == "MethodNotAllowed"
    assert await s3.body("k", VersionId=first) == b"first"
    assert await s3.body("k", VersionId="null") == b"null"
    listed = await s3.call("ListObjectVersions", Bucket="bucket")
    assert [(one["VersionId"], one["IsLatest"]) for one in listed["Versions"]] == [(first, False), ("null", False)]
    assert [one["IsLatest"] for one in listed["DeleteMarkers"]] == [True]
    gone = await s3.call("DeleteObject", **named)
    assert gone == {"DeleteMarker": True, "VersionId": marker["VersionId"]}
    assert await s3.body("k") == b"first"
    await s3.call("DeleteObject", Bucket="bucket", Key="k", VersionId=first)
    assert await s3.body("k") == b"null"


async def test_suspended_versions(s3: S3Lab) -> None:
    await s3.bucket(versioning="Enabled")
    kept = (await s3.put("k", b"kept"))["VersionId"]
    await s3.version("Suspended")
    assert (await s3.put("k", b"one"))["VersionId"] == "null"
    await s3.put("k", b"two")
    listed = await s3.call("ListObjectVersions", Bucket="bucket")
    assert [one["VersionId"] for one in listed["Versions"]] == ["null", kept]
    assert (await s3.call("DeleteObject", Bucket="bucket", Key="k"))["VersionId"] == "null"
    listed = await s3.call("ListObjectVersions", Bucket="bucket")
    assert [one["VersionId"] for one in listed["Versions"]] == [kept]
    assert [one["VersionId"] for one in listed["DeleteMarkers"]] == ["null"]


async def test_pages_of_versions(s3: S3Lab) -> None:
    await s3.bucket(versioning="Enabled")
    made = []
    for key in ("a", "b", "c"):
        made += [(key, (await s3.put(key, b"%d" % number))["VersionId"]) for number in range(3)]
    wanted = [pair for key in ("a", "b", "c") for pair in reversed([one for one in made if one[0] == key])]
    found, more = [], {}
    while True:
        page = await s3.call("ListObjectVersions", Bucket="bucket", MaxKeys=2, **more)
        found += [(one["Key"], one["VersionId"]) for one in page["Versions"]]
        if not page["IsTruncated"]:
            break
        more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
    assert found == wanted


async def test_many_are_deleted_at_once(s3: S3Lab) -> None:
    await s3.bucket()
    for key in ("a", "b", "c"):
        await s3.put(key, b"x")
    objects = [{"Key": "a"}, {"Key": "missing"}, {"Key": "b", "ETag": '"other"'}]
    answer = await s3.call("DeleteObjects", Bucket="bucket", Delete={"Objects": objects})
    assert [one["Key"] for one in answer["Deleted"]] == ["a", "missing"]
    assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [("b", "PreconditionFailed")]
    assert await s3.keys() == ["b", "c"]
    assert await s3.call("DeleteObjects", Bucket="bucket", Delete={"Objects": [{"Key": "b"}], "Quiet": True}) == {}


# Tags and attributes


async def test_tags(s3: S3Lab) -> None:
    await s3.bucket()
    await s3.put("k", b"x", Tagging="team=blue&empty=")
    tags = (await s3.call("GetObjectTagging", Bucket="bucket", Key="k"))["TagSet"]
    assert tags == [{"Key": "team", "Value": "blue"}, {"Key": "empty", "Value": ""}]
    assert (await s3.get("k"))["TagCount"] == 2
    many = [{"Key": str(number), "Value": ""} for number in range(11)]
    assert (
        await s3.refusal("PutObjectTagging", Bucket="bucket", Key="k", Tagging={"TagSet": many})
    ).code == "BadRequest"
    twice = [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]
    assert (
        await s3.refusal("PutObjectTagging", Bucket="bucket", Key="k", Tagging={"TagSet": twice})
    ).code == "InvalidTag"
    await s3.call("DeleteObjectTagging", Bucket="bucket", Key="k")
    assert "TagCount" not in await s3.get("k")


@pytest.mark.parametrize(
    "members",
    [
        {"StorageClass": "GLACIER"},
        {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "x"},
        {"ObjectLockMode": "GOVERNANCE"},
        {"ChecksumAlgorithm": "XXHASH64"},
    ],
)
async def test_what_is_not_built_is_named(s3: S3Lab, members: dict[str, str]) -> None:
    await s3.bucket()
    assert (await s3.refusal("PutObject", Bucket="bucket", Key="k", **members)).status == 501
    assert await s3.keys() == []


# Copies


async def test_a_copy_shares_its_bytes_and_nothing_else(s3: S3Lab) -> None:
    await s3.bucket()
    await s3.put("from", b"content", Metadata={"a": "1"}, Tagging="t=1")
    copied = await s3.call("CopyObject", Bucket="bucket", Key="to", CopySource="bucket/from")
    assert copied["CopyObjectResult"]["ETag"] == md5(b"content")
    await s3.call("DeleteObject", Bucket="bucket", Key="from")
    found = await s3.get("to")
    assert (found["Body"], found["Metadata"], found["TagCount"]) == (b"content", {"a": "1"}, 1)
    replacing = {"MetadataDirective": "REPLACE", "Metadata": {"b": "2"}, "TaggingDirective": "REPLACE"}
    await s3.call("CopyObject", Bucket="bucket", Key="to", CopySource="bucket/to", **replacing)
    found = await s3.get("to")
    assert (found["Body"], found["Metadata"], found.get("TagCount")) == (b"content", {"b": "2"}, None)


async def test_copies_that_are_refused(s3: S3Lab) -> None:
    await s3.bucket()
    await s3.put("k", b"x")
    for source, code in (
        ("bucket/none", "NoSuchKey"),
        ("no-such-bucket/k", "NoSuchBucket"),
        ("bucket", "InvalidArgument"),
        ("bucket/k", "InvalidRequest"),
    ):
        assert (await s3.refusal("CopyObject", Bucket="bucket", Key="k", CopySource=source)).code == code
    conditions = {"CopySourceIfMatch": '"other"'}
    error = await s3.refusal("CopyObject", Bucket="bucket", Key="to", CopySource="bucket/k", **conditions)
    assert error.code == "PreconditionFailed"


async def test_a_copy_of_what_was_uploaded_in_parts_is_one_piece(s3: S3Lab) -> None:
    await s3.bucket()
    whole = b"a" * (5 * MEBI) + b"b"
    await s3.upload("parts", whole[:-1], whole[-1:])
    copied = await s3.call("CopyObject", Bucket="bucket", Key="to", CopySource="/bucket/parts")
    assert copied["CopyObjectResult"]["ETag"] == md5(whole)
    assert await s3.body("to") == whole
