"""The tools people have, unmodified, against a running server: boto3, the AWS CLI, curl with SigV4."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from lambent.engine.runtimes import Missing, Runtimes
from support import ROLE, RUNTIME, RUNTIMES, Server, clean_environment, create, invoke, zip_files

ECHO = "def handler(event, context):\n    return {'echo': event}\n"


class Polls:
    """Counts the calls of an operation that a client makes."""

    def __init__(self, client: Any, operation: str) -> None:
        self.count = 0
        client.meta.events.register(f"before-call.lambda.{operation}", self._called)

    def _called(self, **_: Any) -> None:
        self.count += 1


def test_waiters_succeed_at_their_first_poll(server: Server, name: str) -> None:
    code = {"ZipFile": zip_files({"function.py": ECHO})}
    for waiter, operation, act in (
        (
            "function_active_v2",
            "GetFunction",
            lambda client: client.create_function(
                FunctionName=name, Runtime=RUNTIME, Role=ROLE, Handler="function.handler", Code=code
            ),
        ),
        ("function_exists", "GetFunction", lambda client: None),
        (
            "function_updated_v2",
            "GetFunction",
            lambda client: client.update_function_configuration(FunctionName=name, Timeout=9),
        ),
        (
            "function_updated_v2",
            "GetFunction",
            lambda client: client.update_function_code(FunctionName=name, ZipFile=zip_files({"function.py": "x = 1"})),
        ),
        ("function_active", "GetFunctionConfiguration", lambda client: None),
    ):
        client = server.client()
        act(client)
        polls = Polls(client, operation)
        client.get_waiter(waiter).wait(FunctionName=name)
        assert polls.count == 1, waiter


def test_the_code_location_serves_the_zip(server: Server, lambda_client: Any, name: str) -> None:
    archive = zip_files({"function.py": ECHO, "data/ü.txt": "x" * 1000})
    created = lambda_client.create_function(
        FunctionName=name, Runtime=RUNTIME, Role=ROLE, Handler="function.handler", Code={"ZipFile": archive}
    )
    location = lambda_client.get_function(FunctionName=name)["Code"]["Location"]
    assert location.startswith(server.endpoint)
    with urllib.request.urlopen(location) as response:
        downloaded = response.read()
    assert downloaded == archive
    assert base64.b64encode(hashlib.sha256(downloaded).digest()).decode() == created["CodeSha256"]
    assert created["CodeSize"] == len(archive)
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(location[:-4] + "0000")
    assert refusal.value.code == 403


def aws(server: Server, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "aws"), "--endpoint-url", server.endpoint, *arguments]
    environment = clean_environment() | {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_PAGER": "",
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, **options)


def test_the_aws_cli(server: Server, name: str, tmp_path: Path) -> None:
    archive = tmp_path / "function.zip"
    archive.write_bytes(zip_files({"function.py": ECHO}))
    settings = [
        "--runtime",
        RUNTIME,
        "--role",
        ROLE,
        "--handler",
        "function.handler",
        "--zip-file",
        f"fileb://{archive}",
    ]
    created = aws(server, "lambda", "create-function", "--function-name", name, *settings)
    assert created.returncode == 0, created.stderr
    assert json.loads(created.stdout)["State"] == "Pending"
    assert aws(server, "lambda", "wait", "function-active-v2", "--function-name", name).returncode == 0
    output = tmp_path / "answer.json"
    payload = ["--cli-binary-format", "raw-in-base64-out", "--payload", '{"a": 1}']
    answered = aws(server, "lambda", "invoke", "--function-name", name, *payload[2:], str(output))
    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout) == {"StatusCode": 200, "ExecutedVersion": "$LATEST"}
    assert json.loads(output.read_text()) == {"echo": {"a": 1}}
    listed = aws(server, "lambda", "list-functions", "--query", "Functions[].FunctionName", "--output", "text")
    assert name in listed.stdout.split()
    assert aws(server, "lambda", "delete-function", "--function-name", name).returncode == 0
    missing = aws(server, "lambda", "get-function", "--function-name", name)
    assert missing.returncode != 0
    assert f"Function not found: arn:aws:lambda:us-east-1:000000000000:function:{name}" in missing.stderr
    unbuilt = aws(server, "lambda", "list-capacity-providers")
    assert "Lambent does not implement lambda.ListCapacityProviders yet." in unbuilt.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_with_sigv4(server: Server, lambda_client: Any, name: str) -> None:
    create(lambda_client, name, ECHO)
    url = f"{server.endpoint}/2015-03-31/functions/{name}/invocations"
    signed = ["--aws-sigv4", "aws:amz:us-east-1:lambda", "--user", "test:test"]
    result = subprocess.run(
        ["curl", "-sS", "-i", *signed, "-d", '{"q": 7}', url], capture_output=True, text=True, timeout=30
    )
    head, _, body = result.stdout.replace("\r\n", "\n").partition("\n\n")
    assert head.startswith("HTTP/1.1 200 "), result
    assert "X-Amz-Executed-Version: $LATEST" in head
    assert json.loads(body) == {"echo": {"q": 7}}


def test_a_chunked_and_compressed_body(server: Server, lambda_client: Any, name: str) -> None:
    import gzip

    create(lambda_client, name, ECHO)
    body = gzip.compress(b'{"zipped": true}')
    request = urllib.request.Request(
        f"{server.endpoint}/2015-03-31/functions/{name}/invocations",
        data=iter([body[:10], body[10:]]),
        headers={"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"},
        method="POST",
    )
    with urllib.request.urlopen(request) as response:
        assert json.loads(response.read()) == {"echo": {"zipped": True}}


def refuse(client: Any, name: str, **changes: Any) -> tuple[str, str, int]:
    """(code, message, status) of a CreateFunction with one thing wrong."""
    settings: dict[str, Any] = {
        "FunctionName": name,
        "Runtime": RUNTIME,
        "Role": ROLE,
        "Handler": "function.handler",
        "Code": {"ZipFile": zip_files({"function.py": ECHO})},
    }
    settings |= changes
    with pytest.raises(botocore.exceptions.ClientError) as refusal:
        client.create_function(**{key: value for key, value in settings.items() if value is not None})
    error = refusal.value.response
    return error["Error"]["Code"], error["Error"]["Message"], error["ResponseMetadata"]["HTTPStatusCode"]


PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
)
FAILED = "failed to satisfy constraint:"


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"MemorySize": 64}, "ValidationException", f"1 validation error detected: Value '64' at 'memorySize' {FAILED} Member must have value greater than or equal to 128"),
        ({"MemorySize": 20000}, "ValidationException", f"1 validation error detected: Value '20000' at 'memorySize' {FAILED} Member must have value less than or equal to 10240"),
        ({"Timeout": 901}, "ValidationException", f"1 validation error detected: Value '901' at 'timeout' {FAILED} Member must have value less than or equal to 900"),
        ({"Runtime": "python99"}, "InvalidParameterValueException", f"Value python99 at 'runtime' {FAILED} Member must satisfy enum value set: ["),
        ({"Runtime": "python3.7"}, "InvalidParameterValueException", "The runtime parameter of python3.7 is no longer supported for creating or updating AWS Lambda functions. We recommend you use a supported runtime while creating or updating functions."),
        ({"FunctionName": "bad name!"}, "ValidationException", f"1 validation error detected: Value 'bad name!' at 'functionName' {FAILED} Member must satisfy regular expression pattern: {PATTERN}"),
        ({"Handler": None}, "InvalidParameterValueException", "Runtime and Handler are mandatory parameters for functions created with deployment packages."),
        ({"Role": "r1"}, "ValidationException", f"1 validation error detected: Value 'r1' at 'role' {FAILED} Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\\d{{12}}:role/?[a-zA-Z_0-9+=,.@\\-_/]+"),
        ({"Code": {"ZipFile": b"this is no zip"}}, "InvalidParameterValueException", "Could not unzip uploaded file. Please check your file, then try to upload again."),
        ({"Code": {"ZipFile": zip_files({})}}, "InvalidParameterValueException", "Uploaded file must be a non-empty zip"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "InvalidParameterValueException", "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: AWS_REGION"),
        ({"Environment": {"Variables": {"LARGE_VAR": "x" * 5000}}}, "InvalidParameterValueException", 'Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. String measured: {"LARGE_VAR":"xxx'),
        ({"Architectures": ["mips"]}, "ValidationException", f"1 validation error detected: Value '[mips]' at 'architectures' {FAILED} Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"),
        ({"EphemeralStorage": {"Size": 20}}, "ValidationException", f"1 validation error detected: Value '20' at 'ephemeralStorage.size' {FAILED} Member must have value greater than or equal to 512"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_awss_words(
    server: Server, name: str, changes: dict[str, Any], code: str, message: str
) -> None:
    client = server.client(parameter_validation=False)
    answered = refuse(client, name, **changes)
    assert answered[0] == code
    assert answered[1].startswith(message) if message.endswith(("[", "xxx")) else answered[1] == message
    assert answered[2] == 400
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=name)


def test_an_existing_name_is_refused(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, ECHO)
    assert refuse(lambda_client, name) == ("ResourceConflictException", f"Function already exist: {name}", 409)


def test_a_request_that_is_too_large_is_refused_before_it_is_read(lambda_client: Any, name: str) -> None:
    code, message, status = refuse(lambda_client, name, Code={"ZipFile": os.urandom(55 * 1024 * 1024)})
    assert (code, status) == ("RequestEntityTooLargeException", 413)
    assert message == "Request must be smaller than 70167211 bytes for the CreateFunction operation"


def test_a_zip_that_is_too_large_is_refused(lambda_client: Any, name: str) -> None:
    code, message, status = refuse(lambda_client, name, Code={"ZipFile": os.urandom(52_428_801)})
    assert (code, status) == ("RequestEntityTooLargeException", 413)
    assert message == "Zipped size must be smaller than 52428800 bytes"


def test_a_zip_bomb_is_refused_and_leaves_nothing(server: Server, lambda_client: Any, name: str) -> None:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("zeros", "w", force_zip64=True) as file,
    ):
        for _ in range(300):
            file.write(bytes(1 << 20))
    before = sorted(path.name for path in (server.data_dir / "trees").iterdir())
    code, message, _status = refuse(lambda_client, name, Code={"ZipFile": buffer.getvalue()})
    assert (code, message) == ("InvalidParameterValueException", "Unzipped size must be smaller than 262144000 bytes")
    assert sorted(path.name for path in (server.data_dir / "trees").iterdir()) == before


def test_a_runtime_that_is_not_here_fails_the_state_with_the_reason(lambda_client: Any, name: str) -> None:
    if not isinstance(Runtimes(RUNTIMES).find("dotnet8"), Missing):
        pytest.skip("this machine has .NET")
    code = {"ZipFile": zip_files({"index.dll": ""})}
    lambda_client.create_function(FunctionName=name, Runtime="dotnet8", Role=ROLE, Handler="A::B::C", Code=code)
    end = time.monotonic() + 5
    while (found := lambda_client.get_function_configuration(FunctionName=name))["State"] == "Pending":
        assert time.monotonic() < end
    assert found["State"] == "Failed"
    assert found["StateReasonCode"] == "InvalidRuntime"
    assert ".NET 8" in found["StateReason"]
    with pytest.raises(lambda_client.exceptions.ResourceConflictException) as refusal:
        lambda_client.invoke(FunctionName=name)
    assert refusal.value.response["Error"]["Message"].endswith(
        "The function is currently in the following state: Failed"
    )


def test_functions_and_their_code_survive_a_restart(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    create(server.client(), "kept", ECHO, Environment={"Variables": {"KEY": "value"}})
    before = server.client().get_function_configuration(FunctionName="kept")
    assert server.stop() == 0
    server = Server(tmp_path / "data")
    after = server.client().get_function_configuration(FunctionName="kept")
    assert {**after, "ResponseMetadata": None} == {**before, "ResponseMetadata": None}
    assert invoke(server.client(), "kept", 1)[0] == {"echo": 1}
    assert server.stop() == 0


def test_a_second_server_on_the_same_data_directory_is_refused(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    command = [sys.executable, "-m", "lambent", "serve", "--port", "0", "--data-dir", str(tmp_path / "data")]
    second = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=30)
    assert second.returncode == 1
    assert f"the data directory {tmp_path / 'data'} is in use by another Lambent server" in second.stderr
    assert str(server.process.pid) in second.stderr
    assert "Traceback" not in second.stderr
    assert server.stop() == 0


def test_a_taken_port_is_named(server: Server, tmp_path: Path) -> None:
    port = server.endpoint.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "lambent", "serve", "--port", port, "--data-dir", str(tmp_path / "other")]
    second = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=30)
    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in second.stderr
    assert "Traceback" not in second.stderr


def test_health(server: Server) -> None:
    with urllib.request.urlopen(f"{server.endpoint}/_lambent/health") as response:
        assert response.status == 200
        assert json.loads(response.read())["status"] == "ok"
