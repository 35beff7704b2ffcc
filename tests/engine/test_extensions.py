"""Extensions in real sandboxes: they arrive in layers, run beside the function and are told of its life."""

from __future__ import annotations

import base64
import json
import os
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from support import RUNTIME, Server, create, eventually, invoke, needs, zip_executables, zip_files
from support import deploy as deploy_zip

SOURCES = Path(__file__).parent.parent / "functions" / "extensions"
WATCHER, PROXY = (SOURCES / "watcher.py").read_text(), (SOURCES / "proxy.py").read_text()
# What an extension leaves in /tmp is there for the next generation, and for the function to hand out.
READER = """
import os, time
def handler(event, context):
    event = event or {}
    print('hello from', context.aws_request_id)
    if event.get('die'):
        os._exit(1)
    time.sleep(event.get('sleep', 0))
    path = '/tmp/%s.jsonl' % event.get('name', 'watcher')
    return open(path).read() if os.path.exists(path) else ''
"""


def tail(response: dict[str, Any]) -> str:
    return base64.b64decode(response["LogResult"]).decode()


def deploy(client: Any, name: str, wishes: dict[str, Any], *extensions: str, **settings: Any) -> None:
    """A function `name` beside `watcher` (or the `extensions`), which behaves as `wishes` say."""
    files = {f"extensions/{extension}": WATCHER for extension in extensions or ("watcher",)}
    layer = client.publish_layer_version(LayerName=name, Content={"ZipFile": zip_executables(files)})
    variables = {"WATCHER": json.dumps(wishes), "OWN": "seen"}
    defaults: dict[str, Any] = {
        "Timeout": 10,
        "Layers": [layer["LayerVersionArn"]],
        "Environment": {"Variables": variables},
    }
    create(client, name, READER, **(defaults | settings))


def noted(client: Any, function: str, **event: Any) -> list[tuple[str, Any]]:
    """What the watcher has written down so far, asked of the function itself."""
    answer, _response = invoke(client, function, event)
    return [tuple(json.loads(line)) for line in answer.splitlines()]


def printed(server: Server, name: str) -> str:
    """The function's log, the lines of its extensions among the others."""
    with urllib.request.urlopen(f"{server.endpoint}/_lambent/logs/{name}") as answer:
        return "".join(event["message"] for event in json.load(answer)["events"])


@pytest.mark.isolations("namespaces", "unprivileged", "crun", "runc", "gvisor")
def test_an_extension_registers_and_is_told_of_invocations(lambda_client: Any, name: str) -> None:
    deploy(lambda_client, name, {})
    _answer, response = invoke(lambda_client, name, LogType="Tail")
    request_id = response["ResponseMetadata"]["RequestId"]
    found = noted(lambda_client, name)
    registered = {
        "functionName": name,
        "functionVersion": "$LATEST",
        "handler": "function.handler",
        "accountId": "000000000000",
    }
    assert ("registered", [200, registered]) in found
    events = [content for kind, content in found if kind == "event"]
    assert events[0]["requestId"] == request_id
    assert events[0]["eventType"] == "INVOKE"
    assert events[0]["invokedFunctionArn"].endswith(f":function:{name}")
    assert re.search(r"Max Memory Used: \d+ MB\tInit Duration: [\d.]+ ms", tail(response))


def test_its_environment_and_fences_are_the_functions(lambda_client: Any, name: str) -> None:
    deploy(lambda_client, name, {})
    found = dict(noted(lambda_client, name))
    inside = found["environment"]
    variables = inside["variables"]
    assert variables["OWN"] == "seen"
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert variables["AWS_LAMBDA_RUNTIME_API"]
    hidden = {
        "_HANDLER",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "LAMBDA_TASK_ROOT",
        "AWS_XRAY_DAEMON_ADDRESS",
    }
    assert not hidden & variables.keys()
    assert inside["cwd"] == "/"
    status = dict(line.split(":\t", 1) for line in found["status"].splitlines() if ":\t" in line)
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "1"
    assert status["CapEff"] == status["CapBnd"] == "0000000000000000"


