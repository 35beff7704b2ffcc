"""awslocal, samlocal, cdklocal and tflocal, unmodified: each deploys a function that answers."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from support import ROLE, RUNTIME, Server, clean_environment, invoke, run, zip_files

CLIENTS = Path(sys.prefix) / "clients/bin"  # what `scripts/bootstrap test` has installed
CDK = Path(sys.prefix) / "tools/node_modules/.bin"
MIRRORS = ("~/.terraform.d/plugins", "/usr/local/share/terraform/plugins", "/opt/tf-plugins")
PROVIDER = "registry.terraform.io/hashicorp/aws"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
SETTINGS = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "DISABLE_DEPRECATION_NOTICE": "1",
    "SAM_CLI_TELEMETRY": "0",
    "CDK_DISABLE_CLI_TELEMETRY": "1",
    "CHECKPOINT_DISABLE": "1",
}


def code(answer: str) -> str:
    return f"def handler(event, context):\n    return {answer!r}\n"


def tool(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path.name} is not installed: scripts/bootstrap test")
    return path


@pytest.fixture
def environment(server: Server) -> dict[str, str]:
    """What a user exports: the endpoint by its address, as names below localhost do not resolve everywhere."""
    paths = f"{CLIENTS}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    endpoints = {"AWS_ENDPOINT_URL": server.endpoint, "AWS_ENDPOINT_URL_S3": server.endpoint}
    return clean_environment() | SETTINGS | endpoints | {"PATH": paths}


def test_awslocal(server: Server, environment: dict[str, str], tmp_path: Path, name: str) -> None:
    awslocal = tool(CLIENTS / "awslocal")
    (tmp_path / "code.zip").write_bytes(zip_files({"index.py": code("awslocal")}))
    settings = ("--runtime", RUNTIME, "--role", ROLE, "--handler", "index.handler", "--zip-file", "fileb://code.zip")
    run(awslocal, "lambda", "create-function", "--function-name", name, *settings, cwd=tmp_path, env=environment)
    run(awslocal, "lambda", "wait", "function-active-v2", "--function-name", name, env=environment)
    run(awslocal, "lambda", "invoke", "--function-name", name, "out.json", cwd=tmp_path, env=environment)
    assert json.loads((tmp_path / "out.json").read_text()) == "awslocal"
    run(awslocal, "sqs", "create-queue", "--queue-name", name[:70], env=environment)
    listed = run(awslocal, "sqs", "list-queues", "--queue-name-prefix", name[:70], env=environment)
    assert json.loads(listed)["QueueUrls"] == [f"{server.endpoint}/000000000000/{name[:70]}"]


SAM = """
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: %s
      CodeUri: src/
      Runtime: %s
      Handler: index.handler
      Policies: [AWSLambdaBasicExecutionRole]
      AutoPublishAlias: live
