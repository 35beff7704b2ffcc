"""Users, groups and access keys."""

import logging

from .lab import ACCOUNT, OTHER, allowing


async def test_a_user_is_made_renamed_and_deleted(iam):
    made = (await iam.call("CreateUser", UserName="ann", Path="/staff/"))["User"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/staff/ann"
    assert made["UserId"].startswith("AIDA")
    await iam.restart()
    await iam.call("UpdateUser", UserName="ann", NewUserName="bea", NewPath="/")
    found = (await iam.call("GetUser", UserName="bea"))["User"]
    assert (found["Arn"], found["UserId"]) == (f"arn:aws:iam::{ACCOUNT}:user/bea", made["UserId"])
    assert await iam.refusal("GetUser", UserName="ann") == (
        "NoSuchEntity",
        "The user with name ann cannot be found.",
    )
    assert (await iam.call("ListUsers", account=OTHER))["Users"] == []
    await iam.call("DeleteUser", UserName="bea")
    assert (await iam.call("ListUsers"))["Users"] == []


async def test_a_name_that_is_taken(iam):
    for name in ("ann", "bea"):
        await iam.call("CreateUser", UserName=name)
    taken = ("EntityAlreadyExists", "User with name Bea already exists.")
    assert await iam.refusal("CreateUser", UserName="Bea") == taken
    assert await iam.refusal("UpdateUser", UserName="ann", NewUserName="Bea") == taken
    assert [user["UserName"] for user in (await iam.call("ListUsers"))["Users"]] == ["ann", "bea"]
    await iam.call("UpdateUser", UserName="ann", NewUserName="Ann")


async def test_who_has_something_cannot_be_deleted(iam):
    key = await iam.key()
    await iam.call("CreateGroup", GroupName="staff")
    await iam.call("AddUserToGroup", GroupName="staff", UserName="ann")
    await iam.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=allowing("s3:*"))
    assert (await iam.refusal("DeleteUser", UserName="ann"))[1] == "Cannot delete entity, must delete policies first."
    await iam.call("DeleteUserPolicy", UserName="ann", PolicyName="p")
    assert (await iam.refusal("DeleteUser", UserName="ann"))[
        1
    ] == "Cannot delete entity, must delete access keys first."
    await iam.call("DeleteAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"])
    inside = ("DeleteConflict", "Cannot delete entity, must remove users from group first.")
    assert await iam.refusal("DeleteUser", UserName="ann") == inside
    assert await iam.refusal("DeleteGroup", GroupName="staff") == inside
    await iam.call("RemoveUserFromGroup", GroupName="staff", UserName="ann")
    await iam.call("DeleteUser", UserName="ann")
    await iam.call("DeleteGroup", GroupName="staff")


async def test_groups(iam):
    await iam.call("CreateGroup", GroupName="staff")
    for name in ("bea", "ann", "cid"):
        await iam.call("CreateUser", UserName=name)
    for name in ("bea", "ann", "ann"):
        await iam.call("AddUserToGroup", GroupName="staff", UserName=name)
    await iam.call("UpdateGroup", GroupName="staff", NewGroupName="people")
    found = await iam.call("GetGroup", GroupName="people")
    assert [user["UserName"] for user in found["Users"]] == ["ann", "bea"]
    groups = (await iam.call("ListGroupsForUser", UserName="ann"))["Groups"]
    assert [group["GroupName"] for group in groups] == ["people"]
    assert (await iam.call("ListGroupsForUser", UserName="cid"))["Groups"] == []
    assert await iam.refusal("AddUserToGroup", GroupName="staff", UserName="cid") == (
        "NoSuchEntity",
        "The group with name staff cannot be found.",
    )


async def test_a_secret_is_shown_once_and_lies_in_no_file(iam, caplog):
    caplog.set_level(logging.DEBUG)
    key = await iam.key()
    assert key["AccessKeyId"].startswith("AKIA")
    assert (len(key["AccessKeyId"]), len(key["SecretAccessKey"]), key["Status"]) == (20, 40, "Active")
    listed = (await iam.call("ListAccessKeys", UserName="ann"))["AccessKeyMetadata"]
    assert [entry["AccessKeyId"] for entry in listed] == [key["AccessKeyId"]]
    assert "SecretAccessKey" not in listed[0]
    secret = key["SecretAccessKey"]
    assert secret not in caplog.text
    for path in iam.root.iterdir():
        assert secret.encode() not in path.read_bytes()


