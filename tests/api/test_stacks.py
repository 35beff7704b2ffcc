"""CloudFormation, on the default set-up: what a stack makes of Lambda, IAM, Logs, KMS and ECR is the server's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support import RUNTIME, Server, invoke

ACCOUNT = "000000000000"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]}
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("stacks") / "data", "--isolation", "process")
    yield running
    assert running.stop() == 0


def function(text: str = "1", **settings: Any) -> dict[str, Any]:
    code = f"import os\ndef handler(event, context):\n    return [{text}, os.environ.get('QUEUE')]\n"
    properties = {
        "Runtime": RUNTIME,
        "Handler": "index.handler",
        "Role": {"Fn::GetAtt": ["Role", "Arn"]},
        "Code": {"ZipFile": code},
        "Timeout": "7",
        "Environment": {"Variables": {"QUEUE": {"Ref": "Queue"}}},
        "Tags": [{"Key": "team", "Value": "a"}],
    }
    return {"Type": "AWS::Lambda::Function", "Properties": properties | settings}


def resources(text: str = "1", **settings: Any) -> dict[str, Any]:
    role = {"AssumeRolePolicyDocument": TRUST, "ManagedPolicyArns": [BASIC]}
    role["Policies"] = [{"PolicyName": "own", "PolicyDocument": ALLOW}]
    name = {"Ref": "Function"}
    return {
        "Alias": {
            "Type": "AWS::Lambda::Alias",
            "Properties": {"FunctionName": name, "Name": "live", "FunctionVersion": {"Fn::GetAtt": "Version.Version"}},
        },
        "Version": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": name}},
        "Function": function(text, **settings),
        "Role": {"Type": "AWS::IAM::Role", "Properties": role},
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Mapping": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {"FunctionName": name, "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]}, "BatchSize": "5"},
        },
        "Permission": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {"FunctionName": name, "Action": "lambda:InvokeFunction", "Principal": "sns.amazonaws.com"},
        },
        "Url": {"Type": "AWS::Lambda::Url", "Properties": {"TargetFunctionArn": name, "AuthType": "NONE"}},
        "Invokes": {
            "Type": "AWS::Lambda::EventInvokeConfig",
            "Properties": {"FunctionName": name, "Qualifier": "$LATEST", "MaximumRetryAttempts": 1},
        },
        "Logs": {
            "Type": "AWS::Logs::LogGroup",
            "Properties": {"LogGroupName": {"Fn::Sub": "/aws/lambda/${Function}"}, "RetentionInDays": "7"},
        },
        "Key": {"Type": "AWS::KMS::Key", "Properties": {"Description": "k", "EnableKeyRotation": True}},
        "KeyAlias": {
            "Type": "AWS::KMS::Alias",
            "Properties": {"AliasName": {"Fn::Sub": "alias/${AWS::StackName}"}, "TargetKeyId": {"Ref": "Key"}},
        },
        "Managed": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"PolicyDocument": ALLOW, "Roles": [{"Ref": "Role"}]},
        },
        "Repository": {"Type": "AWS::ECR::Repository"},
        "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"VersioningConfiguration": {"Status": "Enabled"}}},
        "BucketPolicy": {
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {
                "Bucket": {"Ref": "Bucket"},
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": {"Fn::Sub": "${Bucket.Arn}/x"}}
                    ],
                },
            },
        },
    }  # fmt: skip


def template(table: dict[str, Any], outputs: dict[str, Any] | None = None) -> str:
    return json.dumps({"Resources": table, "Outputs": outputs or {}})


def deploy(server: Server, stack: str, body: str, kind: str) -> str:
    """Through a change set, as tools do it. The stack's status."""
    cloud = server.client("cloudformation")
    place = {"StackName": stack, "ChangeSetName": "change"}
    cloud.create_change_set(**place, TemplateBody=body, ChangeSetType=kind, Capabilities=["CAPABILITY_NAMED_IAM"])
    assert cloud.describe_change_set(**place)["Status"] == "CREATE_COMPLETE"
    cloud.execute_change_set(**place)
    return str(cloud.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])


def ids(server: Server, stack: str) -> dict[str, str]:
    listed = server.client("cloudformation").list_stack_resources(StackName=stack)["StackResourceSummaries"]
    return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in listed}