def test_telemetry_over_http_and_tcp(lambda_client: Any, name: str) -> None:
    buffering = {"maxItems": 1000, "maxBytes": 262_144, "timeoutMs": 25}
    wanted = {"schemaVersion": "2022-12-13", "types": ["platform", "function", "extension"], "buffering": buffering}
    for protocol in ({}, {"tcp": True}):
        function = f"{name}-{'tcp' if protocol else 'http'}"
        deploy(lambda_client, function, {"telemetry": wanted | protocol})
        _answer, response = invoke(lambda_client, function)
        request_id = response["ResponseMetadata"]["RequestId"]

        def seen() -> dict[str, Any]:
            found = noted(lambda_client, function)  # noqa: B023  called before the next turn
            return {event["type"]: event["record"] for kind, event in found if kind == "telemetry"}

        events = eventually(lambda: (found := seen()) and "platform.report" in found and found)
        assert events["platform.initStart"]["functionName"] == function
        assert events["platform.initReport"]["status"] == "success"
        assert events["platform.telemetrySubscription"]["types"] == ["platform", "function", "extension"]
        assert events["platform.extension"] == {"name": "watcher", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]}
        assert events["platform.runtimeDone"]["status"] == "success"
        assert events["platform.report"]["metrics"]["memorySizeMB"] == 128
        assert events["extension"] == "watcher registered\n"
        assert events["function"].startswith("hello from ")
        assert any(request_id in json.dumps(note) for note in noted(lambda_client, function))


def test_the_logs_api(lambda_client: Any, name: str) -> None:
    buffering = {"maxItems": 1000, "maxBytes": 262_144, "timeoutMs": 25}
    wanted = {"types": ["platform"], "buffering": buffering, "path": "/2020-08-15/logs"}
    deploy(lambda_client, name, {"telemetry": wanted, "work": 0.1})
    invoke(lambda_client, name)

    def kinds() -> set[str]:
        return {event["type"] for kind, event in noted(lambda_client, name) if kind == "telemetry"}

    expected = {"platform.start", "platform.end", "platform.report", "platform.extension", "platform.logsSubscription"}
    assert eventually(lambda: kinds() == expected), kinds()


def test_the_time_of_extensions_counts_and_the_answer_does_not_wait_for_it(lambda_client: Any, name: str) -> None:
    deploy(lambda_client, name, {"work": 0.3})
    _answer, response = invoke(lambda_client, name, LogType="Tail")
    duration = float(re.search(r"\tDuration: ([\d.]+) ms", tail(response))[1])
    assert duration >= 300
    _answer, first = invoke(lambda_client, name)
    _answer, other = invoke(lambda_client, name, LogType="Tail")
    assert "Init Duration" in tail(other), "the first environment is still at work, so another one took this"


def test_ten_extensions_and_no_more(lambda_client: Any, name: str) -> None:
    names = [f"watcher-{number}" for number in range(10)]
    deploy(lambda_client, f"{name}-10", {}, *names, MemorySize=512)
    for extension in names:
        found = dict(noted(lambda_client, f"{name}-10", name=extension))
        assert found["registered"][0] == 200
    deploy(lambda_client, f"{name}-11", {}, *names, "watcher-10", MemorySize=512)
    answer, response = invoke(lambda_client, f"{name}-11", LogType="Tail")
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorType"] == "Extension.LaunchError"
    assert "State: LaunchError\tEvents: []\tError Type: TooManyExtensions" in tail(response)


