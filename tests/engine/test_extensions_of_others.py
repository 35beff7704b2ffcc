"""Extensions that others have written, from the registries where they publish them, run unchanged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from lambent.engine.runtimes.packages import ANY, Package, Registry
from lambent.engine.runtimes.registries import ToolMissing, fetch, unpack
from support import ROLE, RUNTIME, RUNTIMES, Server, deploy, eventually, invoke, needs, zip_files

REQUIREMENTS = Path(__file__).parent.parent / "functions" / "extensions" / "requirements.txt"
# An external extension in Node.js with a wrapper script, and the Logs API (MIT).
OPEN_TELEMETRY = Package(
    Registry.NPM,
    {ANY: "@serverless/aws-lambda-otel-extension-dist"},
    "0.1.11",
    {ANY: "sha512-DP4AAAKL1dcJcgSR8Cuh2eEo74Nf/2LZVFubKpccrdBA2csx2ohXicWw86Y3YiIV6D2i+JxcuneN7OQZH5ZB3w=="},
    {"package/extension.zip": "extension.zip"},
)


def printed(server: Server, name: str) -> str:
    with urllib.request.urlopen(f"{server.endpoint}/_lambent/logs/{name}") as answer:
        return "".join(event["message"] for event in json.load(answer)["events"])


def reported(log: str) -> str:
    """What the extension says of invocations, not what the platform does."""
    return "".join(line for line in log.splitlines() if "faas.name" in line)


def test_an_open_telemetry_extension_with_its_wrapper(tmp_path: Path) -> None:
    """It starts with the function's runtime, reads its reports through the Logs API and prints traces and metrics."""
    needs("nodejs22.x")
    (tmp_path / "fetched").mkdir()
    (tmp_path / "layer").mkdir()
    try:
        unpack(fetch(OPEN_TELEMETRY, tmp_path / "fetched"), OPEN_TELEMETRY, tmp_path / "layer")
    except ToolMissing as missing:
        pytest.skip(str(missing))
    server = Server(tmp_path / "data", "--runtimes-dir", str(RUNTIMES))
    try:
        client = server.client()
        content = {"ZipFile": (tmp_path / "layer" / "extension.zip").read_bytes()}
        layer = client.publish_layer_version(LayerName="otel", Content=content)["LayerVersionArn"]
        code = "exports.handler = async (event) => ({ got: event });\n"
        variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/otel-extension/otel-handler", "SLS_OTEL_REPORT_TYPE": "json"}
        settings = {"Layers": [layer], "MemorySize": 512, "Timeout": 20, "Environment": {"Variables": variables}}
        deploy(client, "f", "nodejs22.x", zip_files({"index.js": code}), **settings)
        for number in range(2):
            answer, response = invoke(client, "f", number)
            assert answer == {"got": number}
            request_id = response["ResponseMetadata"]["RequestId"]
            assert eventually(lambda: request_id in reported(printed(server, "f"))), printed(server, "f")  # noqa: B023
        log = printed(server, "f")
        assert "LOGS\tName: otel-extension\tState: Subscribed\tTypes: [Platform]\n" in log
        assert "EXTENSION\tName: otel-extension\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n" in log
    finally:
        assert server.stop() == 0


def test_an_internal_extension_that_lets_python_see_the_end(tmp_path: Path) -> None:
    """It registers from a thread of the function, so that the runtime gets SIGTERM and time to act on it."""
    target = tmp_path / "package"
    options = ["--quiet", "--require-hashes", "--only-binary", ":all:", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "-r", str(REQUIREMENTS)], check=True)
    (target / "function.py").write_text(
        "import signal, sys\n"
        "import lambda_sigterm\n"
        "lambda_sigterm.register()\n"
        "def told(number, frame):\n"
        "    print('told to end', flush=True)\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, told)\n"
        "def handler(event, context):\n"
        "    return event\n"
    )
    package = Path(shutil.make_archive(str(tmp_path / "deployment"), "zip", target)).read_bytes()
    server = Server(tmp_path / "data", "--idle-timeout", "1")
    try:
        client = server.client()
        client.create_function(
            FunctionName="f", Runtime=RUNTIME, Role=ROLE, Handler="function.handler", Code={"ZipFile": package}
        )
        client.get_waiter("function_active_v2").wait(FunctionName="f")
        assert invoke(client, "f", 1)[0] == 1
        assert "EXTENSION\tName: lambda-sigterm\tState: Ready\tEvents: []\n" in printed(server, "f")
        assert eventually(lambda: "told to end\n" in printed(server, "f"))
    finally:
        assert server.stop() == 0
