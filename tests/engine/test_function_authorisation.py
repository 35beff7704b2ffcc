"""`--auth iam`: what a function calls is authorised as its execution role, and roles are passed by who may."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sdk import boto3_layer
from support import RUNTIMES, Server, clean_environment, create, invoke

ACCOUNT = "000000000000"
CODE = """
import boto3
from botocore.exceptions import ClientError
def handler(event, context):
    if event == "link":
        return boto3.client("lambda").generate_presigned_url("list_functions")
    answers = []
    for service, operation, arguments in event:
        try:
            answer = getattr(boto3.client(service), operation)(**arguments)
            answers.append(answer.get("Arn") or "yes")
        except ClientError as error:
            answers.append(error.response["Error"]["Code"] + ": " + error.response["Error"]["Message"])
    return answers
"""
WHO, LIST = ["sts", "get_caller_identity", {}], ["lambda", "list_functions", {}]
LOOK = ["lambda", "get_function", {"FunctionName": "fn"}]


def policy(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


TRUST = policy(Principal={"Service": "lambda.amazonaws.com"}, Action="sts:AssumeRole")


@dataclass
class World:
    server: Server
    admin: tuple[str, str]

    def client(self, service: str, key: str = "", secret: str = "") -> Any:
        return boto3.client(
            service,
            endpoint_url=self.server.endpoint,
            region_name="us-east-1",
            aws_access_key_id=key or self.admin[0],
            aws_secret_access_key=secret or self.admin[1],
            config=Config(retries={"total_max_attempts": 1}, read_timeout=60),
        )

    def role(self, name: str, trust: str = TRUST) -> str:
        return str(self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"])

    def user(self, name: str, *documents: str) -> tuple[str, str]:
        iam = self.client("iam")
        iam.create_user(UserName=name)
        for number, document in enumerate(documents):
            iam.put_user_policy(UserName=name, PolicyName=str(number), PolicyDocument=document)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data = tmp_path_factory.mktemp("iam") / "data"
    command = [sys.executable, "-m", "lambent", "admin", "create-key", "--data-dir", str(data)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=clean_environment()).stdout
    key, secret = re.findall(r"export AWS_\w+=(\S+)", shown)
    server = Server(data, "--auth", "iam", "--runtimes-dir", str(RUNTIMES))
    made = World(server, (key, secret))
    layer = {"ZipFile": boto3_layer("sts", "lambda", "kms")}
    arn = made.client("lambda").publish_layer_version(LayerName="sdk", Content=layer)["LayerVersionArn"]
    role = made.role("r")
    create(made.client("lambda"), "fn", CODE, Role=role, Layers=[arn], Timeout=60, MemorySize=512)
    yield made
    assert server.stop() == 0
    assert "Traceback" not in data.with_suffix(".log").read_text()


def test_a_function_may_what_its_role_may(world: World) -> None:
    asked = [WHO, LIST, LOOK]
    who, listed, looked = invoke(world.client("lambda"), "fn", asked)[0]
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/r/fn"
    assert who == session
    assert listed.startswith(
        f"AccessDeniedException: User: {session} is not authorized to perform: lambda:ListFunctions"
    )
    assert looked.startswith("AccessDenied")
    allowed = policy(Action="lambda:ListFunctions", Resource="*")
    world.client("iam").put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=allowed)
    who, listed, looked = invoke(world.client("lambda"), "fn", asked)[0]
    assert (who, listed) == (session, "yes")
    assert looked.startswith("AccessDenied")


def test_a_link_is_good_after_its_environment_has_ended(world: World) -> None:
    allowed = policy(Action="lambda:ListFunctions", Resource="*")
    world.client("iam").put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=allowed)
    link = urllib.parse.urlsplit(invoke(world.client("lambda"), "fn", "link")[0])
    assert link.netloc == "127.0.0.1:4566"

    world.client("lambda").update_function_configuration(FunctionName="fn", Description="ends the environment")
    world.client("lambda").get_waiter("function_updated_v2").wait(FunctionName="fn")

    def follow(query: str) -> int:
        there = http.client.HTTPConnection(world.server.endpoint.removeprefix("http://"))
        there.request("GET", f"{link.path}?{query}", headers={"Host": link.netloc})
        return there.getresponse().status

    assert follow(link.query) == 200
    assert follow(link.query[:-1] + ("0" if link.query[-1] != "0" else "1")) == 403


def refusal(call: Any, **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_role_is_passed_by_who_may(world: World) -> None:
    role, functions = world.role("passed"), policy(Action="lambda:*", Resource="*")
    to_lambda = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    elsewhere = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    for number, condition in enumerate((None, elsewhere)):
        passing = [policy(Action="iam:PassRole", Resource=role, Condition=condition)] if condition else []
        client = world.client("lambda", *world.user(f"stopped-{number}", functions, *passing))
        code, message = refusal(create, client=client, name="g", code=CODE, Role=role)
        assert code == "AccessDeniedException"
        assert f"is not authorized to perform: iam:PassRole on resource: {role}" in message
    passing = [policy(Action="iam:PassRole", Resource=role, Condition=to_lambda)]
    client = world.client("lambda", *world.user("passes", functions, *passing))
    create(client, "g", CODE, Role=role)
    code, message = refusal(client.update_function_configuration, FunctionName="g", Role=f"{role}-other")
    assert (code, "iam:PassRole" in message) == ("AccessDeniedException", True)
    client.update_function_configuration(FunctionName="g", Timeout=9)


def test_a_role_must_be_there_and_let_lambda_in(world: World) -> None:
    wanted = ("InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda.")
    closed = world.role("closed", policy(Principal={"Service": "ec2.amazonaws.com"}, Action="sts:AssumeRole"))
    client = world.client("lambda")
    for role in (closed, f"arn:aws:iam::{ACCOUNT}:role/missing"):
        assert refusal(lambda role=role: create(client, "h", CODE, Role=role)) == wanted
    foreign = "arn:aws:iam::111111111111:role/r"
    assert refusal(lambda: create(client, "h", CODE, Role=foreign))[0] == "AccessDeniedException"