async def test_keys_are_switched_off_and_deleted(iam):
    first, _second = await iam.key(), await iam.key()
    assert await iam.refusal("CreateAccessKey", UserName="ann") == (
        "LimitExceeded",
        "Cannot exceed quota for AccessKeysPerUser: 2",
    )
    await iam.call("UpdateAccessKey", UserName="ann", AccessKeyId=first["AccessKeyId"], Status="Inactive")
    listed = (await iam.call("ListAccessKeys", UserName="ann"))["AccessKeyMetadata"]
    assert {entry["AccessKeyId"]: entry["Status"] for entry in listed}[first["AccessKeyId"]] == "Inactive"
    await iam.call("DeleteAccessKey", UserName="ann", AccessKeyId=first["AccessKeyId"])
    assert await iam.refusal("DeleteAccessKey", UserName="ann", AccessKeyId=first["AccessKeyId"]) == (
        "NoSuchEntity",
        f"The Access Key with id {first['AccessKeyId']} cannot be found.",
    )


async def test_a_key_speaks_for_its_user(iam):
    key = (await iam.key())["AccessKeyId"]
    await iam.call("UpdateUser", UserName="ann", NewUserName="bea")
    for _ in range(2):
        identity = await iam.call("GetCallerIdentity", account=OTHER, key=key)
        assert (identity["Account"], identity["Arn"]) == (ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/bea")
        assert identity["UserId"].startswith("AIDA")
        assert (await iam.call("GetUser", key=key))["User"]["UserName"] == "bea"
        assert (await iam.call("ListAccessKeys", key=key))["AccessKeyMetadata"][0]["AccessKeyId"] == key
        await iam.restart()
    await iam.call("DeleteAccessKey", key=key, AccessKeyId=key)
    assert (await iam.call("GetCallerIdentity", key=key))["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    assert (await iam.call("GetUser", key=key))["User"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"


async def test_what_a_principal_may_do(iam):
    await iam.call("CreateUser", UserName="ann")
    user = f"arn:aws:iam::{ACCOUNT}:user/ann"
    await iam.call("CreateGroup", GroupName="staff")
    await iam.call("AddUserToGroup", GroupName="staff", UserName="ann")
    await iam.call("PutGroupPolicy", GroupName="staff", PolicyName="p", PolicyDocument=allowing("s3:Get*"))
    await iam.call("AttachUserPolicy", UserName="ann", PolicyArn="arn:aws:iam::aws:policy/AWSLambda_FullAccess")
    actions = ["s3:GetObject", "lambda:InvokeFunction", "iam:CreateUser"]
    answer = await iam.call("SimulatePrincipalPolicy", PolicySourceArn=user, ActionNames=actions)
    results = answer["EvaluationResults"]
    assert [result["EvalDecision"] for result in results] == ["allowed", "allowed", "implicitDeny"]
    assert results[0]["MatchedStatements"][0]["SourcePolicyId"] == "group_staff_p"
    assert results[1]["MatchedStatements"][0]["SourcePolicyId"] == "AWSLambda_FullAccess"
    bounds = await iam.policy("bounds", allowing("s3:*"))
    await iam.call("PutUserPermissionsBoundary", UserName="ann", PermissionsBoundary=bounds)
    answer = await iam.call("SimulatePrincipalPolicy", PolicySourceArn=user, ActionNames=actions[:2])
    assert [result["EvalDecision"] for result in answer["EvaluationResults"]] == ["allowed", "implicitDeny"]


async def test_what_a_role_may_do(iam):
    role = await iam.role()
    document = allowing("s3:GetObject", "arn:aws:s3:::b/${aws:PrincipalTag/team}")
    await iam.call("PutRolePolicy", RoleName="runner", PolicyName="p", PolicyDocument=document)
    keys = await iam.call("GetContextKeysForPrincipalPolicy", PolicySourceArn=role["Arn"])
    assert keys["ContextKeyNames"] == ["aws:principaltag/team"]
    answer = await iam.call(
        "SimulatePrincipalPolicy",
        PolicySourceArn=role["Arn"],
        ActionNames=["s3:GetObject"],
        ResourceArns=["arn:aws:s3:::b/blue"],
        ContextEntries=[
            {"ContextKeyName": "aws:PrincipalTag/team", "ContextKeyValues": ["blue"], "ContextKeyType": "string"}
        ],
    )
    assert answer["EvaluationResults"][0]["EvalDecision"] == "allowed"
    gone = role["Arn"].replace("runner", "walker")
    refused = await iam.refusal("SimulatePrincipalPolicy", PolicySourceArn=gone, ActionNames=["s3:GetObject"])
    assert refused == ("NoSuchEntity", "The role with name walker cannot be found.")
    nobody = f"arn:aws:iam::{ACCOUNT}:policy/p"
    refused = await iam.refusal("SimulatePrincipalPolicy", PolicySourceArn=nobody, ActionNames=["s3:GetObject"])
    assert refused[0] == "InvalidInput"
