"""Code that lies in S3."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
import zipfile

import pytest

from lambent.control import quotas
from lambent.wire.operations import Caller
from unit.control.lab import ACCOUNT, REGION, ROLE, Lab, make_zip

FUNCTION = {"FunctionName": "f", "Runtime": "python3.12", "Role": ROLE, "Handler": "handler.handler"}
IN_S3 = {"S3Bucket": "packages", "S3Key": "dir/f.zip"}


def sha(package: bytes) -> str:
    return base64.b64encode(hashlib.sha256(package).digest()).decode()


def large_zip(size: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("handler.py"), "")
        archive.writestr(zipfile.ZipInfo("data"), os.urandom(size))
    return buffer.getvalue()


def leftovers(lab: Lab) -> list[str]:
    return [path.name for path in (lab.root / "blobs").iterdir() if path.name.startswith(".new-")]


async def test_a_function_from_s3_and_another_version_of_its_package(lab: Lab) -> None:
    lab.gate.set()
    await lab.put_object("packages", "dir/f.zip", make_zip("one"))
    versioned = {"Bucket": "packages", "VersioningConfiguration": {"Status": "Enabled"}}
    made = await lab.call("CreateFunction", **FUNCTION, Code=IN_S3)
    assert (made["CodeSha256"], made["CodeSize"]) == (sha(make_zip("one")), len(make_zip("one")))
    await lab.client.call("s3", "PutBucketVersioning", versioned, Caller(ACCOUNT, REGION))
    older = await lab.put_object("packages", "dir/f.zip", make_zip("two"))
    await lab.put_object("packages", "dir/f.zip", make_zip("three"))
    changed = await lab.call("UpdateFunctionCode", FunctionName="f", **IN_S3, S3ObjectVersion=older["VersionId"])
    assert changed["CodeSha256"] == sha(make_zip("two"))
    assert leftovers(lab) == []


async def test_more_than_a_request_can_carry(lab: Lab) -> None:
    package = large_zip(52_428_800)
    await lab.put_object("packages", "dir/f.zip", package)
    made = await lab.call("CreateFunction", **FUNCTION, Code=IN_S3)
    assert (made["CodeSha256"], made["CodeSize"]) == (sha(package), len(package))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"no zip", "Could not unzip uploaded file. Please check your file, then try to upload again."),
        (b"", "Uploaded file must be a non-empty zip"),
    ],
)
async def test_what_is_no_package_leaves_nothing(lab: Lab, body: bytes, message: str) -> None:
    await lab.put_object("packages", "dir/f.zip", body)
    error = await lab.refusal("CreateFunction", **FUNCTION, Code=IN_S3)
    assert (error.code, error.message) == ("InvalidParameterValueException", message)
    assert leftovers(lab) == []
    await lab.orphans.stop()
    assert [path.name for path in (lab.root / "trees").iterdir() if not path.name.startswith(".")] == []


async def test_a_bucket_of_another_region(lab: Lab) -> None:
    await lab.put_object("packages", "dir/f.zip", make_zip(), region="eu-west-1")
    error = await lab.refusal("CreateFunction", **FUNCTION, Code=IN_S3)
    assert error.message == (
        "Error occurred while GetObject. S3 Error Code: PermanentRedirect. S3 Error Message: The bucket is in this"
        " region: eu-west-1. Please use this region to retry the request"
    )


async def test_a_version_that_is_not_there(lab: Lab) -> None:
    await lab.put_object("packages", "dir/f.zip", make_zip())
    error = await lab.refusal("CreateFunction", **FUNCTION, Code=IN_S3 | {"S3ObjectVersion": "0" * 32})
    assert "S3 Error Code: NoSuchVersion." in str(error.message)


async def test_a_package_that_is_refused_before_it_was_read_is_let_go(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file goes with the object that it belonged to."""
    await lab.put_object("packages", "dir/f.zip", large_zip(100_000))
    monkeypatch.setattr(quotas, "TOTAL_CODE_SIZE", 1000)
    error = await lab.refusal("CreateFunction", **FUNCTION, Code=IN_S3)
    assert error.code == "CodeStorageExceededException"
    await lab.client.call("s3", "DeleteObject", {"Bucket": "packages", "Key": "dir/f.zip"}, Caller(ACCOUNT, REGION))
    await lab.s3.stop()
    contents = lab.s3.contents
    while contents._unlinking:
        await asyncio.sleep(0)
    assert list((lab.root / "objects").glob("??/*")) == []
