"""Runtimes that are container images: functions from zip files in them, with layers, in every place that can."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagery
from isolations import ISOLATIONS, NOBODY
from lambent.cli.main import main
from lambent.engine.runtimes import Missing, Runtime, Runtimes
from support import Server, create, invoke, zip_files

RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
START = {
    "Entrypoint": ["python", "-m", "awslambdaric"],
    "Env": ["PYTHONPATH=/function", "PATH=/usr/bin", "TASTE=sweet"],
}
CODE = """
import os, shared

def handler(event, context):
    with open("/tmp/x", "w") as file:
        file.write("x")
    with open("/proc/self/mountinfo") as file:
        mounts = file.read()
    return {
        "env": dict(os.environ), "root": sorted(os.listdir("/")), "shared": shared.__file__, "cwd": os.getcwd(),
        "marks": [os.path.exists(path) for path in ("/marks/stays", "/marks/goes")], "mounts": mounts,
        "os": os.__file__, "handler": os.environ["_HANDLER"],
    }
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with a Python of its own, and a second layer which takes away a file of the third."""
    place = tmp_path_factory.mktemp("image")
    marks = imagery.files({"marks/stays": "", "marks/goes": ""})
    imagery.layout(place, [imagery.python(), marks, imagery.files({"marks/.wh.goes": ""})], **START)
    return place


@pytest.fixture(scope="module", params=["namespaces", "unprivileged"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, image: Path) -> Iterator[Server]:
    isolation = ISOLATIONS[request.param]
    if reason := isolation.missing():
        pytest.skip(reason)
    root = tmp_path_factory.mktemp(request.param)
    directory = root / "runtimes"
    assert main(["runtimes", "install", RUNTIME, "--image", str(image), "--runtimes-dir", str(directory)]) == 0
    if isolation.prefix:
        for path in (directory, *directory.rglob("*")):
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid, follow_symlinks=False)
    server = isolation.serve(root / "data", "--runtimes-dir", str(directory))
    yield server
    assert server.stop() == 0


def test_a_function_runs_in_the_image_with_its_code_and_its_layers(server: Server) -> None:
    client = server.client()
    layer = client.publish_layer_version(LayerName="shared", Content={"ZipFile": zip_files({"python/shared.py": ""})})
    variables = {"Variables": {"PYTHONPATH": "/function:/opt/python", "MINE": "1"}}
    create(client, "inside", CODE, Layers=[layer["LayerVersionArn"]], Environment=variables)
    for _ in range(2):
        answer, _response = invoke(client, "inside", {})
    environment = answer["env"]
    assert (environment["TASTE"], environment["MINE"], answer["handler"]) == ("sweet", "1", "function.handler")
    assert (answer["shared"], answer["cwd"]) == ("/opt/python/shared.py", "/var/task")
    assert answer["marks"] == [True, False]
    assert not {"home", "root", "sbin", ".lambent", ".trees", ".image", ".runtime"} & set(answer["root"])
    assert "/runtimes/" not in answer["mounts"]


def test_an_image_for_another_machine_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = "arm64" if platform.machine() == "x86_64" else "amd64"
    imagery.layout(tmp_path / "image", [imagery.files({"a": ""})], architecture=other, **START)
    assert install(tmp_path) == 1
    assert f"linux/{other}" in capsys.readouterr().err


def test_an_image_that_starts_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imagery.layout(tmp_path / "image", [imagery.files({"a": ""})])
    assert install(tmp_path) == 1
    assert "ENTRYPOINT" in capsys.readouterr().err


def test_a_harmful_or_damaged_layer_leaves_what_was_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imagery.layout(tmp_path / "image", [imagery.files({"a": ""})], **START)
    assert install(tmp_path) == 0
    before = Runtimes(tmp_path / "runtimes").find("dotnet8")
    assert isinstance(before, Runtime)
    inodes = [path.stat().st_ino for path in before.layers]
    for blob in (tmp_path / "image/blobs/sha256").iterdir():
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            blob.write_bytes(blob.read_bytes()[:-20])
    assert install(tmp_path) == 1
    assert "layer 1" in capsys.readouterr().err
    after = Runtimes(tmp_path / "runtimes").find("dotnet8")
    assert isinstance(after, Runtime)
    assert (after.version, [path.stat().st_ino for path in after.layers]) == (before.version, inodes)
    assert not list((tmp_path / "runtimes").glob(".lambent-*"))


def test_one_that_is_removed_is_missing_again(tmp_path: Path) -> None:
    imagery.layout(tmp_path / "image", [imagery.files({"a": ""})], **START)
    assert install(tmp_path) == 0
    assert main(["runtimes", "remove", "dotnet8", "--runtimes-dir", str(tmp_path / "runtimes")]) == 0
    assert isinstance(Runtimes(tmp_path / "runtimes").find("dotnet8"), Missing)


def test_a_file_that_is_no_image_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "image").write_text("text")
    assert install(tmp_path) == 1
    assert "neither an OCI layout nor an archive" in capsys.readouterr().err


def install(place: Path) -> int:
    image, directory = str(place / "image"), str(place / "runtimes")
    return main(["runtimes", "install", "dotnet8", "--image", image, "--runtimes-dir", directory])
