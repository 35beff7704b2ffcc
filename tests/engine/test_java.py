"""Java functions on AWS's own client, with the class archive that an installation makes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import programs
from support import RUNTIMES, deploy, invoke, needs, tail, zip_files

NAMES = ("java11", "java17", "java21", "java25")


def settings(**changes: Any) -> dict[str, Any]:
    return {"Handler": "Told", "MemorySize": 512, "Timeout": 15} | changes


@pytest.fixture(scope="module")
def package() -> bytes:
    classes = programs.java()
    return zip_files({name: content for name, content in classes.items() if not name.startswith("layered/")})


@pytest.fixture(scope="module", params=NAMES)
def function(request: pytest.FixtureRequest, server: Any, package: bytes) -> tuple[Any, str, str]:
    """(client, name, runtime) of a function that does what it is told."""
    needs(request.param)
    client, name = server.client(), f"told-{request.param}"
    deploy(client, name, request.param, package, **settings(Environment={"Variables": {"MINE": "value"}}))
    return client, name, request.param


def request_id(response: dict[str, Any]) -> str:
    return str(response["ResponseMetadata"]["RequestId"])


def test_events_answers_and_state(function: Any) -> None:
    client, name, runtime = function
    for event in ({"a": [1, "ü€😀", None]}, {"text": "x" * 1_000_000}):
        assert invoke(client, name, event)[0] == {"got": event}
    first, second = (invoke(client, name, {"do": "count"})[0] for _ in range(2))
    assert second == first + 1
    assert invoke(client, name, {"do": "version"})[0].startswith(runtime.removeprefix("java"))


def test_logs(function: Any) -> None:
    client, name, runtime = function
    _answer, response = invoke(client, name, {"do": "log"}, LogType="Tail")
    end = "" if runtime == "java11" else "\n"  # its logger ends no line: there are no framed log lines on it, as on AWS
    assert f"\ntwo\nlines{end}printed\nto standard error\n" in tail(response)


def test_errors(function: Any) -> None:
    client, name, _runtime = function
    answer, response = invoke(client, name, {"do": "fail"})
    assert response["FunctionError"] == "Unhandled"
    trace = answer.pop("stackTrace")
    assert answer == {"errorMessage": "Error: some_error_msg", "errorType": "java.lang.RuntimeException"}  # as recorded
    assert trace[0] == "Told.handleRequest(Told.java:20)"


def test_the_context_is_awss(function: Any) -> None:
    client, name, _runtime = function
    answer, response = invoke(client, name, {"do": "context"})
    assert 1000 < answer.pop("remaining") <= 15000
    assert answer.pop("arn").endswith(f":function:{name}")
    assert answer == {
        "id": request_id(response),
        "name": name,
        "version": "$LATEST",
        "group": f"/aws/lambda/{name}",
        "memory": 512,
        "directory": "/var/task",
    }


def test_the_environment_is_awss(function: Any) -> None:
    client, name, runtime = function
    found, _response = invoke(client, name, {"do": "env"})
    keys = (found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"])
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_LOG_STREAM_NAME"):
        assert found.pop(variable)
    assert found.pop("AWS_ENDPOINT_URL").startswith("http://")
    if runtime == "java11":
        assert (found.pop("AWS_ACCESS_KEY"), found.pop("AWS_SECRET_KEY")) == keys
    else:
        assert found.pop("_LAMBDA_TELEMETRY_LOG_FD") == "62"
    assert found == {
        "MINE": "value",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
        "AWS_REGION": "us-east-1",
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
        "_HANDLER": "Told",
    }


def test_the_class_archive_is_used(function: Any) -> None:
    client, name, runtime = function
    assert (RUNTIMES / f"{runtime}-archive" / "classes.jsa").exists()
    flags, _response = invoke(client, name, {"do": "flags"})
    assert "-XX:SharedArchiveFile=/var/runtime/lib/classes.jsa" in flags
    assert "-XX:MaxHeapSize=445644k" in flags


def test_forms_of_handlers(lambda_client: Any, name: str, package: bytes) -> None:
    needs("java21")
    deploy(lambda_client, name, "java21", package, **settings())
    cases = {
        "Told::other": (["a", "b"], "a b"),
        "Told::add": ({"x": 1, "y": 2}, 3),
        "Told$Stream": ({"a": 1}, {"stream": {"a": 1}}),
        "Told$Stream::handleRequest": ("x", {"stream": "x"}),
    }
    for handler, (event, wanted) in cases.items():
        lambda_client.update_function_configuration(FunctionName=name, Handler=handler)
        lambda_client.get_waiter("function_updated_v2").wait(FunctionName=name)
        assert invoke(lambda_client, name, event)[0] == wanted


def test_what_cannot_be_loaded(lambda_client: Any, name: str, package: bytes) -> None:
    needs("java21")
    deploy(lambda_client, name, "java21", package, **settings())
    cases = {
        "Absent": ("java.lang.ClassNotFoundException", "Class not found: Absent"),
        "Told::absent": ("errorMessage", "No public method named absent"),  # AWS's client names no type
        "Told$Broken": ("java.lang.IllegalStateException", "not today"),
    }
    for handler, (kind, message) in cases.items():
        lambda_client.update_function_configuration(FunctionName=name, Handler=handler)
        lambda_client.get_waiter("function_updated_v2").wait(FunctionName=name)
        answer, response = invoke(lambda_client, name)
        assert response["FunctionError"] == "Unhandled"
        assert message in json.dumps(answer), (handler, answer)
        assert kind in json.dumps(answer)


def test_jars_of_the_package_and_of_layers(lambda_client: Any, name: str) -> None:
    needs("java21")
    classes = programs.java()
    jar = zip_files({name: content for name, content in classes.items() if name.startswith("layered/")})
    own = {name: content for name, content in classes.items() if not name.startswith("layered/")}
    deploy(lambda_client, name, "java21", zip_files(own | {"lib/greeter.jar": jar}), **settings())
    assert invoke(lambda_client, name, {"do": "layer"})[0] == "hello from a jar"
    content = {"ZipFile": zip_files({"java/lib/greeter.jar": jar})}
    arn = lambda_client.publish_layer_version(LayerName=name, Content=content)["LayerVersionArn"]
    deploy(lambda_client, f"{name}-l", "java21", zip_files(own), **settings(Layers=[arn]))
    assert invoke(lambda_client, f"{name}-l", {"do": "layer"})[0] == "hello from a jar"


def test_options_and_json_logs(lambda_client: Any, name: str, package: bytes) -> None:
    needs("java17")
    variables = {"JAVA_TOOL_OPTIONS": "-Dmine=yes -Xss512k"}
    logging = {"LogFormat": "JSON", "SystemLogLevel": "WARN"}
    changes = settings(Environment={"Variables": variables}, LoggingConfig=logging)
    deploy(lambda_client, name, "java17", package, **changes)
    assert "-Dmine=yes" in invoke(lambda_client, name, {"do": "flags"})[0]
    _answer, response = invoke(lambda_client, name, {"do": "log"}, LogType="Tail")
    line = json.loads(tail(response).split("\n")[0])
    assert line["message"] == "two\nlines"
    assert line["AWSRequestId"] == request_id(response)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", line["timestamp"])


def test_a_function_that_uses_too_much_memory(lambda_client: Any, name: str, package: bytes) -> None:
    needs("java21")
    deploy(lambda_client, name, "java21", package, **settings(MemorySize=128))
    answer, response = invoke(lambda_client, name, {"do": "memory"})
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorType"] in ("java.lang.OutOfMemoryError", "Runtime.OutOfMemory", "Runtime.ExitError")
