"""boto3 asks the policy simulator of a running server."""

import json

import pytest
from botocore.exceptions import ClientError

POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "lambda:Invoke*", "Resource": "arn:aws:lambda:*:*:function:web-*"}],
}


def test_a_policy_is_simulated(server):
    answer = server.client("iam").simulate_custom_policy(
        PolicyInputList=[json.dumps(POLICY, indent=1)],
        ActionNames=["lambda:InvokeFunction", "lambda:DeleteFunction"],
        ResourceArns=["arn:aws:lambda:us-east-1:111111111111:function:web-1"],
    )
    allowed, denied = answer["EvaluationResults"]
    assert (allowed["EvalDecision"], denied["EvalDecision"]) == ("allowed", "implicitDeny")
    assert allowed["MatchedStatements"][0]["StartPosition"] == {"Line": 4, "Column": 3}
    assert answer["IsTruncated"] is False


def test_a_malformed_policy_is_refused(server):
    with pytest.raises(ClientError) as caught:
        server.client("iam").simulate_custom_policy(PolicyInputList=["{"], ActionNames=["lambda:InvokeFunction"])
    assert caught.value.response["Error"]["Code"] == "InvalidInput"
    assert "Syntax errors in policy." in caught.value.response["Error"]["Message"]


def test_the_rest_of_iam_says_that_it_is_not_built(server):
    with pytest.raises(ClientError) as caught:
        server.client("iam").list_users()
    assert "iam.ListUsers" in caught.value.response["Error"]["Message"]