def test_a_stack_is_made_changed_and_removed(own: Server) -> None:
    outputs = {
        "Arn": {"Value": {"Fn::GetAtt": ["Function", "Arn"]}},
        "Url": {"Value": {"Fn::GetAtt": "Url.FunctionUrl"}},
    }
    assert deploy(own, "whole", template(resources(), outputs), "CREATE") == "CREATE_COMPLETE"
    made, client = ids(own, "whole"), own.client()
    queue = f"{own.endpoint}/{ACCOUNT}/"
    answer, _ = invoke(client, made["Function"])
    assert answer[0] == 1
    assert answer[1].startswith(queue)
    configuration = client.get_function(FunctionName=made["Function"])
    assert (configuration["Configuration"]["Timeout"], configuration["Tags"]) == (7, {"team": "a"})
    assert client.get_alias(FunctionName=made["Function"], Name="live")["FunctionVersion"] == "1"
    assert client.get_event_source_mapping(UUID=made["Mapping"])["BatchSize"] == 5
    assert "sns.amazonaws.com" in client.get_policy(FunctionName=made["Function"])["Policy"]
    iam = own.client("iam")
    attached = iam.list_attached_role_policies(RoleName=made["Role"])["AttachedPolicies"]
    assert {policy["PolicyArn"] for policy in attached} == {BASIC, made["Managed"]}
    assert iam.list_role_policies(RoleName=made["Role"])["PolicyNames"] == ["own"]
    groups = own.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{made['Function']}")["logGroups"]
    assert groups[0]["retentionInDays"] == 7
    assert own.client("kms").get_key_rotation_status(KeyId=made["Key"])["KeyRotationEnabled"]
    assert own.client("kms").describe_key(KeyId="alias/whole")["KeyMetadata"]["KeyId"] == made["Key"]
    own.client("ecr").describe_repositories(repositoryNames=[made["Repository"]])
    s3 = own.client("s3")
    assert s3.get_bucket_versioning(Bucket=made["Bucket"])["Status"] == "Enabled"
    assert json.loads(s3.get_bucket_policy(Bucket=made["Bucket"])["Policy"])["Statement"][0]["Effect"] == "Deny"
    cloud = own.client("cloudformation")
    (stack,) = cloud.describe_stacks(StackName="whole")["Stacks"]
    shown = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert shown["Arn"] == f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{made['Function']}"
    assert shown["Url"].startswith("http")
    events = cloud.describe_stack_events(StackName="whole")["StackEvents"]
    told = [(event["LogicalResourceId"], event["ResourceStatus"]) for event in events]
    assert told[0] == ("whole", "CREATE_COMPLETE")
    assert told.index(("Function", "CREATE_COMPLETE")) < told.index(("Role", "CREATE_COMPLETE"))  # the newest first

    changed = resources("2", Timeout=9, Tags=[{"Key": "team", "Value": "b"}])
    del changed["Url"]
    assert deploy(own, "whole", template(changed), "UPDATE") == "UPDATE_COMPLETE"
    assert ids(own, "whole")["Function"] == made["Function"]
    assert invoke(client, made["Function"])[0][0] == 2
    configuration = client.get_function(FunctionName=made["Function"])
    assert (configuration["Configuration"]["Timeout"], configuration["Tags"]) == (9, {"team": "b"})
    with pytest.raises(ClientError, match="ResourceNotFound"):
        client.get_function_url_config(FunctionName=made["Function"])

    cloud.delete_stack(StackName="whole")
    with pytest.raises(ClientError, match="does not exist"):
        cloud.describe_stacks(StackName="whole")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        client.get_function(FunctionName=made["Function"])
    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.get_role(RoleName=made["Role"])
    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.get_policy(PolicyArn=made["Managed"])
    assert own.client("kms").describe_key(KeyId=made["Key"])["KeyMetadata"]["KeyState"] == "PendingDeletion"


def test_a_stack_that_fails_leaves_nothing_and_says_why(own: Server) -> None:
    table = resources()
    table["Function"]["Properties"]["MemorySize"] = 1
    assert deploy(own, "failing", template(table), "CREATE") == "ROLLBACK_COMPLETE"
    assert ids(own, "failing") == {}
    events = own.client("cloudformation").describe_stack_events(StackName="failing")["StackEvents"]
    (failed,) = [
        event for event in events if event["LogicalResourceId"] == "Function" and "FAILED" in event["ResourceStatus"]
    ]
    assert "memorySize" in failed["ResourceStatusReason"]
    roles = own.client("iam").list_roles()["Roles"]
    assert [role for role in roles if role["RoleName"].startswith("failing-")] == []


