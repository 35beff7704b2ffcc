"""Roles and what hangs on them."""

import urllib.parse

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambent.services.iam import shapes
from lambent.wire.errors import AwsError

from .lab import ACCOUNT, LAMBDA, OTHER, allowing

BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


async def test_a_role_is_made_found_and_stays(iam):
    made = await iam.role(Path="/apps/", Description="runs", Tags=[{"Key": "team", "Value": "a"}])
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/apps/runner"
    assert made["RoleId"].startswith("AROA")
    assert len(made["RoleId"]) == 21
    assert urllib.parse.unquote(made["AssumeRolePolicyDocument"]) == LAMBDA
    assert made["MaxSessionDuration"] == 3600
    await iam.restart()
    found = (await iam.call("GetRole", RoleName="runner"))["Role"]
    assert found == {**made, "RoleLastUsed": {}}
    assert (await iam.call("ListRoles", account=OTHER))["Roles"] == []


async def test_names_are_unique_whatever_their_case(iam):
    await iam.role()
    assert await iam.refusal("CreateRole", RoleName="Runner", AssumeRolePolicyDocument=LAMBDA) == (
        "EntityAlreadyExists",
        "Role with name Runner already exists.",
    )


async def test_what_is_not_there(iam):
    gone = ("NoSuchEntity", "The role with name runner cannot be found.")
    assert await iam.refusal("GetRole", RoleName="runner") == gone
    assert await iam.refusal("DeleteRole", RoleName="runner") == gone
    assert await iam.refusal("AttachRolePolicy", RoleName="runner", PolicyArn=BASIC) == gone
    await iam.role()
    assert await iam.refusal("GetRolePolicy", RoleName="runner", PolicyName="logs") == (
        "NoSuchEntity",
        "The role policy with name logs cannot be found.",
    )
    arn = f"arn:aws:iam::{ACCOUNT}:policy/mine"
    assert await iam.refusal("AttachRolePolicy", RoleName="runner", PolicyArn=arn) == (
        "NoSuchEntity",
        f"Policy {arn} does not exist or is not attachable.",
    )
    assert await iam.refusal("DetachRolePolicy", RoleName="runner", PolicyArn=BASIC) == (
        "NoSuchEntity",
        f"Policy {BASIC} was not found.",
    )


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "Syntax errors in policy."),
        (allowing("sts:AssumeRole"), "Has prohibited field Resource"),
        (LAMBDA.replace("2012-10-17", "2013-10-17"), "Policy document must be version 2012-10-17 or greater."),
    ],
)
async def test_a_malformed_trust_policy_is_refused(iam, document, message):
    refused = await iam.refusal("CreateRole", RoleName="runner", AssumeRolePolicyDocument=document)
    assert refused == ("MalformedPolicyDocument", message)
    assert (await iam.call("ListRoles"))["Roles"] == []
    await iam.role()
    refused = await iam.refusal("UpdateAssumeRolePolicy", RoleName="runner", PolicyDocument=document)
    assert refused == ("MalformedPolicyDocument", message)


