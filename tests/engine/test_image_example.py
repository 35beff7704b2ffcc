"""The image that examples/image builds from Debian's packages: it runs, and each override shows in its answer."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from support import ROLE, Server, clean_environment, invoke, run

EXAMPLE = Path(__file__).parents[2] / "examples/image"
PIP = Path(sys.executable).with_name("pip")


@pytest.fixture(scope="module")
def built() -> Path:
    """Kept in the user's cache, as what tests/programs.py builds."""
    for program in ("mmdebstrap", "buildah"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on this machine")
    files = sorted(path for path in EXAMPLE.rglob("*") if path.is_file() and path.suffix not in (".md", ".pyc"))
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = home / "lambent/tests" / f"image-{digest}"
    if not cache.exists():
        work = cache.with_name(f"{cache.name}.{os.getpid()}")
        work.parent.mkdir(parents=True, exist_ok=True)
        made = subprocess.run(
            [EXAMPLE / "build.sh", work],
            env=os.environ | {"PIP": str(PIP)},
            capture_output=True,
            text=True,
            timeout=900,
        )
        if made.returncode != 0 and "apt" in made.stderr and "Failed to fetch" in made.stderr:
            pytest.skip("no Debian packages can be fetched here")
        assert made.returncode == 0, made.stderr
        work.rename(cache)
    return cache


def change(client: Any, name: str, **overrides: Any) -> None:
    client.update_function_configuration(FunctionName=name, ImageConfig=overrides)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def test_it_runs_and_each_override_shows(server: Server, lambda_client: Any, name: str, built: Path) -> None:
    host = urllib.parse.urlsplit(server.endpoint).netloc
    push = [
        sys.executable,
        "-m",
        "lambent",
        "image",
        "push",
        str(built),
        "example:v1",
        "--endpoint-url",
        server.endpoint,
    ]
    run(*push, env=clean_environment())
    uri = f"{host}/example:v1"
    lambda_client.create_function(
        FunctionName=name, PackageType="Image", Code={"ImageUri": uri}, Role=ROLE, MemorySize=256, Timeout=30
    )
    lambda_client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    answer = invoke(lambda_client, name, {"name": "Ada"})[0]
    assert (answer.get("hello"), answer.get("in")) == ("Ada", "/function"), answer
    assert answer["debian"].split(".")[0].isdigit()
    client = ["/usr/bin/env", "PYTHONPATH=/opt/client:/function", "/usr/bin/python3", "-m", "awslambdaric"]
    change(lambda_client, name, EntryPoint=client, WorkingDirectory="/usr")
    answer = invoke(lambda_client, name, {})[0]
    assert answer.get("in") == "/usr", answer
    change(lambda_client, name, Command=["app.nothing"])
    assert invoke(lambda_client, name)[0]["errorType"] == "Runtime.HandlerNotFound"