def test_an_update_that_fails_is_rolled_back(own: Server) -> None:
    assert deploy(own, "undone", template(resources()), "CREATE") == "CREATE_COMPLETE"
    name = ids(own, "undone")["Function"]
    table = resources("2")
    table["Other"] = {
        "Type": "AWS::Lambda::Alias",
        "Properties": {"FunctionName": "nobody", "Name": "x", "FunctionVersion": "1"},
    }
    assert deploy(own, "undone", template(table), "UPDATE") == "UPDATE_ROLLBACK_COMPLETE"
    assert invoke(own.client(), name)[0][0] == 1


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        ({"Type": "AWS::GameLift::Fleet"}, "AWS::GameLift::Fleet are not built"),
        (
            {"Type": "Custom::Thing", "Properties": {"ServiceToken": "x"}},
            r"Custom resources \(Custom::Thing\) are not built",
        ),
        ({"Type": "AWS::Logs::LogGroup", "Properties": {"FieldIndexPolicies": []}}, "."),
        ({"Type": "AWS::S3::Bucket", "Properties": {"Nonsense": 1}}, "the property Nonsense is not known here"),
    ],
)
def test_what_is_not_built_fails_and_is_named(own: Server, name: str, resource: dict[str, Any], reason: str) -> None:
    import re

    cloud, stack = own.client("cloudformation"), "s" + name[-8:]
    status = deploy(own, stack, template({"Only": resource}), "CREATE")
    events = cloud.describe_stack_events(StackName=stack)["StackEvents"]
    reasons = " ".join(event.get("ResourceStatusReason", "") for event in events)
    assert re.search(reason, reasons)
    assert status == "ROLLBACK_COMPLETE" or reason == "."


SAM = """
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Parameters:
  Greeting: {Type: String, Default: hello}
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: %s
      Handler: index.handler
      InlineCode: |
        import os
        def handler(event, context):
            return os.environ['GREETING']
      AutoPublishAlias: live
      Policies: [AWSLambdaSQSQueueExecutionRole]
      Environment:
        Variables: {GREETING: !Ref Greeting}
      Events:
        Topic:
          Type: SNS
          Properties: {Topic: !Ref Topic}
  Topic: {Type: AWS::SNS::Topic}
Outputs:
  Role: {Value: !GetAtt HelloRole.Arn}
"""


def test_a_template_of_sam_is_expanded(own: Server) -> None:
    cloud = own.client("cloudformation")
    body = SAM % RUNTIME
    assert cloud.validate_template(TemplateBody=body)["DeclaredTransforms"] == ["AWS::Serverless-2016-10-31"]
    parameters = [{"ParameterKey": "Greeting", "ParameterValue": "servus"}]
    cloud.create_stack(StackName="sam", TemplateBody=body, Parameters=parameters, Capabilities=["CAPABILITY_IAM"])
    (stack,) = cloud.describe_stacks(StackName="sam")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE", cloud.describe_stack_events(StackName="sam")["StackEvents"]
    made = ids(own, "sam")
    assert invoke(own.client(), made["Hello"], Qualifier="live")[0] == "servus"
    policies = own.client("iam").list_attached_role_policies(RoleName=made["HelloRole"])["AttachedPolicies"]
    assert "AWSLambdaSQSQueueExecutionRole" in {policy["PolicyName"] for policy in policies}
    assert len(own.client("sns").list_subscriptions_by_topic(TopicArn=made["Topic"])["Subscriptions"]) == 1
    cloud.delete_stack(StackName="sam")


def test_change_sets_are_of_one_stack_and_a_missing_one_is_no_fault_to_delete(own: Server) -> None:
    cloud = own.client("cloudformation")
    for stack in ("one", "two"):
        body = template({"Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": f"/group/{stack}"}}})
        place = {"StackName": stack, "ChangeSetName": "same"}
        cloud.create_change_set(**place, TemplateBody=body, ChangeSetType="CREATE")
    assert cloud.describe_change_set(StackName="two", ChangeSetName="same")["StackName"] == "two"
    cloud.delete_change_set(StackName="two", ChangeSetName="same")
    cloud.delete_change_set(StackName="two", ChangeSetName="same")
    with pytest.raises(ClientError) as caught:
        cloud.describe_change_set(StackName="two", ChangeSetName="same")
    assert caught.value.response["Error"]["Code"] == "ChangeSetNotFound"
    assert cloud.describe_change_set(StackName="one", ChangeSetName="same")["StackName"] == "one"
