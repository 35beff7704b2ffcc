"""The operations beyond the recorded cases: order of work, pages, waiting, code updates."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
import urllib.parse
import zipfile
from unittest import mock

import pytest

from lambent.control import quotas
from lambent.wire.errors import AwsError

from .lab import ACCOUNT, REGION, Lab, key_of, make_zip


async def state(lab: Lab, name: str = "f") -> tuple[str, str | None]:
    shown = await lab.call("GetFunctionConfiguration", FunctionName=name)
    return shown["State"], shown.get("LastUpdateStatus")


async def test_a_created_function_is_durable_with_its_code_before_the_answer(lab):
    archive = make_zip()
    created = await lab.create("f", Code={"ZipFile": archive})
    digest = hashlib.sha256(archive).hexdigest()
    assert created["CodeSha256"] == base64.b64encode(bytes.fromhex(digest)).decode()
    assert created["CodeSize"] == len(archive)
    assert await lab.blobs.get(digest) == archive
    assert (lab.trees.path(digest) / "handler.py").exists()
    rows = await lab.db.read(lambda c: c.execute("SELECT name, preparing FROM functions"))
    jobs = await lab.db.read(lambda c: c.execute("SELECT kind FROM jobs"))
    assert rows == [("f", created["RevisionId"])]
    assert jobs == [("prepare",)]


async def test_the_first_look_finds_a_new_function_active(lab):
    """The AWS waiters look at once and then only every second or every five."""
    await lab.create("f")
    look = asyncio.create_task(lab.call("GetFunction", FunctionName="f"))
    await asyncio.sleep(0.01)
    assert not look.done()
    lab.gate.set()
    assert (await look)["Configuration"]["State"] == "Active"


async def test_a_look_does_not_wait_for_long_work(lab):
    await lab.create("f")
    assert await state(lab) == ("Pending", None)


async def test_an_update_is_served_only_when_it_is_ready(lab):
    old, new = make_zip("old"), make_zip("new")
    await lab.create("f", Code={"ZipFile": old}, Timeout=5)
    assert lab.store.serving(key_of("f")) is None
    await lab.ready("f")
    await lab.call("UpdateFunctionCode", FunctionName="f", ZipFile=new)
    serving = lab.store.serving(key_of("f"))
    assert serving.code_digest == hashlib.sha256(old).hexdigest()
    await lab.ready("f")
    assert lab.store.serving(key_of("f")).code_digest == hashlib.sha256(new).hexdigest()
    await lab.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=9)
    assert lab.store.serving(key_of("f")).timeout == 5
    await lab.ready("f")
    assert lab.store.serving(key_of("f")).timeout == 9


async def test_a_creation_that_fails_says_why(lab):
    await lab.create("f")
    await lab.ready("f", ("InvalidRuntime", "python3.12 is not installed"))
    shown = await lab.call("GetFunctionConfiguration", FunctionName="f")
    assert shown["State"] == "Failed"
    assert shown["StateReasonCode"] == "InvalidRuntime"
    assert shown["StateReason"] == "python3.12 is not installed"
    assert lab.store.serving(key_of("f")) is None


async def test_a_failed_function_can_be_mended(lab):
    await lab.create("f")
    await lab.ready("f", ("InvalidRuntime", "python3.12 is not installed"))
    updated = await lab.call("UpdateFunctionConfiguration", FunctionName="f", Runtime="python3.13")
    assert (updated["State"], updated["LastUpdateStatus"]) == ("Pending", "InProgress")
    await lab.ready("f")
    assert await state(lab) == ("Active", "Successful")


async def test_an_update_that_fails_leaves_the_old_one_serving(lab):
    await lab.create("f", Timeout=5)
    await lab.ready("f")
    await lab.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=9)
    await lab.ready("f", ("InvalidConfiguration", "no"))
    shown = await lab.call("GetFunctionConfiguration", FunctionName="f")
    assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "Failed")
    assert (shown["LastUpdateStatusReason"], shown["LastUpdateStatusReasonCode"]) == ("no", "InvalidConfiguration")
    assert "StateReason" not in shown
    assert lab.store.serving(key_of("f")).timeout == 5


@pytest.mark.parametrize("operation", ["UpdateFunctionCode", "UpdateFunctionConfiguration"])
async def test_a_pending_function_cannot_be_updated(lab, operation):
    await lab.create("f")
    members = {"ZipFile": make_zip("new")} if operation == "UpdateFunctionCode" else {"Timeout": 9}
    with pytest.raises(AwsError) as caught:
        await lab.call(operation, FunctionName="f", **members)
    assert caught.value.code == "ResourceConflictException"
    assert caught.value.message == (
        "The operation cannot be performed at this time. The function is currently in the following state: Pending"
    )


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("UpdateFunctionCode", {"FunctionName": "f:1", "ZipFile": make_zip()}),
        ("UpdateFunctionConfiguration", {"FunctionName": "f:prod"}),
        ("create", {"name": "g:1"}),
    ],
)
async def test_versions_and_aliases_cannot_be_changed(lab, operation, members):
    await lab.create("f")
    error = await lab.refusal(operation, **members)
    assert str(error.message).startswith("This operation is permitted on Lambda functions only.")


@pytest.mark.parametrize("operation", ["UpdateFunctionCode", "UpdateFunctionConfiguration"])
async def test_what_is_missing_cannot_be_updated(lab, operation):
    members = {"ZipFile": make_zip()} if operation == "UpdateFunctionCode" else {}
    with pytest.raises(AwsError) as caught:
        await lab.call(operation, FunctionName="missing", **members)
    assert caught.value.code == "ResourceNotFoundException"
    assert caught.value.message == f"Function not found: arn:aws:lambda:{REGION}:{ACCOUNT}:function:missing"


async def test_a_dry_run_checks_the_code_and_changes_nothing(lab):
    created = await lab.create("f")
    await lab.ready("f")
    before = await lab.call("GetFunctionConfiguration", FunctionName="f")
    new = make_zip("new")
    tried = await lab.call("UpdateFunctionCode", FunctionName="f", ZipFile=new, DryRun=True)
    assert tried["CodeSha256"] == base64.b64encode(hashlib.sha256(new).digest()).decode()
    assert tried["CodeSha256"] != created["CodeSha256"]
    assert await lab.call("GetFunctionConfiguration", FunctionName="f") == before
    await lab.orphans.stop()
    assert not await lab.blobs.exists(hashlib.sha256(new).hexdigest())
    with pytest.raises(AwsError, match="Could not unzip"):
        await lab.call("UpdateFunctionCode", FunctionName="f", ZipFile=b"bad", DryRun=True)


async def test_code_and_architecture_are_updated_together(lab):
    await lab.create("f")
    await lab.ready("f")
    updated = await lab.call("UpdateFunctionCode", FunctionName="f", ZipFile=make_zip("new"), Architectures=["arm64"])
    assert updated["Architectures"] == ["arm64"]
    with pytest.raises(AwsError, match="Please provide a source"):
        await lab.call("UpdateFunctionCode", FunctionName="f", Architectures=["x86_64"])


async def test_last_modified_is_the_time_of_the_call(lab):
    created = await lab.create("f")
    assert created["LastModified"] == "2026-11-21T05:04:33.120+0000"
    lab.clock.advance(60)
    await lab.ready("f")
    shown = await lab.call("GetFunctionConfiguration", FunctionName="f")
    assert shown["LastModified"] == "2026-11-21T05:04:33.120+0000"
    updated = await lab.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=4)
    assert updated["LastModified"] == "2026-11-21T05:05:33.120+0000"
    await lab.ready("f")
    lab.clock.advance(1)
    updated = await lab.call("UpdateFunctionCode", FunctionName="f", ZipFile=make_zip())
    assert updated["LastModified"] == "2026-11-21T05:05:34.120+0000"


async def test_the_runtime_version_is_the_same_for_a_runtime(lab):
    arn = (await lab.create("f", Runtime="python3.12"))["RuntimeVersionConfig"]["RuntimeVersionArn"]
    digest = hashlib.sha256(b"python3.12").hexdigest()
    assert arn == f"arn:aws:lambda:{REGION}::runtime:{digest}"


async def test_the_arn_has_the_qualifier_that_was_asked_for(lab):
    await lab.create("f")
    await lab.ready("f")
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
    for named, shown in (
        ({"FunctionName": "f"}, arn),
        ({"FunctionName": arn}, arn),
        ({"FunctionName": f"{ACCOUNT}:function:f"}, arn),
        ({"FunctionName": "f", "Qualifier": "$LATEST"}, f"{arn}:$LATEST"),
        ({"FunctionName": f"{arn}:$LATEST"}, f"{arn}:$LATEST"),
    ):
        assert (await lab.call("GetFunction", **named))["Configuration"]["FunctionArn"] == shown
        assert (await lab.call("GetFunctionConfiguration", **named))["FunctionArn"] == shown


async def test_other_partitions_have_their_own_arns(lab):
    await lab.create("f")
    created = await lab.call(
        "CreateFunction",
        region="cn-north-1",
        FunctionName="f",
        Runtime="python3.12",
        Role=f"arn:aws-cn:iam::{ACCOUNT}:role/r",
        Handler="h.h",
        Code={"ZipFile": make_zip()},
    )
    assert created["FunctionArn"] == f"arn:aws-cn:lambda:cn-north-1:{ACCOUNT}:function:f"
    assert created["RuntimeVersionConfig"]["RuntimeVersionArn"].startswith("arn:aws-cn:lambda:cn-north-1::runtime:")


async def test_accounts_and_regions_do_not_see_each_other(lab):
    await lab.create("f")
    for elsewhere in ({"account": "222222222222"}, {"region": "eu-west-1"}):
        assert (await lab.call("ListFunctions", **elsewhere))["Functions"] == []
        with pytest.raises(AwsError, match="Function not found"):
            await lab.call("GetFunction", FunctionName="f", **elsewhere)
        with pytest.raises(AwsError, match="Function not found"):
            await lab.call("DeleteFunction", FunctionName="f", **elsewhere)
    assert len((await lab.call("ListFunctions"))["Functions"]) == 1


# Lists


async def names(lab: Lab, **members) -> list[str]:
    return [shown["FunctionName"] for shown in (await lab.call("ListFunctions", **members))["Functions"]]


async def test_pages_hold_what_was_asked_for_and_never_more_than_50(lab):
    archive = make_zip()
    expected = [f"f{n:03}" for n in range(120)]
    for name in expected:
        await lab.create(name, Code={"ZipFile": archive})
    for size, pages in (
        (50, [50, 50, 20]),
        (10000, [50, 50, 20]),
        (None, [50, 50, 20]),
        (40, [40, 40, 40]),
        (1, [1] * 120),
    ):
        found, marker, counts = [], None, []
        while True:
            members = {"MaxItems": size} if size else {}
            answer = await lab.call("ListFunctions", **members, **({"Marker": marker} if marker else {}))
            counts.append(len(answer["Functions"]))
            found += [shown["FunctionName"] for shown in answer["Functions"]]
            marker = answer.get("NextMarker")
            if marker is None:
                break
        assert counts == pages
        assert found == expected


async def test_pages_survive_what_comes_and_goes_between_them(lab):
    for name in "abcdef":
        await lab.create(name)
    first = await lab.call("ListFunctions", MaxItems=3)
    assert [shown["FunctionName"] for shown in first["Functions"]] == ["a", "b", "c"]
    for gone in "acd":
        await lab.call("DeleteFunction", FunctionName=gone)
    for new in ("aa", "e2"):
        await lab.create(new)
    assert await names(lab, MaxItems=3, Marker=first["NextMarker"]) == ["e", "e2", "f"]


@pytest.mark.parametrize("marker", ["x", "!!!", base64.b64encode(b"[1]").decode(), base64.b64encode(b"{}").decode()])
async def test_a_marker_that_is_none_is_refused(lab, marker):
    with pytest.raises(AwsError) as caught:
        await lab.call("ListFunctions", Marker=marker)
    assert caught.value.code == "InvalidParameterValueException"


async def test_all_versions_are_listed_with_their_qualifiers(lab):
    await lab.create("f")
    [shown] = (await lab.call("ListFunctions", FunctionVersion="ALL"))["Functions"]
    assert shown["FunctionArn"].endswith(":function:f:$LATEST")


# Deletion


async def test_a_deleted_function_is_gone_with_its_code(lab):
    created = await lab.create("f")
    await lab.ready("f")
    assert await lab.call("DeleteFunction", FunctionName="f") == {"StatusCode": 204}
    assert lab.store.serving(key_of("f")) is None
    await lab.orphans.stop()
    digest = base64.b64decode(created["CodeSha256"]).hex()
    assert not await lab.blobs.exists(digest)
    assert not lab.trees.exists(digest)


async def test_a_function_can_be_deleted_while_it_is_created_and_made_again(lab):
    await lab.create("f")
    await lab.call("DeleteFunction", FunctionName="f")
    await lab.create("f", Timeout=7)
    await lab.ready("f")
    async with asyncio.timeout(10):
        while await lab.db.read(lambda c: c.execute("SELECT id FROM jobs")):
            await asyncio.sleep(0.001)
    assert await state(lab) == ("Active", "Successful")
    assert lab.store.serving(key_of("f")).timeout == 7


async def test_of_two_creations_at_once_one_wins(lab):
    tries = await asyncio.gather(
        *(lab.create("f", Code={"ZipFile": make_zip(str(n))}, Timeout=n) for n in range(1, 9)), return_exceptions=True
    )
    winners = [answer for answer in tries if isinstance(answer, dict)]
    assert len(winners) == 1
    assert all(error.code == "ResourceConflictException" for error in tries if isinstance(error, AwsError))
    await lab.ready("f")
    assert lab.store.serving(key_of("f")).timeout == winners[0]["Timeout"]
    await lab.orphans.stop()
    assert os.listdir(lab.root / "blobs") == [base64.b64decode(winners[0]["CodeSha256"]).hex()]


# Downloads


async def test_the_location_gives_the_code_back(lab):
    archive = make_zip("the very same")
    await lab.create("f", Code={"ZipFile": archive})
    await lab.ready("f")
    location = (await lab.call("GetFunction", FunctionName="f"))["Code"]["Location"]
    assert location.startswith("http://127.0.0.1:4566/_lambent/code/")
    url = urllib.parse.urlsplit(location)
    response = await lab.functions.download(url.path, url.query)
    assert (response.status, response.body) == (200, archive)
    assert zipfile.ZipFile(io.BytesIO(response.body)).namelist() == ["handler.py"]


# What goes wrong below


async def test_a_full_disk_is_no_users_fault_and_leaves_nothing(lab):
    full = mock.patch("lambent.base.blobs.write_durably", side_effect=OSError(28, "No space left on device"))
    with full, pytest.raises(OSError, match="No space left"):
        await lab.create("f")
    await lab.orphans.stop()
    assert os.listdir(lab.root / "trees") == [".boot"]
    await lab.create("f")


async def test_a_cancelled_creation_happened_or_did_not(lab):
    for n in range(12):
        task = asyncio.create_task(lab.create(f"f{n}", Code={"ZipFile": make_zip(str(n))}))
        await asyncio.sleep(0.0003 * n)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await lab.orphans.stop()
    for function in (await lab.call("ListFunctions"))["Functions"]:
        assert await lab.blobs.exists(base64.b64decode(function["CodeSha256"]).hex())


async def test_an_account_cannot_store_more_code_than_its_quota(lab, monkeypatch):
    size = (await lab.create("f"))["CodeSize"]
    monkeypatch.setattr(quotas, "TOTAL_CODE_SIZE", 2 * size)
    await lab.ready("f")
    await lab.call("UpdateFunctionCode", FunctionName="f", ZipFile=make_zip())
    await lab.create("g")
    error = await lab.refusal("create", name="h")
    assert (error.code, error.message) == ("CodeStorageExceededException", "Code storage limit exceeded.")
    await lab.call("DeleteFunction", FunctionName="g")
    await lab.create("h")