async def test_a_role_is_changed(iam):
    await iam.role(MaxSessionDuration=7200)
    await iam.call("UpdateRole", RoleName="runner", Description="new", MaxSessionDuration=3700)
    trust = LAMBDA.replace("lambda", "events")
    await iam.call("UpdateAssumeRolePolicy", RoleName="runner", PolicyDocument=trust)
    role = (await iam.call("GetRole", RoleName="runner"))["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("new", 3700)
    assert urllib.parse.unquote(role["AssumeRolePolicyDocument"]) == trust


async def test_a_role_with_policies_cannot_be_deleted(iam):
    await iam.role()
    await iam.call("PutRolePolicy", RoleName="runner", PolicyName="logs", PolicyDocument=allowing("logs:*"))
    await iam.call("AttachRolePolicy", RoleName="runner", PolicyArn=BASIC)
    assert await iam.refusal("DeleteRole", RoleName="runner") == (
        "DeleteConflict",
        "Cannot delete entity, must detach all policies first.",
    )
    await iam.call("DetachRolePolicy", RoleName="runner", PolicyArn=BASIC)
    assert await iam.refusal("DeleteRole", RoleName="runner") == (
        "DeleteConflict",
        "Cannot delete entity, must delete policies first.",
    )
    await iam.call("DeleteRolePolicy", RoleName="runner", PolicyName="logs")
    assert (await iam.call("ListInstanceProfilesForRole", RoleName="runner"))["InstanceProfiles"] == []
    await iam.call("DeleteRole", RoleName="runner")
    assert (await iam.refusal("GetRole", RoleName="runner"))[0] == "NoSuchEntity"


async def test_inline_policies(iam):
    await iam.role()
    for name in ("b", "a"):
        await iam.call("PutRolePolicy", RoleName="runner", PolicyName=name, PolicyDocument=allowing(f"s3:{name}"))
    assert (await iam.call("ListRolePolicies", RoleName="runner"))["PolicyNames"] == ["a", "b"]
    found = await iam.call("GetRolePolicy", RoleName="runner", PolicyName="b")
    assert urllib.parse.unquote(found["PolicyDocument"]) == allowing("s3:b")
    huge = allowing("s3:" + "x" * 10_240)
    assert await iam.refusal("PutRolePolicy", RoleName="runner", PolicyName="c", PolicyDocument=huge) == (
        "LimitExceeded",
        "Maximum policy size of 10240 bytes exceeded for role runner",
    )


async def test_ten_managed_policies_at_most_and_each_once(iam):
    await iam.role()
    arns = [await iam.policy(f"p{number}") for number in range(11)]
    for arn in (*arns[:10], arns[0]):
        await iam.call("AttachRolePolicy", RoleName="runner", PolicyArn=arn)
    held = (await iam.call("ListAttachedRolePolicies", RoleName="runner"))["AttachedPolicies"]
    assert [entry["PolicyArn"] for entry in held] == arns[:10]
    assert await iam.refusal("AttachRolePolicy", RoleName="runner", PolicyArn=arns[10]) == (
        "LimitExceeded",
        "Cannot exceed quota for PoliciesPerRole: 10",
    )


async def test_an_unknown_policy_of_aws_is_not_built(iam):
    await iam.role()
    arn = "arn:aws:iam::aws:policy/AmazonMechanicalTurkFullAccess"
    code, message = await iam.refusal("AttachRolePolicy", RoleName="runner", PolicyArn=arn)
    assert code == "NotImplemented"
    assert arn in message


async def test_tags_and_boundary(iam):
    arn = await iam.policy("bounds")
    await iam.role(PermissionsBoundary=arn)
    boundary = (await iam.call("GetRole", RoleName="runner"))["Role"]["PermissionsBoundary"]
    assert boundary["PermissionsBoundaryArn"] == arn
    assert (await iam.refusal("DeletePolicy", PolicyArn=arn))[0] == "DeleteConflict"
    await iam.call("DeleteRolePermissionsBoundary", RoleName="runner")
    await iam.call("DeletePolicy", PolicyArn=arn)
    await iam.call("TagRole", RoleName="runner", Tags=[{"Key": "b", "Value": "1"}, {"Key": "a", "Value": "2"}])
    await iam.call("TagRole", RoleName="runner", Tags=[{"Key": "B", "Value": "3"}])
    await iam.call("UntagRole", RoleName="runner", TagKeys=["a"])
    assert (await iam.call("ListRoleTags", RoleName="runner"))["Tags"] == [{"Key": "B", "Value": "3"}]
    twice = [{"Key": "k", "Value": "1"}, {"Key": "K", "Value": "2"}]
    assert (await iam.refusal("TagRole", RoleName="runner", Tags=twice))[0] == "InvalidInput"


async def test_pages(iam):
    names = [f"r{number}" for number in range(5)]
    for name in names:
        await iam.role(name)
    seen, marker = [], {}
    while True:
        answer = await iam.call("ListRoles", MaxItems=2, **marker)
        seen += [role["RoleName"] for role in answer["Roles"]]
        if not answer["IsTruncated"]:
            break
        marker = {"Marker": answer["Marker"]}
    assert seen == names
    assert (await iam.refusal("ListRoles", Marker="?"))[0] == "ValidationError"


NAMES = st.text("abcXYZ019_+=,.@-", min_size=1, max_size=64)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=NAMES, path=st.from_regex(r"/([a-z0-9.!~-]+/){0,3}", fullmatch=True))
async def test_every_name_and_path_comes_back(iam, name, path):
    made = await iam.role(name, Path=path)
    assert made["Arn"].endswith(f":role{path}{name}")
    assert (await iam.call("GetRole", RoleName=name))["Role"]["Path"] == path
    await iam.call("DeleteRole", RoleName=name)


@given(st.text(max_size=40))
def test_a_path_is_one_or_refused(path):
    try:
        assert shapes.path_of({"Path": path}) == path
    except AwsError as error:
        assert error.code == "ValidationError"
    else:
        assert path[0] == path[-1] == "/"
        assert path.isascii()
