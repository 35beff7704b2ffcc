"""File systems: a directory of this machine, shared by functions, and nothing else of this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

import imagery
from isolations import ISOLATIONS, Isolation
from support import ROLE, Server, create, invoke, run

ARN = "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-0123456789abcdef0"
GONE = f"{ARN[:-1]}1"
CODE = """
import os, subprocess

def handler(event, context):
    path = event["path"]
    if "write" in event:
        with open(path, "a") as file:
            file.write(event["write"])
    answer = {"mnt": os.listdir("/mnt"), "owner": os.stat(path).st_uid == os.getuid()}
    if os.path.isfile(path):
        answer["content"] = open(path).read()
    else:
        answer["names"] = sorted(os.listdir(path))
    return answer
"""

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root"),
    pytest.mark.isolations("namespaces", "crun", "gvisor"),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, isolation: Isolation) -> Path:
    """New for every isolation."""
    directory = tmp_path_factory.mktemp("shared")
    os.chown(directory, 4242, 4242)
    directory.chmod(0o700)
    (directory / "there").write_text("before")
    os.chown(directory / "there", 4242, 4242)
    return directory


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, shared: Path, isolation: Isolation) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("server")
    (root / "config.toml").write_text(f'[file_systems]\n"{ARN}" = "{shared}"\n"{GONE}" = "{root}/nothing"\n')
    server = isolation.serve(root / "data", "--config", str(root / "config.toml"))
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def client(server: Server) -> object:
    return server.client()


def mounted(arn: str = ARN, path: str = "/mnt/files") -> dict[str, object]:
    return {"FileSystemConfigs": [{"Arn": arn, "LocalMountPath": path}]}


def test_functions_share_what_they_write_and_it_belongs_to_the_owner_of_the_directory(client, shared):
    for name in ("writer", "reader"):
        created = create(client, name, CODE, **mounted())
        assert created["FileSystemConfigs"] == [{"Arn": ARN, "LocalMountPath": "/mnt/files"}]
    seen, _ = invoke(client, "writer", {"path": "/mnt/files"})
    assert seen == {"mnt": ["files"], "owner": True, "names": ["there"]}
    written, _ = invoke(client, "writer", {"path": "/mnt/files/new", "write": "one"})
    assert (written["content"], written["owner"]) == ("one", True)
    added, _ = invoke(client, "reader", {"path": "/mnt/files/new", "write": " two"})
    assert (added["content"], added["owner"]) == ("one two", True)
    assert (shared / "new").read_text() == "one two"
    assert (shared / "new").stat().st_uid == 4242


def test_a_function_without_a_file_system_has_none(client):
    create(client, "without", CODE)
    assert invoke(client, "without", {"path": "/mnt"})[0]["names"] == []


def test_it_can_be_taken_away_again(client):
    create(client, "changing", CODE, **mounted(path="/mnt/other"))
    assert invoke(client, "changing", {"path": "/mnt"})[0]["names"] == ["other"]
    client.update_function_configuration(FunctionName="changing", FileSystemConfigs=[])
    client.get_waiter("function_updated_v2").wait(FunctionName="changing")
    assert invoke(client, "changing", {"path": "/mnt"})[0]["names"] == []


def test_nothing_of_the_host_can_be_reached_through_it(client, shared, tmp_path):
    (tmp_path / "secret").write_text("secret")
    os.symlink(tmp_path / "secret", shared / "link")
    create(client, "fenced", CODE, **mounted())
    answer, response = invoke(client, "fenced", {"path": "/mnt/files/link"})
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorType"] == "FileNotFoundError"
    answer, response = invoke(client, "fenced", {"path": "/mnt/beside", "write": "x"})
    assert answer["errorType"] in ("OSError", "PermissionError")
    (shared / "link").unlink()


def test_an_access_point_that_is_not_configured_is_refused(client):
    with pytest.raises(ClientError, match=r"Access point .* does not exist") as refused:
        create(client, "refused", CODE, **mounted(arn=f"{ARN[:-1]}2"))
    assert refused.value.response["Error"]["Code"] == "InvalidParameterValueException"


def test_a_directory_that_is_gone_is_named_and_harms_nobody_else(client):
    create(client, "gone", CODE, **mounted(arn=GONE))
    with pytest.raises(ClientError) as failed:
        client.invoke(FunctionName="gone", Payload=json.dumps({"path": "/mnt"}))
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert failed.value.response["Error"]["Code"] == "EFSMountFailureException"
    assert "/nothing" in failed.value.response["Error"]["Message"]
    create(client, "beside", CODE)
    assert invoke(client, "beside", {"path": "/mnt"})[0]["names"] == []


def test_a_container_image_has_it_too(server, client, tmp_path):
    client_of_registry = server.client("ecr")
    host = client.meta.endpoint_url.removeprefix("http://")
    layers = [imagery.python(), imagery.files({"function/app.py": CODE})]
    settings = {"Entrypoint": ["/usr/bin/python", "-m", "awslambdaric"], "Cmd": ["app.handler"]}
    imagery.layout(tmp_path / "image", layers, Env=["PATH=/usr/bin:/bin"], WorkingDir="/function", **settings)
    client_of_registry.create_repository(repositoryName="functions")
    target = f"docker://{host}/functions:mounted"
    copy = ("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false")
    run(*copy, f"oci:{tmp_path}/image:latest", target)
    image = {"PackageType": "Image", "Code": {"ImageUri": f"{host}/functions:mounted"}}
    client.create_function(FunctionName="image", Role=ROLE, Timeout=10, MemorySize=256, **image, **mounted())
    client.get_waiter("function_active_v2").wait(FunctionName="image", WaiterConfig={"Delay": 1})
    answer, _ = invoke(client, "image", {"path": "/mnt/files/of-image", "write": "one"})
    assert (answer["mnt"], answer["content"], answer["owner"]) == (["files"], "one", True)
    create(client, "zip", CODE, **mounted())
    assert invoke(client, "zip", {"path": "/mnt/files/of-image"})[0]["content"] == "one"


@pytest.mark.parametrize("name", ["process", "unprivileged"])
def test_where_nothing_can_be_mounted_they_are_refused_at_once(tmp_path, name):
    isolation = ISOLATIONS[name]
    if missing := isolation.missing():
        pytest.skip(missing)
    server = isolation.serve(tmp_path / "data", "--file-systems", f"{ARN}={tmp_path}")
    try:
        client = server.client()
        create(client, "f", CODE)
        for call in (
            lambda: create(client, "g", CODE, **mounted()),
            lambda: client.update_function_configuration(FunctionName="f", **mounted()),
        ):
            with pytest.raises(ClientError, match=f"{ARN} cannot be mounted: file systems .+ take ") as refused:
                call()
            assert refused.value.response["Error"]["Code"] == "InvalidParameterValueException"
        assert [one["FunctionName"] for one in client.list_functions()["Functions"]] == ["f"]
    finally:
        server.stop()
