"""Functions from images of other registries: another Lambent, and the CNCF's distribution with a login."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

import imagery
from support import ROLE, Server, clean_environment, eventually, invoke, run

CODE = "handler = lambda event, context: 'from afar'"
SETTINGS = {"Entrypoint": ["/usr/bin/python", "-m", "awslambdaric"], "Cmd": ["app.handler"], "WorkingDir": "/function"}
PASSWORD = "me:secret"
PROGRAM = Path(__file__).parents[2] / ".venv/docker-registry/usr/bin/docker-registry"  # scripts/bootstrap brings it


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("image") / "layout"
    imagery.layout(place, [imagery.python(), imagery.files({"function/app.py": CODE})], **SETTINGS)
    return place


def push(image: Path, target: str, *options: str) -> None:
    run(
        "skopeo",
        "--insecure-policy",
        "copy",
        "--dest-tls-verify=false",
        *options,
        f"oci:{image}:latest",
        f"docker://{target}",
    )


def create(client: Any, name: str, uri: str) -> None:
    client.create_function(
        FunctionName=name, PackageType="Image", Code={"ImageUri": uri}, Role=ROLE, MemorySize=256, Timeout=10
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def test_another_lambent(lambda_client: Any, name: str, image: Path, tmp_path: Path) -> None:
    other = Server(tmp_path / "other")
    host = urllib.parse.urlsplit(other.endpoint).netloc
    other.client("ecr").create_repository(repositoryName="far/app")
    push(image, f"{host}/far/app:v1")
    create(lambda_client, name, f"{host}/far/app:v1")
    other.stop()  # from here on it is this server's own
    assert invoke(lambda_client, name)[0] == "from afar"
    lambda_client.update_function_configuration(FunctionName=name, Description="a new environment")
    lambda_client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert invoke(lambda_client, name)[0] == "from afar"
    with pytest.raises(ClientError, match="cannot be reached"):
        lambda_client.update_function_code(FunctionName=name, ImageUri=f"{host}/far/app:v1")


class Distribution:
    """Debian's docker-registry on a free port; everybody needs a login."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{probe.getsockname()[1]}"
        hashed = subprocess.run(
            ["perl", "-e", "print crypt('secret', '$2y$05$abcdefghijklmnopqrstuu')"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        (directory / "passwords").write_text(f"me:{hashed}\n")
        settings = {
            "version": 0.1,
            "log": {"accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
            "http": {"addr": self.host},
            "auth": {"htpasswd": {"realm": "test", "path": str(directory / "passwords")}},
        }
        (directory / "config.yml").write_text(json.dumps(settings))
        with (directory / "log").open("wb") as log:
            command = [PROGRAM, "serve", str(directory / "config.yml")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=clean_environment())
        assert eventually(self._answers), (directory / "log").read_text()

    def _answers(self) -> bool:
        host, port = self.host.split(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def distribution(tmp_path: Path) -> Iterator[Distribution]:
    if not PROGRAM.exists():
        pytest.skip("docker-registry is not in .venv")
    found = Distribution(tmp_path)
    yield found
    found.stop()


def test_the_cncf_s_registry_with_a_login(distribution: Distribution, image: Path, tmp_path: Path) -> None:
    uri = f"{distribution.host}/team/app:v1"
    push(image, uri, "--dest-creds", PASSWORD)
    logins = tmp_path / "auth.json"
    server = Server(tmp_path / "server", "--registry-auth", f"file:{logins}")
    client = server.client()
    with pytest.raises(ClientError, match="AccessDeniedException"):
        create(client, "f", uri)
    login = ["skopeo", "login", "--tls-verify=false", "--username", "me", "--password-stdin", distribution.host]
    run(*login, input="secret", env=clean_environment() | {"REGISTRY_AUTH_FILE": str(logins)})
    create(client, "f", uri)  # the server need not be told
    assert invoke(client, "f")[0] == "from afar"
    with pytest.raises(ClientError, match="does not exist"):
        create(client, "g", f"{distribution.host}/team/app:v2")
    server.stop()
    os.chmod(logins, 0o644)
    with pytest.raises(RuntimeError, match="chmod 600"):
        Server(tmp_path / "server", "--registry-auth", f"file:{logins}")


def test_a_layer_that_is_gone_by_then(distribution: Distribution, image: Path, tmp_path: Path) -> None:
    uri = f"{distribution.host}/team/app:v1"
    push(image, uri, "--dest-creds", PASSWORD)
    for blob in (tmp_path / "data/docker/registry/v2/blobs/sha256").glob("*/*/data"):
        if blob.stat().st_size > 1 << 20:
            blob.unlink()
    logins = json.dumps({"auths": {distribution.host: {"auth": base64.b64encode(PASSWORD.encode()).decode()}}})
    server = Server(tmp_path / "server", "--registry-auth", "env:LOGINS", prefix=("env", f"LOGINS={logins}"))
    client = server.client()
    client.create_function(FunctionName="f", PackageType="Image", Code={"ImageUri": uri}, Role=ROLE)
    found = eventually(
        lambda: (got := client.get_function(FunctionName="f")["Configuration"])["State"] == "Failed" and got
    )
    assert found["StateReasonCode"] == "ImageDeleted"
    assert eventually(lambda: not list((tmp_path / "server/registry").glob(".new-*"))), "other layers were on their way"
    server.stop()
