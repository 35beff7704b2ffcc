"""Layers under real functions: what lies in /opt, what is found there, and what is left when they are deleted."""

from __future__ import annotations

import io
import json
import os
import stat
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from support import RUNTIME, Server, create, eventually, invoke, zip_files

LOOK = """
import json, os, subprocess
def read(path):
    with open(path) as file:
        return file.read()
def tried(action):
    try:
        return repr(action())
    except OSError as error:
        return error.strerror
def handler(event, context):
    import below, whole
    return {
        'whole': whole.NAME,
        'below': below.NAME,
        'opt': sorted(os.listdir('/opt')),
        'both': read('/opt/both'),
        'tool': subprocess.run(['tool'], capture_output=True, text=True).stdout.strip(),
        'write': tried(lambda: open('/opt/new', 'w')),
        'remove': tried(lambda: os.remove('/opt/both')),
        'mode': tried(lambda: os.chmod('/opt/both', 0o777)),
        'user': tried(lambda: os.stat('/opt/both').st_uid),
    }
"""


def publish(client: Any, name: str, files: dict[str, str | bytes], **members: Any) -> str:
    answer = client.publish_layer_version(LayerName=name, Content={"ZipFile": zip_files(files)}, **members)
    return str(answer["LayerVersionArn"])


def with_tool(files: dict[str, str]) -> bytes:
    """The files and a program `bin/tool`."""
    buffer = io.BytesIO(zip_files(files))
    with zipfile.ZipFile(buffer, "a") as archive:
        program = zipfile.ZipInfo("bin/tool", (2026, 1, 1, 0, 0, 0))
        program.external_attr = (stat.S_IFREG | 0o755) << 16
        archive.writestr(program, "#!/bin/sh\necho run\n")
    return buffer.getvalue()


def test_layers_lie_over_each_other_in_opt(server: Server, lambda_client: Any, name: str) -> None:
    major_minor = RUNTIME.removeprefix("python")
    packages = f"python/lib/python{major_minor}/site-packages"
    first = with_tool({"python/whole.py": "NAME = 'first'", f"{packages}/below.py": "NAME = 'below'", "both": "first"})
    lower = lambda_client.publish_layer_version(LayerName=f"{name}-1", Content={"ZipFile": first})
    upper = publish(lambda_client, f"{name}-2", {"python/whole.py": "NAME = 'second'", "both": "second"})
    create(lambda_client, name, LOOK, Layers=[lower["LayerVersionArn"], upper])
    answer, _ = invoke(lambda_client, name)
    assert answer == {
        "whole": "second",
        "below": "below",
        "opt": ["bin", "both", "python"],
        "both": "second",
        "tool": "run",
        "write": "Read-only file system",
        "remove": "Read-only file system",
        "mode": "Read-only file system",
        "user": "0",
    }
    lambda_client.update_function_configuration(FunctionName=name, Layers=[upper, lower["LayerVersionArn"]])
    lambda_client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert invoke(lambda_client, name)[0]["whole"] == "first"
    with urllib.request.urlopen(lower["Content"]["Location"]) as response:
        assert response.read() == first
    assert len(list((server.data_dir / "trees").glob(upper_digest(lambda_client, f"{name}-2")))) == 1


def upper_digest(client: Any, name: str) -> str:
    import base64

    sha256 = client.get_layer_version(LayerName=name, VersionNumber=1)["Content"]["CodeSha256"]
    return base64.b64decode(sha256).hex()


def test_the_search_path_is_as_on_aws(lambda_client: Any, name: str) -> None:
    code = "import sys\ndef handler(event, context):\n    return sys.path[:3]\n"
    layer = publish(lambda_client, name, {"python/x.py": ""})
    create(lambda_client, name, code, Layers=[layer])
    version = RUNTIME
    assert invoke(lambda_client, name)[0] == [
        "/var/task",
        f"/opt/python/lib/{version}/site-packages",
        "/opt/python",
    ]


