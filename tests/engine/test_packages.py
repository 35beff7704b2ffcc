"""A function with real packages, zipped as AWS's guide to Python packages tells."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import ROLE, RUNTIME, invoke

SOURCE = Path(__file__).parent.parent / "functions" / "packages"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """`pip install --target package …`, `zip -r` of that directory, and the handler beside it."""
    target = tmp_path_factory.mktemp("packages") / "package"
    options = ["--quiet", "--require-hashes", "--only-binary", ":all:", "--target", str(target)]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "-r", str(SOURCE / "requirements.txt")], check=True
    )
    shutil.copy(SOURCE / "lambda_function.py", target)
    return Path(shutil.make_archive(str(target.with_name("deployment")), "zip", target)).read_bytes()


def test_requests_pillow_pydantic_and_a_compiled_extension_run_unchanged(
    lambda_client: Any, name: str, package: bytes
) -> None:
    lambda_client.create_function(
        FunctionName=name,
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="lambda_function.lambda_handler",
        Code={"ZipFile": package},
        Timeout=30,
        MemorySize=512,
    )
    lambda_client.get_waiter("function_active_v2").wait(FunctionName=name)
    answer, response = invoke(lambda_client, name, {"order": {"number": 7, "items": ["a", "ü"]}})
    assert "FunctionError" not in response, answer
    assert answer == {
        "order": {"number": 7, "items": ["a", "ü"]},
        "png": "89504e470d0a1a0a",
        "size": [16, 8],
        "url": "https://example.org/?q=%C3%BC",
        "connection": "refused",
        "errors": 1,
        "files": ["task", "task", "task"],
    }
