"""boto3 and the AWS CLI ask IAM and STS of a running server."""

import json
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from support import Server, clean_environment, create

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


def aws(server, *arguments, **keys):
    command = [str(Path(sys.executable).parent / "aws"), "--endpoint-url", server.endpoint, *arguments]
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"} | keys
    answer = subprocess.run(command, env=clean_environment() | keys, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout or "{}")


def test_the_aws_cli(server):
    document = json.dumps(TRUST)
    made = aws(server, "iam", "create-role", "--role-name", "cli", "--assume-role-policy-document", document)
    assert made["Role"]["Arn"] == "arn:aws:iam::000000000000:role/cli"
    policies = aws(server, "iam", "list-policies", "--scope", "AWS", "--query", "Policies[].Arn")
    assert BASIC in policies
    aws(server, "iam", "delete-role", "--role-name", "cli")
    aws(server, "iam", "create-user", "--user-name", "cli")
    key = aws(server, "iam", "create-access-key", "--user-name", "cli")["AccessKey"]
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    assert aws(server, "sts", "get-caller-identity", **keys)["Arn"] == "arn:aws:iam::000000000000:user/cli"


def test_the_credentials_of_a_function_say_who_it_is(server):
    iam, client = server.client("iam"), server.client()
    role = iam.create_role(RoleName="whoami", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
    code = (
        "import os\ndef handler(event, context):\n    return {k: v for k, v in os.environ.items() if k[:4] == 'AWS_'}\n"
    )
    create(client, "whoami", code, Role=role["Arn"])
    given = json.load(client.invoke(FunctionName="whoami")["Payload"])
    keys = {name: given[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
    found = aws(server, "sts", "get-caller-identity", **keys)
    assert found == {
        "UserId": f"{role['RoleId']}:whoami",
        "Account": "000000000000",
        "Arn": "arn:aws:sts::000000000000:assumed-role/whoami/whoami",
    }


def test_the_answers_of_sts_are_remembered_after_a_crash(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    own = server.client("iam", account="111111111111")
    role = own.create_role(RoleName="deploy", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    sts = server.client("sts", account="111111111111")
    keys = sts.assume_role(RoleArn=role, RoleSessionName="ci")["Credentials"]
    with pytest.raises(ClientError) as refused:
        server.client("sts", account="222222222222").assume_role(RoleArn=role, RoleSessionName="ci")
    assert refused.value.response["Error"]["Code"] == "AccessDenied"
    server.kill()
    server = Server(tmp_path / "data")
    session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], "us-east-1")
    identity = session.client("sts", endpoint_url=server.endpoint).get_caller_identity()
    assert identity["Arn"] == "arn:aws:sts::111111111111:assumed-role/deploy/ci"
    roles = session.client("iam", endpoint_url=server.endpoint).list_roles()["Roles"]
    assert [entry["RoleName"] for entry in roles] == ["deploy"]
    assert server.stop() == 0


def test_federation_is_not_built(server):
    with pytest.raises(ClientError, match=r"Lambent does not implement sts\.AssumeRoleWithWebIdentity"):
        server.client("sts").assume_role_with_web_identity(
            RoleArn="arn:aws:iam::000000000000:role/r", RoleSessionName="s1", WebIdentityToken="x" * 20
        )
