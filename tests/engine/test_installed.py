"""Runtimes that come and go while the server runs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from support import RUNTIMES, Server, deploy, invoke, needs, zip_files

NAME, PARTS = "nodejs22.x", ("node-22", "node-client-3")
PACKAGE = zip_files({"index.js": "exports.handler = async (event) => event;"})


def bring(directory: Path) -> None:
    """What an installation does, in no time: files of the tests' own runtimes, in new directories."""
    for part in PARTS:
        shutil.copytree(RUNTIMES / part, directory / f".new-{part}", copy_function=os.link)
        (directory / f".new-{part}").rename(directory / part)


def test_a_running_server_sees_what_is_installed_removed_and_installed_again(tmp_path: Path) -> None:
    needs(NAME)
    if not (RUNTIMES / PARTS[0]).exists():
        pytest.skip("this machine's own Node.js is used")
    directory = tmp_path / "runtimes"
    directory.mkdir()
    server = Server(tmp_path / "data", "--runtimes-dir", str(directory), "--isolation", "namespaces")
    client: Any = server.client()
    try:
        found = not Path("/usr/bin/node").exists()
        if found:
            with pytest.raises(botocore.exceptions.WaiterError):
                deploy(client, "too-early", NAME, PACKAGE)
        bring(directory)
        deploy(client, "first", NAME, PACKAGE)
        assert invoke(client, "first", 1)[0] == 1
        for part in PARTS:
            shutil.rmtree(directory / part)
        bring(directory)
        deploy(client, "second", NAME, PACKAGE)
        assert invoke(client, "second", 2)[0] == 2
        assert invoke(client, "first", 3)[0] == 3
        if found:
            client.update_function_configuration(FunctionName="too-early", Description="again")
            client.get_waiter("function_updated_v2").wait(FunctionName="too-early")
            assert invoke(client, "too-early", 4)[0] == 4
    finally:
        assert server.stop() == 0
