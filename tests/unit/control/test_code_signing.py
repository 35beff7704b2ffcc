"""Code signing: unsigned packages are blocked or let through, and configurations in use stay."""

from __future__ import annotations

import pytest

from .lab import ROLE, Lab, make_zip

PUBLISHERS = {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:111111111111:/signing-profiles/p/v"]}


async def config(lab: Lab, policy: str | None = None, **members) -> str:
    policies = {"CodeSigningPolicies": {"UntrustedArtifactOnDeployment": policy}} if policy else {}
    answer = await lab.call("CreateCodeSigningConfig", AllowedPublishers=PUBLISHERS, **policies, **members)
    return answer["CodeSigningConfig"]["CodeSigningConfigArn"]


async def test_without_a_policy_it_only_warns_and_has_no_description(lab):
    arn = await config(lab)
    shown = (await lab.call("GetCodeSigningConfig", CodeSigningConfigArn=arn))["CodeSigningConfig"]
    assert shown["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Warn"}
    assert "Description" not in shown
    assert "Tags" not in shown
    created = await lab.create("f", CodeSigningConfigArn=arn)
    assert created["State"] == "Pending"
    chosen = await lab.call("GetFunctionCodeSigningConfig", FunctionName="f")
    assert chosen == {"CodeSigningConfigArn": arn, "FunctionName": "f"}


async def test_an_unsigned_package_is_blocked_where_signatures_are_enforced(lab):
    arn = await config(lab, "Enforce")
    error = await lab.refusal("create", name="f", CodeSigningConfigArn=arn)
    assert error.code == "CodeVerificationFailedException"
    assert error.message == (
        "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client"
        " is not configured to accept. Check the provided signature for f."
    )
    assert (await lab.call("ListFunctions"))["Functions"] == []
    assert (await lab.call("ListFunctionsByCodeSigningConfig", CodeSigningConfigArn=arn))["FunctionArns"] == []


async def test_what_runs_keeps_running_and_cannot_be_updated(lab):
    await lab.create("f")
    await lab.ready("f")
    arn = await config(lab, "Enforce")
    await lab.call("PutFunctionCodeSigningConfig", FunctionName="f", CodeSigningConfigArn=arn)
    error = await lab.refusal("UpdateFunctionCode", FunctionName="f", ZipFile=make_zip("new"))
    assert error.code == "CodeVerificationFailedException"
    assert (await lab.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=9))["Timeout"] == 9
    await lab.ready("f")
    await lab.call("DeleteFunctionCodeSigningConfig", FunctionName="f")
    await lab.call("UpdateFunctionCode", FunctionName="f", ZipFile=make_zip("new"))


async def test_a_configuration_in_use_cannot_be_deleted(lab):
    arn = await config(lab)
    await lab.create("f", CodeSigningConfigArn=arn)
    error = await lab.refusal("DeleteCodeSigningConfig", CodeSigningConfigArn=arn)
    assert error.code == "ResourceConflictException"
    await lab.call("DeleteFunction", FunctionName="f")  # takes its choice along
    await lab.call("DeleteCodeSigningConfig", CodeSigningConfigArn=arn)
    assert (await lab.refusal("GetCodeSigningConfig", CodeSigningConfigArn=arn)).code == "ResourceNotFoundException"


async def test_another_account_or_region_does_not_see_it(lab):
    arn = await config(lab)
    for elsewhere in ({"account": "222222222222"}, {"region": "eu-west-1"}):
        error = await lab.refusal("GetCodeSigningConfig", CodeSigningConfigArn=arn, **elsewhere)
        assert error.code == "ResourceNotFoundException"
        assert (await lab.call("ListCodeSigningConfigs", **elsewhere))["CodeSigningConfigs"] == []


async def test_its_tags(lab):
    arn = await config(lab, Tags={"a": "1"})
    await lab.call("TagResource", Resource=arn, Tags={"b": "2"})
    assert (await lab.call("ListTags", Resource=arn))["Tags"] == {"a": "1", "b": "2"}
    await lab.call("UpdateCodeSigningConfig", CodeSigningConfigArn=arn, Description="new")
    assert (await lab.call("ListTags", Resource=arn))["Tags"] == {"a": "1", "b": "2"}


@pytest.mark.parametrize("operation", ["CreateFunction", "TagResource"])
async def test_tags_of_the_system_cannot_be_given(lab, operation):
    tags = {"Tags": {"AWS:cloudformation": "x"}}
    if operation == "TagResource":
        members = {"Resource": (await lab.create("f"))["FunctionArn"], **tags}
    else:
        code = {"Code": {"ZipFile": make_zip()}, "Runtime": "python3.12", "Handler": "h.h"}
        members = {"FunctionName": "f", "Role": ROLE, **code, **tags}
    error = await lab.refusal(operation, **members)
    assert error.code == "InvalidParameterValueException"
    assert "reserved" in error.message