"""


def test_samlocal(server: Server, environment: dict[str, str], tmp_path: Path, name: str) -> None:
    samlocal = tool(CLIENTS / "samlocal")
    (tmp_path / "src").mkdir()
    (tmp_path / "template.yaml").write_text(SAM % (name, RUNTIME))
    options = ("--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-progressbar")
    stack = f"sam-{name[-8:]}"
    for answer in ("one", "two"):
        (tmp_path / "src/index.py").write_text(code(answer))
        run(samlocal, "deploy", "--stack-name", stack, *options, cwd=tmp_path, env=environment)
        assert invoke(server.client(), name, Qualifier="live")[0] == answer
    run(
        samlocal,
        "delete",
        "--stack-name",
        stack,
        "--no-prompts",
        "--region",
        "us-east-1",
        cwd=tmp_path,
        env=environment,
    )
    assert name not in {each["FunctionName"] for each in server.client().list_functions()["Functions"]}


def assembly(folder: Path, name: str, answer: str) -> None:
    """What `cdk synth` writes for a stack with one function: its library is not needed to deploy it."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "asset").mkdir(parents=True)
    (folder / "asset/index.py").write_text(code(answer))
    key = hashlib.sha256(answer.encode()).hexdigest()
    bootstrap = {
        "requiresBootstrapStackVersion": 6,
        "bootstrapStackVersionSsmParameter": "/cdk-bootstrap/hnb659fds/version",
    }
    bucket = "cdk-hnb659fds-assets-000000000000-us-east-1"

    def role(kind: str) -> str:
        return f"arn:${{AWS::Partition}}:iam::000000000000:role/cdk-hnb659fds-{kind}-role-000000000000-us-east-1"

    def asset(path: str, packaging: str, object_key: str) -> dict[str, Any]:
        place = {
            "bucketName": bucket,
            "objectKey": object_key,
            "region": "us-east-1",
            "assumeRoleArn": role("file-publishing"),
        }
        return {"source": {"path": path, "packaging": packaging}, "destinations": {"current": place}}

    function = {
        "FunctionName": name,
        "Runtime": RUNTIME,
        "Handler": "index.handler",
        "Role": {"Fn::GetAtt": ["Role", "Arn"]},
        "Code": {
            "S3Bucket": {"Fn::Sub": "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"},
            "S3Key": f"{key}.zip",
        },
    }
    version = {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/cdk-bootstrap/hnb659fds/version"}
    template = {
        "Resources": {
            "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}},
            "Function": {"Type": "AWS::Lambda::Function", "Properties": function},
            "CDKMetadata": {"Type": "AWS::CDK::Metadata", "Properties": {"Analytics": "v2"}},
        },
        "Parameters": {"BootstrapVersion": version},
    }
    stack = {
        "templateFile": "App.template.json",
        "assumeRoleArn": role("deploy"),
        "cloudFormationExecutionRoleArn": role("cfn-exec"),
        "stackTemplateAssetObjectUrl": f"s3://{bucket}/{key}.json",
        "lookupRole": {"arn": role("lookup"), **bootstrap},
        **bootstrap,
    }
    artifacts = {
        "App.assets": {"type": "cdk:asset-manifest", "properties": {"file": "App.assets.json", **bootstrap}},
        "App": {
            "type": "aws:cloudformation:stack",
            "environment": "aws://000000000000/us-east-1",
            "properties": stack,
            "dependencies": ["App.assets"],
            "displayName": "App",
        },
    }
    files = {key: asset("asset", "zip", f"{key}.zip"), f"{key}-t": asset("App.template.json", "file", f"{key}.json")}
    for path, content in {
        "App.template.json": template,
        "App.assets.json": {"version": "39.0.0", "files": files, "dockerImages": {}},
        "manifest.json": {"version": "39.0.0", "artifacts": artifacts},
    }.items():
        (folder / path).write_text(json.dumps(content))


def test_cdklocal(server: Server, environment: dict[str, str], tmp_path: Path, name: str) -> None:
    cdklocal = tool(CDK / "cdklocal")
    run(cdklocal, "bootstrap", "aws://000000000000/us-east-1", "--no-notices", cwd=tmp_path, env=environment)
    options = ("--app", str(tmp_path / "cdk.out"), "--no-notices", "--ci")
    for answer in ("one", "two"):
        assembly(tmp_path / "cdk.out", name, answer)
        run(cdklocal, "deploy", *options, "--require-approval", "never", cwd=tmp_path, env=environment)
        assert invoke(server.client(), name)[0] == answer
    run(cdklocal, "destroy", *options, "--force", cwd=tmp_path, env=environment)
    assert name not in {each["FunctionName"] for each in server.client().list_functions()["Functions"]}


TERRAFORM = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
resource "aws_iam_role" "role" {
  name               = "%(name)s"
  assume_role_policy = jsonencode(%(trust)s)
}
resource "aws_cloudwatch_log_group" "logs" {
  name              = "/aws/lambda/%(name)s"
  retention_in_days = 7
}
resource "aws_lambda_function" "hello" {
  function_name    = "%(name)s"
  role             = aws_iam_role.role.arn
  runtime          = "%(runtime)s"
  handler          = "index.handler"
  filename         = "code.zip"
  source_code_hash = "%(digest)s"
}
resource "aws_sns_topic" "topic" { name = "%(name)s" }
"""


def mirror() -> Path:
    for place in MIRRORS:
        folder = Path(place).expanduser()
        if (folder / PROVIDER).is_dir():
            return folder
    pytest.skip("there is no mirror with Terraform's provider for AWS")


def test_tflocal(server: Server, environment: dict[str, str], tmp_path: Path, name: str) -> None:
    tflocal = tool(CLIENTS / "tflocal")
    if shutil.which("terraform") is None:
        pytest.skip("there is no terraform")
    short = name[-20:]
    (tmp_path / "rc").write_text(f'provider_installation {{\n  filesystem_mirror {{ path = "{mirror()}" }}\n}}\n')
    environment |= {"TF_CLI_CONFIG_FILE": str(tmp_path / "rc"), "S3_HOSTNAME": "127.0.0.1"}
    package = zip_files({"index.py": code("terraform")})
    (tmp_path / "code.zip").write_bytes(package)
    digest = base64.b64encode(hashlib.sha256(package).digest()).decode()
    known = {"name": short, "runtime": RUNTIME, "digest": digest, "trust": json.dumps(TRUST)}
    (tmp_path / "main.tf").write_text(TERRAFORM % known)
    run(tflocal, "init", "-no-color", cwd=tmp_path, env=environment)
    run(tflocal, "apply", "-auto-approve", "-no-color", cwd=tmp_path, env=environment)
    assert invoke(server.client(), short)[0] == "terraform"
    run(tflocal, "plan", "-detailed-exitcode", "-no-color", cwd=tmp_path, env=environment)  # 2 where something differs
