"""What the tests that need a running server share: a server process, zips, and an AWS client for it."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from lambent.engine.runtimes import Missing, Runtimes

ROLE = "arn:aws:iam::000000000000:role/lambda-role"
RUNTIME = "python3.11"
RUNTIMES = Path(sys.prefix) / "runtimes"  # what `scripts/bootstrap test` has installed


class Server:
    """`lambent serve` as a process of its own."""

    def __init__(self, data_dir: Path, *arguments: str, port: int = 0, prefix: Sequence[str] = ()) -> None:
        """`prefix` is a command that runs the server in its turn (`setpriv …`)."""
        self.data_dir = data_dir
        command = [*prefix, sys.executable, "-m", "lambent", "serve", "--port", str(port), "--data-dir", str(data_dir)]
        self.log = open(data_dir.with_suffix(".log"), "ab")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=clean_environment(),
        )
        self.endpoint = self._wait()

    def _wait(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if match := re.search(r"(http://[\w.:\[\]]+)", line):
                return match[1]
        self.process.wait()
        raise RuntimeError(f"the server did not start:\n{self.data_dir.with_suffix('.log').read_text()}")

    def client(
        self, service: str = "lambda", *, account: str = "test", region: str = "us-east-1", **config: Any
    ) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=region,
            aws_access_key_id=account,
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=60, **config),
        )

    def kill(self) -> None:
        """As a power cut does it."""
        self.process.kill()
        self._close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._close()

    def _close(self) -> None:
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAMBENT_"))}


def zip_files(files: Mapping[str, str | bytes], mode: int = 0o644) -> bytes:
    """A zip as `zip -r` makes it: regular files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def zip_executables(files: Mapping[str, str | bytes]) -> bytes:
    return zip_files(files, 0o755)


def needs(*runtimes: str) -> None:
    """Skip the test where this machine lacks a runtime."""
    for runtime in runtimes:
        found = Runtimes(RUNTIMES).find(runtime)
        if isinstance(found, Missing):
            pytest.skip(f"{runtime}: {found.reason}")


def deploy(client: Any, name: str, runtime: str, package: bytes, **settings: Any) -> None:
    """A function from a zip; returns once it is Active."""
    settings = {"Role": ROLE, "Handler": "index.handler"} | settings
    client.create_function(FunctionName=name, Runtime=runtime, Code={"ZipFile": package}, **settings)
    client.get_waiter("function_active_v2").wait(FunctionName=name)


def run(*command: Any, **options: Any) -> str:
    """What a command prints; it must succeed."""
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=240, **options)
    assert result.returncode == 0, f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}"
    return result.stdout


def tail(response: Mapping[str, Any]) -> str:
    """The end of the log that `LogType=Tail` brought."""
    return base64.b64decode(response["LogResult"]).decode()


def create(client: Any, name: str, code: str, **settings: Any) -> dict[str, Any]:
    """A function from one file `function.py` with a `handler`; returns once it is Active."""
    settings = {"Runtime": RUNTIME, "Role": ROLE, "Handler": "function.handler"} | settings
    answer = client.create_function(FunctionName=name, Code={"ZipFile": zip_files({"function.py": code})}, **settings)
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    return answer


def invoke(client: Any, name: str, payload: Any = None, **arguments: Any) -> tuple[Any, dict[str, Any]]:
    """(the decoded answer, the whole response)."""
    response = client.invoke(FunctionName=name, Payload=json.dumps(payload), **arguments)
    return json.loads(response["Payload"].read()), response


def eventually(condition: Any, seconds: float = 10.0) -> Any:
    """The first true answer of `condition`; what it answered last when time runs out."""
    end = time.monotonic() + seconds
    while not (answer := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return answer
