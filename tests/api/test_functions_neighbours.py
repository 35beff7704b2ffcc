"""A sandboxed function uses a service at an upstream through the SDK as it is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from sdk import boto3_layer
from support import Server, clean_environment, create, eventually, invoke

OBJECTS = """
import boto3
def handler(event, context):
    s3 = boto3.client("s3", config=boto3.session.Config(s3={"addressing_style": "path"}))
    s3.put_object(Bucket="upstream", Key="from/function", Body=b"x" * event)
    return s3.head_object(Bucket="upstream", Key="from/function")["ContentLength"]
"""


@pytest.fixture(scope="module")
def second() -> Iterator[str]:
    """Another S3 server, of somebody else: moto's own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment())
    assert eventually(lambda: answers(port), 30)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def layer(client: Any, *services: str) -> str:
    content = {"ZipFile": boto3_layer(*services)}
    return str(client.publish_layer_version(LayerName="-".join(services), Content=content)["LayerVersionArn"])


def test_a_second_s3_server_as_upstream(tmp_path: Path, second: str, name: str) -> None:
    keys = {"aws_access_key_id": "upstream-key", "aws_secret_access_key": "upstream-secret"}
    direct = boto3.client("s3", endpoint_url=second, region_name="us-east-1", **keys)
    direct.create_bucket(Bucket="upstream")
    os.environ["UPSTREAM_KEYS"] = "upstream-key:upstream-secret"
    try:
        server = Server(tmp_path / "data", "--services", f"s3={second},credentials=env:UPSTREAM_KEYS default=none")
    finally:
        del os.environ["UPSTREAM_KEYS"]
    client = server.client()
    create(client, name, OBJECTS, Layers=[layer(client, "s3")], Timeout=60, MemorySize=512)
    answer, response = invoke(client, name, 3_000_000)
    assert answer == 3_000_000, response
    assert direct.head_object(Bucket="upstream", Key="from/function")["ContentLength"] == 3_000_000
    client.delete_function(FunctionName=name)
    assert server.stop() == 0
