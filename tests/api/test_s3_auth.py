"""S3 under `--auth iam`: who may do what with objects, and whose right a function's package is read with."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from api.test_auth import create_key
from support import Server, zip_files


@dataclass
class World:
    server: Server
    admin: tuple[str, str]
    ann: tuple[str, str]  # a user
    arn: str

    def client(self, service: str, who: tuple[str, str]) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.server.endpoint,
            region_name="us-east-1",
            aws_access_key_id=who[0],
            aws_secret_access_key=who[1],
            config=Config(retries={"total_max_attempts": 1}, signature_version="s3v4" if service == "s3" else "v4"),
        )

    def allow(self, *actions: str, resource: str = "*") -> None:
        """By a policy of the user's."""
        document = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resource}],
        }
        self.client("iam", self.admin).put_user_policy(
            UserName="ann", PolicyName=f"p{len(str(actions))}", PolicyDocument=json.dumps(document)
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data: Path = tmp_path_factory.mktemp("iam") / "data"
    server = Server(data, "--auth", "iam", "--isolation", "process")
    try:
        found = World(server, create_key(data), ("", ""), "")
        iam = found.client("iam", found.admin)
        found.arn = iam.create_user(UserName="ann")["User"]["Arn"]
        key = iam.create_access_key(UserName="ann")["AccessKey"]
        found.ann = (key["AccessKeyId"], key["SecretAccessKey"])
        yield found
    finally:
        server.stop()


def test_a_bucket_policy_says_who_may(world: World) -> None:
    s3, ann = world.client("s3", world.admin), world.client("s3", world.ann)
    s3.create_bucket(Bucket="shared")
    s3.put_object(Bucket="shared", Key="secret", Body=os.urandom(3_000_000))
    with pytest.raises(ClientError, match=r"AccessDenied.*not authorized to perform: s3:PutObject"):
        ann.put_object(Bucket="shared", Key="in/x", Body=b"1")
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": world.arn},
        "Action": ["s3:PutObject", "s3:GetObject"],
        "Resource": "arn:aws:s3:::shared/in/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    s3.put_bucket_policy(Bucket="shared", Policy=policy)
    ann.put_object(Bucket="shared", Key="in/x", Body=b"1")
    assert ann.get_object(Bucket="shared", Key="in/x")["Body"].read() == b"1"
    for asked in (
        lambda: ann.put_object(Bucket="shared", Key="out/x", Body=b"1"),
        lambda: ann.get_object(Bucket="shared", Key="secret"),
        lambda: ann.copy_object(Bucket="shared", Key="in/y", CopySource="shared/secret"),
        lambda: ann.list_objects_v2(Bucket="shared"),
        lambda: ann.delete_objects(Bucket="shared", Delete={"Objects": [{"Key": "in/x"}]}),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            asked()


def test_signatures(world: World) -> None:
    s3 = world.client("s3", world.admin)
    s3.create_bucket(Bucket="signed")
    s3.put_object(Bucket="signed", Key="a b/é", Body=b"1")
    wrong = world.client("s3", (world.admin[0], "wrong"))
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        wrong.put_object(Bucket="signed", Key="never", Body=os.urandom(2_000_000))
    assert [one["Key"] for one in s3.list_objects_v2(Bucket="signed")["Contents"]] == ["a b/é"]
    link = s3.generate_presigned_url("get_object", Params={"Bucket": "signed", "Key": "a b/é"})
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"1"
    for other in (link.replace("a%20b", "c"), f"{world.server.endpoint}/signed/a%20b/%C3%A9"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(other)
        assert caught.value.code == 403


def test_a_package_is_read_with_its_caller_s_right(world: World) -> None:
    s3, functions = world.client("s3", world.admin), world.client("lambda", world.ann)
    s3.create_bucket(Bucket="packages")
    s3.put_object(Bucket="packages", Key="f.zip", Body=zip_files({"index.py": "def handler(e, c): return 1"}))
    world.allow("lambda:PublishLayerVersion")
    layer = {"LayerName": "l", "Content": {"S3Bucket": "packages", "S3Key": "f.zip"}}
    with pytest.raises(ClientError, match="Your access has been denied by S3") as caught:
        functions.publish_layer_version(**layer)
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    world.allow("s3:GetObject", resource="arn:aws:s3:::packages/*")
    assert functions.publish_layer_version(**layer)["Version"] == 1
