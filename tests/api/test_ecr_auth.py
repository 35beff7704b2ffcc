"""The registry under `--auth iam`: pushes, pulls, and images of another account as functions."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import imagery
from api.test_auth import create_key
from support import Server, eventually

OWNER, OTHER = "000000000000", "222222222222"
CODE = "def handler(event, context):\n    return 'from the other account'\n"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="container images take root here")


class World:
    def __init__(self, server: Server, keys: dict[str, tuple[str, str]], image: Path) -> None:
        self.server, self.keys, self.image = server, keys, image
        self.host = urllib.parse.urlsplit(server.endpoint).netloc

    def client(self, service: str, who: str) -> Any:
        key, secret = self.keys[who]
        return boto3.client(
            service,
            endpoint_url=self.server.endpoint,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def copy(self, who: str, source: str, target: str) -> subprocess.CompletedProcess[str]:
        """By skopeo, with the login that ECR gives `who`."""
        given = self.client("ecr", who).get_authorization_token()["authorizationData"][0]["authorizationToken"]
        login = base64.b64decode(given).decode()
        flags = ("--src-tls-verify=false", "--dest-tls-verify=false")
        logins = [f"--{end}-creds={login}" for end, at in (("src", source), ("dest", target)) if "docker://" in at]
        command = ["skopeo", "--insecure-policy", "copy", *flags, *logins, source, target]
        return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("iam")
    server = Server(root / "data", "--auth", "iam")
    try:
        keys = {name: create_key(root / "data", "--account", name) for name in (OWNER, OTHER)}
        layers = [imagery.python(), imagery.files({"function/app.py": CODE})]
        start = {"Entrypoint": ["python", "-m", "awslambdaric"], "Cmd": ["app.handler"], "WorkingDir": "/function"}
        imagery.layout(root / "image", layers, Env=["PATH=/usr/bin:/bin"], **start)
        found = World(server, keys, root / "image")
        iam = found.client("iam", OWNER)
        iam.create_user(UserName="nobody")
        key = iam.create_access_key(UserName="nobody")["AccessKey"]
        keys["nobody"] = (key["AccessKeyId"], key["SecretAccessKey"])
        policy = {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [policy]})
        iam.put_user_policy(UserName="nobody", PolicyName="login", PolicyDocument=document)
        found.client("ecr", OWNER).create_repository(repositoryName="app")
        pushed = found.copy(OWNER, f"oci:{found.image}:latest", f"docker://{found.host}/app:v1")
        assert pushed.returncode == 0, pushed.stderr
        yield found
    finally:
        server.stop()


def test_who_may_not_push_or_pull_does_not(world: World, tmp_path: Path) -> None:
    pushed = world.copy("nobody", f"oci:{world.image}:latest", f"docker://{world.host}/app:mine")
    assert pushed.returncode != 0
    pulled = world.copy("nobody", f"docker://{world.host}/app:v1", f"oci:{tmp_path}/got:v1")
    assert pulled.returncode != 0
    assert world.copy(OWNER, f"docker://{world.host}/app:v1", f"oci:{tmp_path}/got:v1").returncode == 0


def test_an_image_of_another_account_runs_where_its_repository_s_policy_allows(world: World) -> None:
    role = world.client("iam", OTHER).create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
    functions = world.client("lambda", OTHER)
    wanted = {
        "FunctionName": "f",
        "PackageType": "Image",
        "Code": {"ImageUri": f"{OWNER}.dkr.ecr.us-east-1.amazonaws.com/app:v1"},
        "Role": role["Arn"],
        "MemorySize": 256,
        "Timeout": 10,
    }
    with pytest.raises(ClientError, match="does not have permission to access the ECR image") as refused:
        functions.create_function(**wanted)
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"},
        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
    }
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    world.client("ecr", OWNER).set_repository_policy(repositoryName="app", policyText=text)
    functions.create_function(**wanted)
    eventually(lambda: functions.get_function_configuration(FunctionName="f")["State"] == "Active")
    answer = functions.invoke(FunctionName="f")["Payload"].read()
    assert json.loads(answer) == "from the other account"


def test_the_policy_opens_what_it_names_and_nothing_else(world: World) -> None:
    ecr = world.client("ecr", OTHER)
    for call in (
        lambda: ecr.batch_delete_image(registryId=OWNER, repositoryName="app", imageIds=[{"imageTag": "v1"}]),
        lambda: ecr.list_images(registryId=OWNER, repositoryName="app"),
        lambda: ecr.delete_repository(registryId=OWNER, repositoryName="app", force=True),
        lambda: ecr.create_repository(registryId=OWNER, repositoryName="theirs"),
        lambda: ecr.describe_repositories(registryId=OWNER, repositoryNames=["app"]),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            call()
