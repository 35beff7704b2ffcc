"""`lambent image` against a running server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import imagery
from support import Server, clean_environment


def image(server: Server, *arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lambent", "image", *map(str, arguments), "--endpoint-url", server.endpoint]
    return subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=60)


def test_push_list_and_inspect(server: Server, tmp_path: Path) -> None:
    digest = imagery.layout(tmp_path / "image", [b"one", b"two"], Cmd=["app"], Env=["A=1"])
    pushed = image(server, "push", tmp_path / "image", "by-command/app:v1")
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout.splitlines()[0] == "made the repository by-command/app"
    assert pushed.stdout.splitlines()[-1] == f"by-command/app:v1 is {digest}"
    again = image(server, "push", tmp_path / "image", "by-command/app")
    assert again.stdout.count("is there already") == 3
    listed = image(server, "ls", "by-command/app", "--json")
    assert [entry["imageTags"] for entry in json.loads(listed.stdout)] == [["latest", "v1"]]
    assert "latest,v1" in image(server, "ls").stdout
    shown = image(server, "inspect", "by-command/app:v1")
    assert "variable     A=1" in shown.stdout
    assert json.loads(image(server, "inspect", "by-command/app:v1", "--json").stdout)["digest"] == digest


def test_what_is_not_there(server: Server, tmp_path: Path) -> None:
    server.client("ecr").create_repository(repositoryName="empty")
    assert "empty" in image(server, "ls", "empty").stdout
    missing = image(server, "inspect", "empty:v1")
    assert missing.returncode == 1
    assert "lambent image ls lists those that are there" in missing.stderr
    assert "RepositoryNotFoundException" in image(server, "ls", "none").stderr
    unreadable = image(server, "push", tmp_path / "missing", "empty:v1")
    assert unreadable.returncode == 1
    assert "cannot be read" in unreadable.stderr