@pytest.mark.parametrize(
    ("wishes", "kind", "message"),
    [
        ({"crash": "before"}, "Extension.Crash", "exit status 3"),
        ({"crash": "init"}, "Extension.InitError", "exit status 4"),
        ({"crash": "invoke"}, "Extension.Crash", "exit status 5"),
    ],
)
def test_an_extension_that_ends_fails_the_function(
    lambda_client: Any, name: str, wishes: dict[str, Any], kind: str, message: str
) -> None:
    deploy(lambda_client, name, wishes)
    answer, response = invoke(lambda_client, name, {"sleep": 5}, LogType="Tail")
    request_id = response["ResponseMetadata"]["RequestId"]
    assert response["FunctionError"] == "Unhandled"
    assert answer == {"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {message}"}
    assert f"Status: error\tError Type: {kind}" in tail(response)
    assert tail(response).endswith(f"RequestId: {request_id} Error: {message}\n{kind}\n")


def test_an_extension_that_is_not_executable(lambda_client: Any, name: str) -> None:
    content = zip_files({"extensions/watcher": WATCHER})
    layer = lambda_client.publish_layer_version(LayerName=name, Content={"ZipFile": content})["LayerVersionArn"]
    create(lambda_client, name, READER, Layers=[layer])
    answer, response = invoke(lambda_client, name, LogType="Tail")
    assert answer["errorType"] == "Extension.LaunchError"
    assert answer["errorMessage"].endswith("Error: fork/exec /opt/extensions/watcher: permission denied")
    assert "EXTENSION\tName: watcher\tState: LaunchError\tEvents: []\tError Type: PermissionDenied" in tail(response)


def test_a_crash_and_a_timeout_are_announced(server: Server, lambda_client: Any, name: str) -> None:
    deploy(lambda_client, name, {}, Timeout=1)
    for event, reason in (({"die": True}, "failure"), ({"sleep": 3}, "timeout")):
        _answer, response = invoke(lambda_client, name, event)
        assert response["FunctionError"] == "Unhandled"
        line = f"watcher left because of {reason}\n"
        assert eventually(lambda: line in printed(server, name))  # noqa: B023  called before the next turn


def test_the_end_of_an_environment_is_announced(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--idle-timeout", "1")
    client = server.client()
    deploy(client, "f", {})
    invoke(client, "f")
    assert eventually(lambda: "watcher left because of spindown\n" in printed(server, "f"))
    deploy(client, "g", {"linger": 0.3})
    invoke(client, "g")
    assert server.stop() == 0, "a server that stops gives extensions their time"


WRAPPER = '#!/bin/sh\nexport AWS_LAMBDA_RUNTIME_API=127.0.0.1:9009\nexec "$@"\n'
HANDLERS = {
    RUNTIME: ("function.py", "def handler(event, context):\n    return {'got': event}\n"),
    "nodejs22.x": ("function.js", "exports.handler = async (event) => ({ got: event });\n"),
}


@pytest.mark.parametrize("runtime", HANDLERS)
def test_a_proxy_of_the_runtime_api(lambda_client: Any, name: str, runtime: str) -> None:
    needs(runtime)
    content = zip_executables({"extensions/proxy": PROXY, "wrapper": WRAPPER})
    layer = lambda_client.publish_layer_version(LayerName=name, Content={"ZipFile": content})["LayerVersionArn"]
    file, code = HANDLERS[runtime]
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}
    settings = {"Handler": "function.handler", "Layers": [layer], "MemorySize": 256, "Timeout": 10}
    deploy_zip(lambda_client, name, runtime, zip_files({file: code}), Environment={"Variables": variables}, **settings)
    for number in range(3):
        answer, _response = invoke(lambda_client, name, {"number": number})
        assert answer == {"got": {"number": number, "event": "seen"}, "answer": "seen"}


def test_extensions_without_isolation(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--isolation", "process")
    client = server.client()
    name = f"watcher-{os.getpid()}"
    try:
        layer = client.publish_layer_version(
            LayerName="l", Content={"ZipFile": zip_executables({f"extensions/{name}": WATCHER})}
        )
        create(client, "f", READER, Layers=[layer["LayerVersionArn"]])
        assert eventually(lambda: "event" in dict(noted(client, "f", name=name)))
        assert dict(noted(client, "f", name=name))["registered"][0] == 200
    finally:
        assert server.stop() == 0
        Path(f"/tmp/{name}.jsonl").unlink(missing_ok=True)
