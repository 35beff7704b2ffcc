"""boto3 and the AWS CLI ask IAM and STS of a running server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from support import clean_environment

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
        server.client("iam").get_account_password_policy()
    assert "iam.GetAccountPasswordPolicy" in caught.value.response["Error"]["Message"]


TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
        {"Effect": "Allow", "Principal": {"AWS": "111111111111"}, "Action": "sts:AssumeRole"},
    ],
}
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


def test_a_role_as_terraform_makes_changes_and_deletes_it(server):
    iam = server.client("iam")
    made = iam.create_role(RoleName="tf", AssumeRolePolicyDocument=json.dumps(TRUST), Path="/")["Role"]
    assert made["AssumeRolePolicyDocument"] == TRUST
    iam.get_waiter("role_exists").wait(RoleName="tf")
    iam.put_role_policy(RoleName="tf", PolicyName="inline", PolicyDocument=json.dumps(POLICY))
    assert iam.get_role_policy(RoleName="tf", PolicyName="inline")["PolicyDocument"] == POLICY
    iam.attach_role_policy(RoleName="tf", PolicyArn=BASIC)
    assert iam.list_role_policies(RoleName="tf")["PolicyNames"] == ["inline"]
    held = iam.list_attached_role_policies(RoleName="tf")["AttachedPolicies"]
    assert held == [{"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": BASIC}]
    with pytest.raises(iam.exceptions.DeleteConflictException):
        iam.delete_role(RoleName="tf")
    iam.delete_role_policy(RoleName="tf", PolicyName="inline")
    iam.detach_role_policy(RoleName="tf", PolicyArn=BASIC)
    assert iam.list_instance_profiles_for_role(RoleName="tf")["InstanceProfiles"] == []
    iam.delete_role(RoleName="tf")
    with pytest.raises(iam.exceptions.NoSuchEntityException) as gone:
        iam.get_role(RoleName="tf")
    assert gone.value.response["Error"]["Code"] == "NoSuchEntity"
    assert gone.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_what_the_model_rules_out_is_a_validation_error(server):
    with pytest.raises(ClientError) as caught:
        server.client("iam").get_role(RoleName="no spaces")
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def aws(server, *arguments):
    command = [str(Path(sys.executable).parent / "aws"), "--endpoint-url", server.endpoint, *arguments]
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    answer = subprocess.run(command, env=clean_environment() | keys, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout or "{}")


def test_the_aws_cli(server):
    document = json.dumps(TRUST)
    made = aws(server, "iam", "create-role", "--role-name", "cli", "--assume-role-policy-document", document)
    assert made["Role"]["Arn"] == "arn:aws:iam::000000000000:role/cli"
    policies = aws(server, "iam", "list-policies", "--scope", "AWS", "--query", "Policies[].Arn")
    assert BASIC in policies
    aws(server, "iam", "delete-role", "--role-name", "cli")
