"""Reserved and provisioned concurrency, and the account's settings: what may be asked, and what is answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lambent.control import quotas

from .lab import ACCOUNT, REGION, Lab, key_of, make_zip

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
BELOW = "decreases account's UnreservedConcurrentExecution below its minimum value of [100]."


async def reserve(lab: Lab, executions: int, name: str = "f") -> Any:
    return await lab.call("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=executions)


def put(qualifier: str = "1", executions: int = 1, name: str = "f") -> dict[str, Any]:
    given = {"FunctionName": name, "Qualifier": qualifier, "ProvisionedConcurrentExecutions": executions}
    return {"operation": "PutProvisionedConcurrencyConfig", **given}


async def unreserved(lab: Lab) -> int:
    return (await lab.call("GetAccountSettings"))["AccountLimit"]["UnreservedConcurrentExecutions"]


@pytest.fixture
async def published(lab: Lab) -> Lab:
    """A function with versions 1 and 2, and an alias to 1."""
    await lab.create("f", Publish=True)
    await lab.ready("f")
    await lab.call("UpdateFunctionConfiguration", FunctionName="f", Description="changed")
    await lab.ready("f")
    await lab.call("PublishVersion", FunctionName="f")
    await lab.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    return lab


async def finished(lab: Lab, *, failure: tuple[str, str] | None = None) -> None:
    """Let the engine bring up, or fail to bring up, what is provisioned."""
    lab.failure = failure
    lab.gate.set()
    while any(config.status == "IN_PROGRESS" for config in lab.concurrency.everything()):
        await asyncio.sleep(0)
    lab.gate.clear()


async def test_a_reservation_is_shown_changed_and_taken_away(published):
    assert await published.call("GetFunctionConcurrency", FunctionName="f") == {}
    assert "Concurrency" not in await published.call("GetFunction", FunctionName="f")
    assert await reserve(published, 3) == {"ReservedConcurrentExecutions": 3}
    assert await published.call("GetFunctionConcurrency", FunctionName=ARN) == {"ReservedConcurrentExecutions": 3}
    shown = await published.call("GetFunction", FunctionName="f")
    assert shown["Concurrency"] == {"ReservedConcurrentExecutions": 3}
    await reserve(published, 0)
    assert published.concurrency.reserved(key_of("f")) == 0
    assert await published.call("DeleteFunctionConcurrency", FunctionName="f") == {}
    assert await published.call("GetFunctionConcurrency", FunctionName="f") == {}


async def test_reservations_leave_a_hundred_to_the_others(published):
    await published.create("g")
    await reserve(published, 500)
    await reserve(published, 400, "g")
    assert await unreserved(published) == 100
    error = await published.refusal("PutFunctionConcurrency", FunctionName="g", ReservedConcurrentExecutions=401)
    assert error.message == f"Specified ReservedConcurrentExecutions for function {BELOW}"
    assert error.fields == {"Type": None}
    await reserve(published, 400, "g")  # its own reservation does not count against it
    await published.call("DeleteFunction", FunctionName="f")
    assert await unreserved(published) == 600


async def test_two_reservations_at_once_do_not_exceed_the_account(published):
    await published.create("g")
    answers = await asyncio.gather(reserve(published, 500), reserve(published, 500, "g"), return_exceptions=True)
    assert sorted(isinstance(answer, Exception) for answer in answers) == [False, True]


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("GetFunctionConcurrency", {}),
        ("DeleteFunctionConcurrency", {}),
        ("ListProvisionedConcurrencyConfigs", {}),
        ("DeleteProvisionedConcurrencyConfig", {"Qualifier": "1"}),
    ],
)
async def test_of_a_function_that_is_not_there(lab, operation, members):
    error = await lab.refusal(operation, FunctionName="f", **members)
    assert (error.code, error.message) == ("ResourceNotFoundException", f"Function not found: {ARN}")


async def test_provisioned_concurrency_is_in_progress_until_the_engine_says_ready(published):
    before = await published.call("GetFunctionConfiguration", FunctionName="f", Qualifier="1")
    expected = {
        "RequestedProvisionedConcurrentExecutions": 2,
        "AvailableProvisionedConcurrentExecutions": 0,
        "AllocatedProvisionedConcurrentExecutions": 0,
        "Status": "IN_PROGRESS",
        "LastModified": f"{published.clock.now():%Y-%m-%dT%H:%M:%S}+0000",
    }
    assert await published.call(**put(executions=2)) == expected
    get = {"operation": "GetProvisionedConcurrencyConfig", "FunctionName": "f", "Qualifier": "1"}
    assert await published.call(**get) == expected
    published.allocated = 2
    await finished(published)
    ready = {"AvailableProvisionedConcurrentExecutions": 2, "AllocatedProvisionedConcurrentExecutions": 2}
    assert await published.call(**get) == expected | ready | {"Status": "READY"}
    listed = await published.call("ListProvisionedConcurrencyConfigs", FunctionName="f")
    assert listed == {
        "ProvisionedConcurrencyConfigs": [{"FunctionArn": f"{ARN}:1", **expected, **ready, "Status": "READY"}]
    }
    assert before["FunctionArn"] == f"{ARN}:1"
    assert await published.call("DeleteProvisionedConcurrencyConfig", FunctionName="f", Qualifier="1") == {}
    error = await published.refusal(**get)
    assert error.code == "ProvisionedConcurrencyConfigNotFoundException"
    assert error.message == "No Provisioned Concurrency Config found for this function"
    assert await published.call("DeleteProvisionedConcurrencyConfig", FunctionName="f", Qualifier="1") == {}


async def test_what_cannot_be_initialised_has_failed_with_the_reason(published):
    await published.call(**put())
    await finished(published, failure=("FAILED", "FUNCTION_ERROR_INIT_FAILURE"))
    shown = await published.call("GetProvisionedConcurrencyConfig", FunctionName="f", Qualifier="1")
    assert (shown["Status"], shown["StatusReason"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE")


@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        (
            put("$LATEST"),
            "InvalidParameterValueException",
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        ),
        (put("9"), "ResourceNotFoundException", f"Function not found: {ARN}:9"),
        (put("nothing"), "ResourceNotFoundException", f"Cannot find alias arn: {ARN}:nothing"),
        (put("1", 901), "InvalidParameterValueException", f"Specified ConcurrentExecutions for function {BELOW}"),
        (
            put("1", 1001),
            "InvalidParameterValueException",
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000].",
        ),
        (
            {"operation": "GetProvisionedConcurrencyConfig", "FunctionName": "f", "Qualifier": "$LATEST"},
            "InvalidParameterValueException",
            "The function resource provided must be an alias or a published version.",
        ),
        (
            {"operation": "DeleteProvisionedConcurrencyConfig", "FunctionName": "f", "Qualifier": "$LATEST"},
            "InvalidParameterValueException",
            "The function resource provided must be an alias or a published version.",
        ),
        (
            {"operation": "GetProvisionedConcurrencyConfig", "FunctionName": "f", "Qualifier": "9"},
            "ResourceNotFoundException",
            f"Function not found: {ARN}:9",
        ),
        (
            {"operation": "GetProvisionedConcurrencyConfig", "FunctionName": "f", "Qualifier": "nothing"},
            "ResourceNotFoundException",
            f"Cannot find alias arn: {ARN}:nothing",
        ),
    ],
)
async def test_what_cannot_be_provisioned(published, members, code, message):
    error = await published.refusal(**members)
    assert (error.code, error.message) == (code, message)
    assert list(published.concurrency.everything()) == []


async def test_a_version_is_provisioned_by_itself_or_through_an_alias_never_both(published):
    await published.call(**put("1"))
    error = await published.refusal(**put("live"))
    assert (error.code, error.message) == (
        "ResourceConflictException",
        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
    )
    await published.call("DeleteProvisionedConcurrencyConfig", FunctionName="f", Qualifier="1")
    await published.call(**put("live"))
    error = await published.refusal(**put("1"))
    assert error.message == "Version is pointed by a Provisioned Concurrency alias"
    await published.call(**put("2"))
    error = await published.refusal("UpdateAlias", FunctionName="f", Name="live", FunctionVersion="2")
    assert error.code == "ResourceConflictException"
    assert published.aliases.route(key_of("f"), "live") == "1"


async def test_an_alias_with_weights_or_to_latest_cannot_be_provisioned(published):
    weights = {"AdditionalVersionWeights": {"2": 0.5}}
    await published.call("UpdateAlias", FunctionName="f", Name="live", RoutingConfig=weights)
    error = await published.refusal(**put("live"))
    assert error.message == "Alias with weights can not be used with Provisioned Concurrency"
    await published.call("CreateAlias", FunctionName="f", Name="newest", FunctionVersion="$LATEST")
    error = await published.refusal(**put("newest"))
    assert error.message == "Provisioned Concurrency Configs cannot be applied to unpublished function versions."


async def test_what_is_provisioned_fits_into_the_reservation(published):
    await reserve(published, 3)
    await published.call(**put("1", 2))
    message = (
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    )
    assert (await published.refusal(**put("2", 2))).message == message
    await published.call(**put("2", 1))
    await published.call(**put("1", 2))  # again: what it has already does not count against it
    error = await published.refusal("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=2)
    problem = " ReservedConcurrentExecutions  2 should not be lower than function's total provisioned concurrency [3]."
    assert (error.message, error.fields) == (problem, {"Type": None})
    assert await unreserved(published) == 997
    await published.call("DeleteFunctionConcurrency", FunctionName="f")
    assert await unreserved(published) == 997  # now taken from what all share


async def test_an_alias_that_moves_takes_what_is_provisioned_along(published):
    await published.call(**put("live"))
    await finished(published)
    assert published.concurrency.provisioned(key_of("f"))["live"].version == "1"
    await published.call("UpdateAlias", FunctionName="f", Name="live", FunctionVersion="2")
    config = published.concurrency.provisioned(key_of("f"))["live"]
    assert (config.version, config.status) == ("2", "IN_PROGRESS")
    await finished(published)
    assert published.concurrency.provisioned(key_of("f"))["live"].status == "READY"


async def test_a_deleted_version_alias_or_function_lets_go_of_its_concurrency(published):
    await reserve(published, 10)
    await published.call(**put("2"))
    await published.call(**put("live"))
    await published.call("DeleteFunction", FunctionName="f", Qualifier="2")
    await published.call("DeleteAlias", FunctionName="f", Name="live")
    assert list(published.concurrency.everything()) == []
    await published.call("DeleteFunction", FunctionName="f")
    await published.create("f")
    assert await published.call("GetFunctionConcurrency", FunctionName="f") == {}


async def test_work_that_was_overtaken_changes_nothing(published):
    await published.call(**put("1", 1))
    await published.call(**put("1", 2))
    await finished(published)
    (config,) = published.concurrency.everything()
    assert (config.requested, config.status) == (2, "READY")


async def test_concurrency_survives_a_restart_and_ready_environments_are_asked_for_again(published):
    await reserve(published, 10)
    await published.call(**put("1"))
    await finished(published)
    await published.close()
    lab = await Lab.open(published.root)
    try:
        assert lab.concurrency.reserved(key_of("f")) == 10
        await lab.concurrency.renew()
        (config,) = lab.concurrency.everything()
        assert config.status == "IN_PROGRESS"
        await finished(lab)
        (config,) = lab.concurrency.everything()
        assert config.status == "READY"
    finally:
        await lab.close()


async def test_with_snap_start_nothing_is_provisioned(lab):
    await lab.create("f", Publish=True, SnapStart={"ApplyOn": "PublishedVersions"})
    await lab.ready("f")
    error = await lab.refusal(**put("1"))
    assert error.code == "InvalidParameterValueException"
    assert "SnapStart" in error.message


async def test_the_account_counts_functions_and_the_code_of_every_version(published):
    size = len(make_zip())
    settings = await published.call("GetAccountSettings")
    assert settings["AccountUsage"] == {"TotalCodeSize": 3 * size, "FunctionCount": 1}
    assert settings["AccountLimit"] == {
        "TotalCodeSize": 80530636800,
        "CodeSizeUnzipped": 262144000,
        "CodeSizeZipped": 52428800,
        "ConcurrentExecutions": 1000,
        "UnreservedConcurrentExecutions": 1000,
    }
    content = {"ZipFile": make_zip("layer")}
    await published.call("PublishLayerVersion", LayerName="l", Content=content)
    await published.call("DeleteFunction", FunctionName="f", Qualifier="2")
    usage = (await published.call("GetAccountSettings"))["AccountUsage"]
    assert usage == {"TotalCodeSize": 2 * size + len(make_zip("layer")), "FunctionCount": 1}
    other = (await published.call("GetAccountSettings", region="eu-west-1"))["AccountUsage"]
    assert other == {"TotalCodeSize": 0, "FunctionCount": 0}


async def test_the_account_stores_no_more_code_than_its_quota(published, monkeypatch):
    size = len(make_zip())
    monkeypatch.setattr(quotas, "TOTAL_CODE_SIZE", 4 * size)
    await published.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=9)
    await published.ready("f")
    await published.call("PublishVersion", FunctionName="f")
    for operation, members in (
        ("create", {"name": "g"}),
        ("UpdateFunctionCode", {"FunctionName": "f", "ZipFile": make_zip("longer" * 100)}),
        ("PublishLayerVersion", {"LayerName": "l", "Content": {"ZipFile": make_zip()}}),
    ):
        error = await published.refusal(operation, **members)
        assert (error.code, error.message) == ("CodeStorageExceededException", "Code storage limit exceeded.")
    assert (await published.call("GetAccountSettings"))["AccountUsage"]["TotalCodeSize"] == 4 * size
    await published.call("DeleteFunction", FunctionName="f", Qualifier="3")
    await published.create("g")
