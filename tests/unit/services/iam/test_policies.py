"""Managed policies: ours with their versions, and AWS's."""

import urllib.parse

from lambent.services.iam import catalogue, documents

from .lab import ACCOUNT, OTHER, allowing

BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


async def test_a_policy_is_made_found_and_stays(iam):
    arn = await iam.policy(Path="/team/", Description="reads")
    assert arn == f"arn:aws:iam::{ACCOUNT}:policy/team/reading"
    await iam.restart()
    policy = (await iam.call("GetPolicy", PolicyArn=arn))["Policy"]
    assert (policy["DefaultVersionId"], policy["AttachmentCount"], policy["Description"]) == ("v1", 0, "reads")
    assert (await iam.refusal("GetPolicy", PolicyArn=arn, account=OTHER)) == (
        "NoSuchEntity",
        f"Policy {arn} was not found.",
    )
    assert await iam.refusal("CreatePolicy", PolicyName="Reading", PolicyDocument=allowing("s3:*")) == (
        "EntityAlreadyExists",
        "A policy called Reading already exists. Duplicate names are not allowed.",
    )


async def test_versions(iam):
    arn = await iam.policy()
    made = await iam.call("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=allowing("s3:Put*"))
    assert (made["PolicyVersion"]["VersionId"], made["PolicyVersion"]["IsDefaultVersion"]) == ("v2", False)
    await iam.call("SetDefaultPolicyVersion", PolicyArn=arn, VersionId="v2")
    assert await iam.refusal("DeletePolicyVersion", PolicyArn=arn, VersionId="v2") == (
        "DeleteConflict",
        "Cannot delete the default version of a policy.",
    )
    assert (await iam.refusal("DeletePolicy", PolicyArn=arn))[0] == "DeleteConflict"
    await iam.call("DeletePolicyVersion", PolicyArn=arn, VersionId="v1")
    again = await iam.call("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=allowing("s3:List*"), SetAsDefault=True)
    assert again["PolicyVersion"]["VersionId"] == "v3"
    listed = (await iam.call("ListPolicyVersions", PolicyArn=arn))["Versions"]
    assert [(version["VersionId"], version["IsDefaultVersion"]) for version in listed] == [("v3", True), ("v2", False)]
    found = (await iam.call("GetPolicyVersion", PolicyArn=arn, VersionId="v3"))["PolicyVersion"]
    assert urllib.parse.unquote(found["Document"]) == allowing("s3:List*")
    assert (await iam.refusal("GetPolicyVersion", PolicyArn=arn, VersionId="v1"))[0] == "NoSuchEntity"


async def test_five_versions_at_most(iam):
    arn = await iam.policy()
    for _ in range(4):
        await iam.call("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=allowing("s3:*"))
    code, message = await iam.refusal("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=allowing("s3:*"))
    assert code == "LimitExceeded"
    assert message.startswith("A managed policy can have up to 5 versions.")


async def test_who_holds_a_policy(iam):
    arn = await iam.policy()
    await iam.role("a")
    await iam.role("b", PermissionsBoundary=arn)
    await iam.call("AttachRolePolicy", RoleName="a", PolicyArn=arn)
    held = await iam.call("ListEntitiesForPolicy", PolicyArn=arn)
    assert [role["RoleName"] for role in held["PolicyRoles"]] == ["a", "b"]
    only = await iam.call("ListEntitiesForPolicy", PolicyArn=arn, PolicyUsageFilter="PermissionsBoundary")
    assert [role["RoleName"] for role in only["PolicyRoles"]] == ["b"]
    assert (await iam.call("GetPolicy", PolicyArn=arn))["Policy"]["AttachmentCount"] == 1
    assert await iam.refusal("DeletePolicy", PolicyArn=arn) == (
        "DeleteConflict",
        "Cannot delete a policy attached to entities.",
    )


async def test_lists(iam):
    arn = await iam.policy()
    assert [policy["Arn"] for policy in (await iam.call("ListPolicies", Scope="Local"))["Policies"]] == [arn]
    everything = await iam.call("ListPolicies", MaxItems=1000)
    assert {arn, BASIC} <= {policy["Arn"] for policy in everything["Policies"]}
    await iam.role()
    await iam.call("AttachRolePolicy", RoleName="runner", PolicyArn=BASIC)
    attached = (await iam.call("ListPolicies", OnlyAttached=True))["Policies"]
    assert [(policy["PolicyName"], policy["AttachmentCount"]) for policy in attached] == [
        ("AWSLambdaBasicExecutionRole", 1)
    ]


async def test_malformed_and_oversized_documents(iam):
    refused = await iam.refusal("CreatePolicy", PolicyName="p", PolicyDocument="[]")
    assert refused == ("MalformedPolicyDocument", "Syntax errors in policy.")
    refused = await iam.refusal("CreatePolicy", PolicyName="p", PolicyDocument=allowing("s3:" + "x" * 6144))
    assert refused == ("LimitExceeded", "Cannot exceed quota for PolicySize: 6144")


async def test_tags(iam):
    arn = await iam.policy(Tags=[{"Key": "a", "Value": "1"}])
    await iam.call("TagPolicy", PolicyArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    await iam.call("UntagPolicy", PolicyArn=arn, TagKeys=["a"])
    assert (await iam.call("ListPolicyTags", PolicyArn=arn))["Tags"] == [{"Key": "b", "Value": "2"}]


async def test_what_is_aws_s_cannot_be_changed(iam):
    for operation in ("DeletePolicy", "TagPolicy"):
        members = {"Tags": [{"Key": "a", "Value": "1"}]} if operation == "TagPolicy" else {}
        assert (await iam.refusal(operation, PolicyArn=BASIC, **members))[0] == "AccessDenied"


def test_the_evaluator_reads_every_policy_of_the_catalogue():
    assert BASIC in catalogue.policies()
    for policy in catalogue.policies().values():
        assert documents.parse(policy.text, documents.Kind.IDENTITY).statements
