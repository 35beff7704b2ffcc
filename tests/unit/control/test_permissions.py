"""Resource policies of functions, versions and aliases: statement by statement, and whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .lab import ACCOUNT, REGION, Lab

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
ALLOW = {"Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}


async def allow(lab: Lab, sid: str = "s", **members: Any) -> Any:
    return await lab.call("AddPermission", **({"FunctionName": "f", "StatementId": sid} | ALLOW | members))


async def policy(lab: Lab, **members: Any) -> Any:
    return json.loads((await lab.call("GetPolicy", **({"FunctionName": "f"} | members)))["Policy"])


async def sids(lab: Lab, **members: Any) -> list[str]:
    return [statement["Sid"] for statement in (await policy(lab, **members))["Statement"]]


async def function(lab: Lab) -> None:
    """`f` with a version 1 and an alias `live` of it."""
    await lab.create("f")
    await lab.ready("f")
    await lab.call("PublishVersion", FunctionName="f")
    await lab.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")


@pytest.mark.parametrize(
    ("members", "principal", "condition"),
    [
        ({}, {"Service": "s3.amazonaws.com"}, None),
        ({"Principal": "alexa-appkit.amazon.com"}, {"Service": "alexa-appkit.amazon.com"}, None),
        ({"Principal": "222222222222"}, {"AWS": "arn:aws:iam::222222222222:root"}, None),
        ({"Principal": "arn:aws:iam::222222222222:role/r"}, {"AWS": "arn:aws:iam::222222222222:role/r"}, None),
        ({"Principal": "*"}, "*", None),
        (
            {"SourceArn": "arn:aws:s3:::b*", "SourceAccount": ACCOUNT},
            {"Service": "s3.amazonaws.com"},
            {"StringEquals": {"AWS:SourceAccount": ACCOUNT}, "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b*"}},
        ),
        (
            {"Principal": "*", "PrincipalOrgID": "o-1234567890", "EventSourceToken": "t"},
            "*",
            {"StringEquals": {"aws:PrincipalOrgID": "o-1234567890", "lambda:EventSourceToken": "t"}},
        ),
        (
            {"Principal": "*", "InvokedViaFunctionUrl": True},
            "*",
            {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}},
        ),
        (
            {"Principal": "*", "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
            "*",
            {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
        ),
    ],
)
async def test_every_condition_and_principal(
    lab: Lab, members: dict[str, Any], principal: Any, condition: dict[str, Any] | None
) -> None:
    await function(lab)
    statement = json.loads((await allow(lab, **members))["Statement"])
    expected = {"Sid": "s", "Effect": "Allow", "Principal": principal, "Resource": ARN}
    expected["Action"] = members.get("Action", "lambda:InvokeFunction")
    assert statement == expected | ({"Condition": condition} if condition else {})
    assert list(statement)[:5] == ["Sid", "Effect", "Principal", "Action", "Resource"]
    assert (await policy(lab))["Statement"] == [statement]


@pytest.mark.parametrize("principal", ["nobody", "arn:aws:s3:::bucket", "1234", "example.com"])
async def test_a_principal_that_is_none(lab: Lab, principal: str) -> None:
    await function(lab)
    error = await lab.refusal("AddPermission", FunctionName="f", StatementId="s", **(ALLOW | {"Principal": principal}))
    message = "The provided principal was invalid. Please check the principal and try again."
    assert (error.code, error.message) == ("InvalidParameterValueException", message)


async def test_a_policy_belongs_to_one_qualifier(lab: Lab) -> None:
    await function(lab)
    await allow(lab, "all")
    version = await allow(lab, "one", Qualifier="1")
    await allow(lab, "named", Qualifier="live")
    assert json.loads(version["Statement"])["Resource"] == f"{ARN}:1"
    assert [await sids(lab), await sids(lab, Qualifier="1"), await sids(lab, Qualifier="live")] == [
        ["all"],
        ["one"],
        ["named"],
    ]
    assert await sids(lab, FunctionName=f"{ARN}:live") == ["named"]
    await allow(lab, "all", Qualifier="live")  # the same id elsewhere
    error = await lab.refusal("AddPermission", FunctionName="f", StatementId="all", **ALLOW)
    assert error.code == "ResourceConflictException"
    assert error.message == (
        "The statement id (all) provided already exists. Please provide a new statement id, or remove the existing"
        " statement."
    )


async def test_a_policy_goes_with_what_it_belongs_to(lab: Lab) -> None:
    await function(lab)
    for qualifier in ({}, {"Qualifier": "1"}, {"Qualifier": "live"}):
        await allow(lab, **qualifier)
    await lab.call("DeleteAlias", FunctionName="f", Name="live")
    await lab.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    assert (await lab.refusal("GetPolicy", FunctionName="f", Qualifier="live")).code == "ResourceNotFoundException"
    await lab.call("DeleteAlias", FunctionName="f", Name="live")
    await lab.call("DeleteFunction", FunctionName="f", Qualifier="1")
    assert await sids(lab) == ["s"]
    await lab.call("DeleteFunction", FunctionName="f")
    await lab.create("f")
    await lab.ready("f")
    version = (await lab.call("PublishVersion", FunctionName="f"))["Version"]
    await lab.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion=version)
    for qualifier in ({}, {"Qualifier": version}, {"Qualifier": "live"}):
        error = await lab.refusal("GetPolicy", FunctionName="f", **qualifier)
        assert (error.code, error.message) == (
            "ResourceNotFoundException",
            "The resource you requested does not exist.",
        )


async def test_a_function_whose_name_begins_alike_keeps_its_policy(lab: Lab) -> None:
    for name in ("f", "f-2"):
        await lab.create(name)
        await lab.ready(name)
        await allow(lab, FunctionName=name)
    await lab.call("DeleteFunction", FunctionName="f")
    assert await sids(lab, FunctionName="f-2") == ["s"]


async def test_a_revision_guards_and_every_change_gives_another(lab: Lab) -> None:
    await function(lab)

    async def revision(**qualifier: str) -> str:
        if qualifier.get("Qualifier") == "live":
            return str((await lab.call("GetAlias", FunctionName="f", Name="live"))["RevisionId"])
        return str((await lab.call("GetFunctionConfiguration", FunctionName="f", **qualifier))["RevisionId"])

    for qualifier in ({}, {"Qualifier": "1"}, {"Qualifier": "live"}):
        before = await revision(**qualifier)
        error = await lab.refusal(
            "AddPermission", FunctionName="f", StatementId="s", RevisionId="wrong", **ALLOW, **qualifier
        )
        assert error.code == "PreconditionFailedException"
        await allow(lab, RevisionId=before, **qualifier)
        after = await revision(**qualifier)
        assert after != before
        assert (await lab.call("GetPolicy", FunctionName="f", **qualifier))["RevisionId"] == after
        remove = {"FunctionName": "f", "StatementId": "s", **qualifier}
        assert (
            await lab.refusal("RemovePermission", RevisionId=before, **remove)
        ).code == "PreconditionFailedException"
        await lab.call("RemovePermission", RevisionId=after, **remove)
        assert await revision(**qualifier) != after


async def test_what_is_not_there(lab: Lab) -> None:
    await function(lab)
    for operation in ("AddPermission", "RemovePermission", "GetPolicy"):
        members = {"AddPermission": {"StatementId": "s"} | ALLOW, "RemovePermission": {"StatementId": "s"}}
        ask = {"operation": operation, **members.get(operation, {})}
        error = await lab.refusal(FunctionName="none", **ask)
        assert error.message == f"Function not found: {ARN[:-1]}none"
        error = await lab.refusal(FunctionName="f", Qualifier="7", **ask)
        assert error.message == f"Function not found: {ARN}:7"
        error = await lab.refusal(FunctionName="f", Qualifier="nothing", **ask)
        assert error.message == f"Cannot find alias arn: {ARN}:nothing"
    error = await lab.refusal("RemovePermission", FunctionName="f", StatementId="s")
    assert error.message == "No policy is associated with the given resource."
    await allow(lab)
    error = await lab.refusal("RemovePermission", FunctionName="f", StatementId="other")
    assert error.message == "Statement other is not found in resource policy."
    error = await lab.refusal("AddPermission", FunctionName="f", Qualifier="$LATEST", StatementId="s", **ALLOW)
    assert error.message == "We currently do not support adding policies for $LATEST."


async def test_a_policy_has_a_largest_size_and_stays_as_it_was(lab: Lab) -> None:
    await function(lab)
    added, message = 0, None
    while message is None:
        try:
            await allow(lab, f"s{added}", SourceArn=f"arn:aws:s3:::{'b' * 2000}")
            added += 1
        except Exception as error:
            message = str(error)
    assert message.startswith("PolicyLengthExceededException: The final policy size (")
    assert len(await sids(lab)) == added > 5


async def test_permissions_do_not_disturb_what_runs(lab: Lab) -> None:
    await function(lab)
    from .lab import key_of

    before = lab.store.serving(key_of("f"))
    await allow(lab)
    assert lab.store.serving(key_of("f")) is not None
    assert before is not None
    assert lab.store.serving(key_of("f")).revision_id == before.revision_id  # type: ignore[union-attr]


# Whole documents


def document(*statements: dict[str, Any], **members: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)} | members)


STATEMENT = {"Sid": "a", "Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": ARN}


async def test_a_whole_policy_takes_the_place_of_the_statements(lab: Lab) -> None:
    await function(lab)
    await allow(lab, "old")
    deny = STATEMENT | {"Sid": "b", "Effect": "Deny", "Principal": {"AWS": "222222222222"}, "Action": ["lambda:*"]}
    answer = await lab.call("PutResourcePolicy", ResourceArn=ARN, Policy=document(STATEMENT, deny, Id="mine"))
    assert json.loads(answer["Policy"]) == {"Version": "2012-10-17", "Id": "mine", "Statement": [STATEMENT, deny]}
    assert await lab.call("GetResourcePolicy", ResourceArn=ARN) == answer
    assert await sids(lab) == ["a", "b"]
    await allow(lab, "c")
    assert await sids(lab) == ["a", "b", "c"]
    assert (await policy(lab))["Id"] == "mine"
    error = await lab.refusal("DeleteResourcePolicy", ResourceArn=ARN, RevisionId=answer["RevisionId"])
    assert error.code == "PreconditionFailedException"
    await lab.call("DeleteResourcePolicy", ResourceArn=ARN)
    for operation in ("GetResourcePolicy", "DeleteResourcePolicy"):
        assert (await lab.refusal(operation, ResourceArn=ARN)).code == "ResourceNotFoundException"


async def test_whole_policies_of_versions_and_aliases(lab: Lab) -> None:
    await function(lab)
    for qualifier in ("1", "live"):
        statement = STATEMENT | {"Resource": f"{ARN}:*"}
        await lab.call("PutResourcePolicy", ResourceArn=f"{ARN}:{qualifier}", Policy=document(statement))
        assert await sids(lab, Qualifier=qualifier) == ["a"]
    assert (await lab.refusal("GetResourcePolicy", ResourceArn=ARN)).code == "ResourceNotFoundException"
    runtime = f"arn:aws:lambda:{REGION}:{ACCOUNT}:runtime/custom"
    assert (await lab.refusal("GetResourcePolicy", ResourceArn=runtime)).status == 501


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        document(),
        document(STATEMENT, Other=1),
        document(STATEMENT, Version="2020-01-01"),
        document(STATEMENT, STATEMENT),
        document(STATEMENT | {"Effect": "allow"}),
        document(STATEMENT | {"Action": "s3:GetObject"}),
        document(STATEMENT | {"Action": 5}),
        document(STATEMENT | {"Principal": "everybody"}),
        document(STATEMENT | {"NotPrincipal": "*"}),
        document(STATEMENT | {"Resource": ARN + "-other"}),
        document(STATEMENT | {"Whatever": ""}),
        document(STATEMENT | {"Condition": "x"}),
        document({"Effect": "Allow"}),
        json.dumps({"Statement": "x"}),
    ],
)
async def test_a_document_that_is_no_policy_changes_nothing(lab: Lab, text: str) -> None:
    await function(lab)
    await allow(lab)
    error = await lab.refusal("PutResourcePolicy", ResourceArn=ARN, Policy=text)
    assert error.code == "InvalidParameterValueException"
    assert await sids(lab) == ["s"]
