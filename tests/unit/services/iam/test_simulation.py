"""SimulateCustomPolicy and GetContextKeysForCustomPolicy as boto3 gets to see them."""

import asyncio
import json

import pytest

from lambent.services.iam.simulation import PolicySimulator
from lambent.wire.errors import AwsError
from lambent.wire.operations import Caller, Context

from .rules import FUNCTION, INVOKE, OTHER, USER, allow, deny, to


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def call(operation, **parameters):
    context = Context(Caller("111111111111", "us-east-1"), "id", "http://127.0.0.1:4566")
    return asyncio.run(getattr(PolicySimulator(), operation)(context, parameters))


def simulate(*policies, actions=(INVOKE,), resources=(FUNCTION,), **more):
    parameters = {"PolicyInputList": list(policies), "ActionNames": list(actions), "ResourceArns": list(resources)}
    return call("simulate_custom_policy", **parameters, **more)


def decisions(*policies, **more):
    return [result["EvalDecision"] for result in simulate(*policies, **more)["EvaluationResults"]]


def test_each_action_on_each_resource():
    answer = simulate(document(allow()), actions=[INVOKE, "lambda:GetFunction"], resources=[FUNCTION, FUNCTION + ":1"])
    found = [(r["EvalActionName"], r["EvalResourceName"], r["EvalDecision"]) for r in answer["EvaluationResults"]]
    assert found == [
        (INVOKE, FUNCTION, "allowed"),
        (INVOKE, FUNCTION + ":1", "implicitDeny"),
        ("lambda:GetFunction", FUNCTION, "implicitDeny"),
        ("lambda:GetFunction", FUNCTION + ":1", "implicitDeny"),
    ]
    assert answer["IsTruncated"] is False


def test_the_statement_that_decided():
    (result,) = simulate(document(allow("s3:*", "*")), document(allow(), deny()))["EvaluationResults"]
    (match,) = result["MatchedStatements"]
    assert result["EvalDecision"] == "explicitDeny"
    assert match["SourcePolicyId"] == "PolicyInputList.2"
    assert match["SourcePolicyType"] == "IAM Policy"
    assert match["StartPosition"]["Line"] == match["EndPosition"]["Line"] == 1
    assert match["StartPosition"]["Column"] < match["EndPosition"]["Column"]


def test_context_entries_and_what_is_missing():
    conditional = document(allow(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}))
    (result,) = simulate(conditional)["EvaluationResults"]
    assert (result["EvalDecision"], result["MissingContextValues"]) == ("implicitDeny", ["aws:SourceIp"])
    entry = {"ContextKeyName": "AWS:sourceip", "ContextKeyValues": ["10.1.2.3"], "ContextKeyType": "ip"}
    (result,) = simulate(conditional, ContextEntries=[entry])["EvaluationResults"]
    assert (result["EvalDecision"], result["MissingContextValues"]) == ("allowed", [])


def test_a_boundary():
    bound = document(allow("s3:*", "*"))
    (result,) = simulate(document(allow()), PermissionsBoundaryPolicyInputList=[bound])["EvaluationResults"]
    assert result["EvalDecision"] == "implicitDeny"
    assert result["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}


def test_a_resource_policy_and_its_owner():
    opened = document(to({"AWS": USER}))
    assert decisions(document(allow("s3:*", "*")), ResourcePolicy=opened, CallerArn=USER) == ["allowed"]
    owner = f"arn:aws:iam::{OTHER}:root"
    closed = decisions(document(allow("s3:*", "*")), ResourcePolicy=opened, CallerArn=USER, ResourceOwner=owner)
    assert closed == ["implicitDeny"]


def test_the_caller_s_name_is_a_variable():
    own = document(allow(resource=FUNCTION[:-1] + "${aws:username}"))
    assert decisions(own, CallerArn=USER, resources=[FUNCTION[:-1] + "ann"]) == ["allowed"]


def test_pages():
    actions = [f"lambda:Get{number}" for number in range(5)]
    first = simulate(document(allow("*", "*")), actions=actions, MaxItems=2)
    assert (len(first["EvaluationResults"]), first["IsTruncated"]) == (2, True)
    rest = simulate(document(allow("*", "*")), actions=actions, Marker=first["Marker"])
    assert [result["EvalActionName"] for result in rest["EvaluationResults"]] == actions[2:]


@pytest.mark.parametrize(
    "more",
    [
        {"CallerArn": "arn:aws:iam::111111111111:role/r"},
        {"ResourceOwner": "somebody"},
        {"ResourcePolicy": "{}"},
        {"PermissionsBoundaryPolicyInputList": [document(allow())] * 2},
        {"Marker": "x"},
    ],
)
def test_bad_input(more):
    with pytest.raises(AwsError) as caught:
        simulate(document(allow()), **more)
    assert caught.value.code == "InvalidInput"


def test_a_malformed_policy_says_which_and_why():
    with pytest.raises(AwsError, match=r"PolicyInputList\.2: Syntax errors in policy\."):
        simulate(document(allow()), "{")


def test_context_keys():
    conditional = allow(
        resource="arn:aws:s3:::${aws:username}", Condition={"StringLike": {"s3:prefix": "${aws:PrincipalTag/team}/*"}}
    )
    answer = call("get_context_keys_for_custom_policy", PolicyInputList=[document(conditional)])
    assert answer == {"ContextKeyNames": ["aws:principaltag/team", "aws:username", "s3:prefix"]}
