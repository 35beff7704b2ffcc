"""OS-only runtimes: programs in Go and Rust on AWS's own libraries, a shell script, and what cannot be executed."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import programs
from support import ROLE, deploy, invoke, tail, zip_executables, zip_files

EACH = pytest.mark.parametrize("runtime", ["provided.al2", "provided.al2023"])
SCRIPT = """#!/bin/sh
set -eu
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
. "$LAMBDA_TASK_ROOT/$(echo "$_HANDLER" | cut -d. -f1).sh"
while true; do
  headers=$(mktemp)
  event=$(curl -sS -LD "$headers" "$api/invocation/next")
  id=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$headers" | tr -d '[:space:]' | cut -d: -f2)
  answer=$($(echo "$_HANDLER" | cut -d. -f2) "$event")
  curl -sS "$api/invocation/$id/response" -d "$answer" >&2
done
"""


@pytest.fixture(scope="module")
def go(server: Any) -> tuple[Any, str]:
    """(client, name) of a Go function that does what it is told."""
    client, name = server.client(), "provided-go"
    package = zip_executables({"bootstrap": programs.go()})
    deploy(client, name, "provided.al2023", package, Handler="anything", Environment={"Variables": {"MINE": "value"}})
    return client, name


def test_a_go_function(go: Any) -> None:
    client, name = go
    assert invoke(client, name, {"text": "ü"})[0] == {"got": "ü"}
    answer, response = invoke(client, name, {"do": "context"})
    assert answer.pop("id") == response["ResponseMetadata"]["RequestId"]
    assert 1000 < answer.pop("remaining") <= 3000
    assert answer.pop("arn").endswith(f":function:{name}")
    assert answer == {"arguments": ["/var/task/bootstrap"], "directory": "/var/task", "name": name}
    _answer, response = invoke(client, name, {"do": "print"}, LogType="Tail")
    assert tail(response).split("\n")[1:3] == ["to standard output", "to standard error"]


def test_errors_of_a_go_function(go: Any) -> None:
    client, name = go
    answer, response = invoke(client, name, {"do": "fail"})
    assert response["FunctionError"] == "Unhandled"
    assert answer == {"errorMessage": "Error: some_error_msg", "errorType": "errorString"}  # as recorded
    answer, response = invoke(client, name, {"do": "panic"})
    assert (answer["errorMessage"], answer["errorType"]) == ("went wrong", "string")
    assert invoke(client, name, {"text": "next"})[0] == {"got": "next"}


def test_the_environment_of_a_program_is_awss(go: Any) -> None:
    client, name = go
    found, _response = invoke(client, name, {"do": "environment"})
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_LOG_STREAM_NAME"):
        assert found.pop(variable)
    assert re.match(r"Root=1-", found.pop("_X_AMZN_TRACE_ID"))
    assert found == {
        "MINE": "value",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",  # not AWS's: the way to the AWS API here
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "LAMBDA_TASK_ROOT": "/var/task",
        "LANG": "en_US.UTF-8",
        "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "TZ": ":UTC",
        "_AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129",
        "_AWS_XRAY_DAEMON_PORT": "2000",
        "_HANDLER": "anything",
    }


def test_a_rust_function(lambda_client: Any, name: str) -> None:
    deploy(lambda_client, name, "provided.al2023", zip_executables({"bootstrap": programs.rust()}))
    answer, response = invoke(lambda_client, name, {"a": 1}, LogType="Tail")
    assert answer == {"got": {"a": 1}, "id": response["ResponseMetadata"]["RequestId"]}
    assert "from rust\n" in tail(response)
    answer, response = invoke(lambda_client, name, {"do": "fail"})
    assert response["FunctionError"] == "Unhandled"
    assert answer == {
        "errorMessage": 'Error: "some_error_msg"',
        "errorType": "&alloc::boxed::Box<dyn core::error::Error + core::marker::Send + core::marker::Sync>",
    }


@EACH
def test_a_shell_script(lambda_client: Any, name: str, runtime: str) -> None:
    files = {"bootstrap": SCRIPT, "function.sh": 'greet() { echo "{\\"hello\\": $1}"; }\n'}
    deploy(lambda_client, name, runtime, zip_executables(files), Handler="function.greet")
    for event in ("world", [1, 2], {"a": "ü"}):
        assert invoke(lambda_client, name, event)[0] == {"hello": event}


def test_a_bootstrap_may_come_from_a_layer(lambda_client: Any, name: str) -> None:
    layer = zip_executables({"bootstrap": SCRIPT})
    arn = lambda_client.publish_layer_version(LayerName=name, Content={"ZipFile": layer})["LayerVersionArn"]
    package = zip_files({"function.sh": 'echo_it() { echo "$1"; }\n'})
    deploy(lambda_client, name, "provided.al2023", package, Handler="function.echo_it", Layers=[arn])
    assert invoke(lambda_client, name, {"a": 1})[0] == {"a": 1}


@pytest.mark.parametrize(
    ("files", "executable", "message"),
    [
        ({"other": "x"}, True, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        ({"bootstrap": SCRIPT}, False, "fork/exec /var/task/bootstrap: permission denied"),
        ({"bootstrap": "no program\n"}, True, "fork/exec /var/task/bootstrap: exec format error"),
        ({"bootstrap": "#!/no/such/shell\n"}, True, "fork/exec /var/task/bootstrap: no such file or directory"),
    ],
)
def test_what_cannot_be_executed(
    lambda_client: Any, name: str, files: dict[str, str], executable: bool, message: str
) -> None:
    package = zip_executables(files) if executable else zip_files(files)
    deploy(lambda_client, name, "provided.al2023", package)
    for _attempt in range(2):
        answer, response = invoke(lambda_client, name)
        request_id = response["ResponseMetadata"]["RequestId"]
        assert response["FunctionError"] == "Unhandled"
        assert answer == {
            "errorType": "Runtime.InvalidEntrypoint",
            "errorMessage": f"RequestId: {request_id} Error: {message}",
        }


def test_a_program_that_ends_before_it_asks_for_an_event(lambda_client: Any, name: str) -> None:
    deploy(lambda_client, name, "provided.al2023", zip_executables({"bootstrap": "#!/bin/sh\necho bye\nexit 4\n"}))
    answer, response = invoke(lambda_client, name, LogType="Tail")
    assert answer["errorMessage"].endswith("Error: Runtime exited with error: exit status 4")
    assert "bye\n" in tail(response)


def test_no_file_of_the_server_is_in_sight_and_none_of_its_descriptors(lambda_client: Any, name: str) -> None:
    code = """list() {
      files=$(find /.lambent /.trees -type f 2>/dev/null | wc -l)
      descriptors=$(ls /proc/$$/fd | tr '\\n' ' ')
      echo "{\\"files\\": $files, \\"descriptors\\": \\"$descriptors\\", \\"children\\": \\"$(cat /proc/1/environ 2>/dev/null | wc -c)\\"}"
    }
    """
    deploy(
        lambda_client,
        name,
        "provided.al2",
        zip_executables({"bootstrap": SCRIPT, "function.sh": code}),
        Handler="function.list",
    )
    answer, _response = invoke(lambda_client, name)
    assert answer["files"] == 0
    assert answer["children"] == "0"
    assert set(answer["descriptors"].split()) <= {"0", "1", "2", "3", "10"}  # 3 and 10 are the shell's own


def test_the_handler_is_the_functions_own_affair(lambda_client: Any, name: str) -> None:
    answer = lambda_client.create_function(
        FunctionName=name,
        Runtime="provided.al2023",
        Role=ROLE,
        Handler="x",
        Code={"ZipFile": zip_files({"bootstrap": SCRIPT})},
    )
    assert json.dumps(answer["Handler"]) == '"x"'