def test_a_function_goes_on_with_a_layer_that_was_deleted(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    client = server.client()
    layer = publish(client, "l", {"python/whole.py": "NAME = 'kept'"})
    create(client, "f", "import whole\ndef handler(event, context):\n    return whole.NAME\n", Layers=[layer])
    digest = upper_digest(client, "l")
    client.delete_layer_version(LayerName="l", VersionNumber=1)
    assert invoke(client, "f")[0] == "kept"
    server.kill()
    server = Server(tmp_path / "data")
    client = server.client()
    assert invoke(client, "f")[0] == "kept"
    assert publish(client, "l", {"python/whole.py": "NAME = 'next'"}).endswith(":2")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_layer_version(LayerName="l", VersionNumber=1)
    client.delete_function(FunctionName="f")
    left = [tmp_path / "data" / place / digest for place in ("blobs", "trees")]
    assert eventually(lambda: not any(path.exists() for path in left))
    assert server.stop() == 0


def test_a_layer_is_unpacked_once_and_its_files_are_shared(server: Server, lambda_client: Any, name: str) -> None:
    code = "import os\ndef handler(event, context):\n    return os.stat('/opt/large').st_ino\n"
    large = publish(lambda_client, name, {"large": os.urandom(1 << 16)})
    other = publish(lambda_client, f"{name}-other", {"small": "x"})
    seen = set()
    for number, layers in enumerate(([large], [large, other], [other, large])):
        create(lambda_client, f"{name}-{number}", code, Layers=layers)
        seen.add(invoke(lambda_client, f"{name}-{number}")[0])
    assert seen == {(server.data_dir / "trees" / upper_digest(lambda_client, name) / "large").stat().st_ino}


def links_out() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("python")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc")
    return buffer.getvalue()


@pytest.mark.parametrize("content", [zip_files({"../../etc/x": "x"}), zip_files({"/etc/x": "x"}), links_out(), b"no"])
def test_a_harmful_layer_is_refused_and_leaves_nothing(
    server: Server, lambda_client: Any, name: str, content: bytes
) -> None:
    before = sorted(os.listdir(server.data_dir / "trees"))
    with pytest.raises(botocore.exceptions.ClientError, match="Could not unzip uploaded file"):
        lambda_client.publish_layer_version(LayerName=name, Content={"ZipFile": content})
    assert sorted(os.listdir(server.data_dir / "trees")) == before
    assert lambda_client.list_layer_versions(LayerName=name)["LayerVersions"] == []


def test_another_account_uses_a_layer_only_when_it_may(server: Server, name: str) -> None:
    owner, guest = server.client(account="111111111111"), server.client(account="222222222222")
    layer = publish(owner, name, {"python/whole.py": "NAME = 'shared'"})
    code = "import whole\ndef handler(event, context):\n    return whole.NAME\n"
    role = "arn:aws:iam::222222222222:role/lambda-role"
    for attempt in (
        lambda: create(guest, name, code, Layers=[layer], Role=role),
        lambda: guest.get_layer_version_by_arn(Arn=layer),
    ):
        with pytest.raises(botocore.exceptions.ClientError) as refusal:
            attempt()
        assert refusal.value.response["Error"]["Code"] == "AccessDeniedException"
        assert "because no resource-based policy allows the lambda:GetLayerVersion action" in str(refusal.value)
    statement = owner.add_layer_version_permission(
        LayerName=name, VersionNumber=1, StatementId="guest", Action="lambda:GetLayerVersion", Principal="222222222222"
    )["Statement"]
    assert json.loads(statement)["Principal"] == {"AWS": "arn:aws:iam::222222222222:root"}
    create(guest, name, code, Layers=[layer], Role=role)
    assert invoke(guest, name)[0] == "shared"
    owner.remove_layer_version_permission(LayerName=name, VersionNumber=1, StatementId="guest")
    owner.delete_layer_version(LayerName=name, VersionNumber=1)
    assert invoke(guest, name)[0] == "shared"
