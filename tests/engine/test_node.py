"""Node.js functions: both generations of AWS's own client, from a waiting process and from a fresh start."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import botocore.exceptions
import pytest

from support import deploy, invoke, needs, tail, zip_executables, zip_files

RUNTIMES = ("nodejs22.x", "nodejs24.x")  # AWS's client 3, and 4
EACH = pytest.mark.parametrize("runtime", RUNTIMES)

MODULE = """
import fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
let count = 0;
export const handler = async (event, context) => {
  switch (event?.do) {
    case "log":
      console.log("two\\nlines", { a: 1 });
      console.error("bad");
      console.debug("detail");
      process.stdout.write("raw\\n");
      return {};
    case "fail": { class Odd extends Error { name = "Odd" }; throw new Odd("went wrong") }
    case "value": throw "no error at all";
    case "sleep": await sleep(60000); return null;
    case "exit": process.exit(event.code);
    case "reject": Promise.reject(new Error("nobody cares")); await sleep(1000); return "not reached";
    case "throw": setTimeout(() => { throw new Error("out of the blue") }); await sleep(1000); return null;
    case "circle": { const a = {}; a.a = a; return a }
    case "large": return "x".repeat(event.size);
    case "env": return { ...process.env };
    case "context": return { ...context, remaining: context.getRemainingTimeInMillis() };
    case "process": return {
      argv: process.argv, cwd: process.cwd(), uid: process.getuid(), version: process.version,
      hidden: fs.readdirSync("/.lambent/python").length + fs.readdirSync("/.lambent/guest").length,
      descriptors: fs.readdirSync("/proc/self/fd").filter((fd) => Number(fd) < 10).length,
      zone: new Date(0).toString(), execArgv: process.execArgv,
    };
    case "count": return count++;
  }
  return event === undefined ? "undefined" : { got: event };
};
"""


@pytest.fixture(scope="module", params=RUNTIMES)
def function(request: pytest.FixtureRequest, server: Any) -> tuple[Any, str, str]:
    """(client, name, runtime) of a function that does what it is told."""
    runtime = request.param
    needs(runtime)
    client, name = server.client(), f"node-{runtime[6:8]}"
    variables = {"MINE": "value", "TZ": "Europe/Berlin"}
    deploy(
        client, name, runtime, zip_files({"index.mjs": MODULE}), Environment={"Variables": variables}, MemorySize=256
    )
    return client, name, runtime


def request_id(response: dict[str, Any]) -> str:
    return str(response["ResponseMetadata"]["RequestId"])


def test_events_and_answers(function: Any) -> None:
    client, name, _runtime = function
    for event in ({"a": [1, "ü€😀", None]}, [1], "text", 7, None, {}):
        answer, response = invoke(client, name, event)
        assert answer == {"got": event}
        assert "FunctionError" not in response
    size = 5 << 20
    answer, _response = invoke(client, name, {"do": "large", "size": size})
    assert answer == "x" * size
    answer, _response = invoke(client, name, {"text": "y" * size})
    assert len(answer["got"]["text"]) == size


def test_what_is_too_large(function: Any) -> None:
    client, name, _runtime = function
    answer, response = invoke(client, name, {"do": "large", "size": 7 << 20})
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorType"] == "Function.ResponseSizeTooLarge"
    assert invoke(client, name, "next")[0] == {"got": "next"}


def test_state_is_kept_between_invocations(function: Any) -> None:
    client, name, _runtime = function
    first, _response = invoke(client, name, {"do": "count"})
    second, _response = invoke(client, name, {"do": "count"})
    assert second == first + 1


def test_the_console_writes_awss_lines(function: Any) -> None:
    client, name, _runtime = function
    answer, response = invoke(client, name, {"do": "log"}, LogType="Tail")
    assert answer == {}
    head = rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z\t{request_id(response)}\t"
    lines = tail(response).split("\n")
    assert re.fullmatch(head + "INFO\ttwo", lines[1])
    assert lines[2] == "lines { a: 1 }"
    assert re.fullmatch(head + "ERROR\tbad", lines[3])
    assert re.fullmatch(head + "DEBUG\tdetail", lines[4])
    assert lines[5] == "raw"
    assert lines[6].startswith("END RequestId")


def test_errors(function: Any) -> None:
    client, name, _runtime = function
    answer, response = invoke(client, name, {"do": "fail"}, LogType="Tail")
    assert response["FunctionError"] == "Unhandled"
    assert (answer["errorType"], answer["errorMessage"]) == ("Odd", "went wrong")
    assert answer["trace"][0] == "Odd: went wrong"
    assert "/var/task/index.mjs:" in answer["trace"][1]
    assert f'{request_id(response)}\tERROR\tInvoke Error \t{{"errorType":"Odd"' in tail(response)
    answer, _response = invoke(client, name, {"do": "value"})
    assert answer == {"errorType": "string", "errorMessage": "no error at all", "trace": []}
    answer, _response = invoke(client, name, {"do": "circle"})
    assert answer["errorMessage"] == "Unable to stringify response body"


def test_what_nobody_catches(function: Any) -> None:
    client, name, runtime = function
    for what, message in (("reject", "nobody cares"), ("throw", "out of the blue")):
        answer, response = invoke(client, name, {"do": what}, LogType="Tail")
        assert response["FunctionError"] == "Unhandled"
        if runtime == "nodejs22.x":
            kind = "Runtime.UnhandledPromiseRejection" if what == "reject" else "Error"
            assert answer["errorType"] == kind
            assert answer["errorMessage"].endswith(message)
        else:  # AWS's client 4 leaves it to Node.js
            assert answer["errorType"] == "Runtime.ExitError"
            assert message in tail(response)
        assert invoke(client, name, "next")[0] == {"got": "next"}


def test_the_environment_is_awss(function: Any) -> None:
    client, name, runtime = function
    found, _response = invoke(client, name, {"do": "env"})
    assert re.fullmatch(
        r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=[01].*", found.pop("_X_AMZN_TRACE_ID")
    )
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_LOG_STREAM_NAME"):
        assert found.pop(variable)
    major = runtime[6:8]
    assert found == {
        "MINE": "value",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
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
        "NODE_PATH": f"/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "PWD": "/var/task",
        "SHLVL": "0",
        "TZ": found["TZ"],
        "_AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129",
        "_AWS_XRAY_DAEMON_PORT": "2000",
        "_HANDLER": "index.handler",
    }


def test_the_context_is_awss(function: Any) -> None:
    client, name, runtime = function
    context = json.dumps({"custom": {"k": "v"}})
    response = client.invoke(
        FunctionName=name,
        Payload=b'{"do": "context"}',
        ClientContext=base64.b64encode(context.encode()).decode(),
    )
    answer = json.loads(response["Payload"].read())
    assert answer["functionName"] == name
    assert answer["functionVersion"] == "$LATEST"
    assert answer["memoryLimitInMB"] == "256"
    assert answer["logGroupName"] == f"/aws/lambda/{name}"
    assert answer["awsRequestId"] == request_id(response)
    assert answer["invokedFunctionArn"].endswith(f":function:{name}")
    assert answer["clientContext"] == {"custom": {"k": "v"}}
    assert 1000 < answer["remaining"] <= 3000
    if runtime == "nodejs22.x":
        assert answer["callbackWaitsForEmptyEventLoop"] is True


def test_the_process_is_fenced_and_looks_like_awss(function: Any) -> None:
    client, name, runtime = function
    found, _response = invoke(client, name, {"do": "process"})
    assert found["argv"] == ["/var/lang/bin/node", "/var/runtime/index.mjs"]
    assert found["cwd"] == "/var/task"
    assert found["uid"] > 0
    assert found["version"].startswith(f"v{runtime[6:8]}.")
    assert found["hidden"] == 0


@EACH
def test_forms_of_handlers(lambda_client: Any, name: str, runtime: str) -> None:
    needs(runtime)
    package = zip_files(
        {
            "plain.js": "exports.handler = async (event) => `plain ${event}`;\nexports.deep = { er: async () => 'deeper' };",
            "modern.mjs": "export const handler = async (event) => `modern ${event}`;",
            "old.cjs": "exports.handler = async (event) => `old ${event}`;",
            "src/app.js": "const { word } = require('./word');\nexports.run = async () => word;",
            "src/word.js": "exports.word = 'nested';",
            "typed/package.json": '{"type": "module"}',
            "typed/app.js": "export async function go() { return import.meta.url; }",
        }
    )
    cases = {
        "plain.handler": "plain 1",
        "plain.deep.er": "deeper",
        "modern.handler": "modern 1",
        "old.handler": "old 1",
        "src/app.run": "nested",
        "typed/app.go": "file:///var/task/typed/app.js",
    }
    deploy(lambda_client, name, runtime, package)
    for handler, wanted in cases.items():
        lambda_client.update_function_configuration(FunctionName=name, Handler=handler)
        lambda_client.get_waiter("function_updated_v2").wait(FunctionName=name)
        assert invoke(lambda_client, name, 1)[0] == wanted


@EACH
def test_what_cannot_be_loaded(lambda_client: Any, name: str, runtime: str) -> None:
    needs(runtime)
    package = zip_files(
        {
            "index.js": "exports.other = 1;",
            "syntax.js": "exports.handler = async ( => 1;",
            "needy.js": "require('not-there');",
            "broken.js": "throw new Error('at load');",
        }
    )
    deploy(lambda_client, name, runtime, package)
    cases = {
        "index.handler": ("Runtime.HandlerNotFound", "index.handler is undefined or not exported"),
        "index.other": ("Runtime.HandlerNotFound", "index.other is not a function"),
        "absent.handler": ("Runtime.ImportModuleError", "Error: Cannot find module 'absent'"),
        "needy.handler": ("Runtime.ImportModuleError", "Error: Cannot find module 'not-there'"),
        "syntax.handler": ("Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected token '=>'"),
        "broken.handler": ("Error", "at load"),
        "nodot": ("Runtime.MalformedHandlerName", "Bad handler"),
    }
    for handler, (kind, message) in cases.items():
        lambda_client.update_function_configuration(FunctionName=name, Handler=handler)
        lambda_client.get_waiter("function_updated_v2").wait(FunctionName=name)
        answer, response = invoke(lambda_client, name)
        assert response["FunctionError"] == "Unhandled"
        assert answer["errorType"] == kind
        assert answer["errorMessage"].startswith(message)


def test_callbacks(lambda_client: Any, name: str) -> None:
    needs("nodejs22.x")
    code = """
    exports.handler = (event, context, callback) => {
      if (event === "error") return callback(new Error("called back"));
      if (event === "done") return context.done(null, "old");
      if (event === "hurry") { context.callbackWaitsForEmptyEventLoop = false; setTimeout(() => {}, 60000) }
      callback(null, event);
    };
    """
    deploy(lambda_client, name, "nodejs22.x", zip_files({"index.js": code}))
    assert invoke(lambda_client, name, "hello")[0] == "hello"
    assert invoke(lambda_client, name, "hurry")[0] == "hurry"
    assert invoke(lambda_client, name, "done")[0] == "old"
    answer, _response = invoke(lambda_client, name, "error")
    assert (answer["errorType"], answer["errorMessage"]) == ("Error", "called back")


def test_callbacks_are_gone_in_newer_runtimes(lambda_client: Any, name: str) -> None:
    needs("nodejs24.x")
    package = zip_files({"index.js": "exports.handler = (event, context, callback) => callback(null, event);"})
    deploy(lambda_client, name, "nodejs24.x", package)
    answer, _response = invoke(lambda_client, name)
    assert answer["errorType"] == "Runtime.CallbackHandlerDeprecated"


def test_the_event_loop_is_emptied_before_a_callback_answers(lambda_client: Any, name: str) -> None:
    needs("nodejs22.x")
    code = "let late = 0;\nexports.handler = (event, context, callback) => { setTimeout(() => { late++ }, 50); callback(null, late); };"
    deploy(lambda_client, name, "nodejs22.x", zip_files({"index.js": code}))
    assert [invoke(lambda_client, name)[0] for _ in range(3)] == [0, 1, 2]


@EACH
def test_json_logs_and_levels(lambda_client: Any, name: str, runtime: str) -> None:
    needs(runtime)
    code = "exports.handler = async () => { console.debug('no'); console.info('yes', { a: 1 }); console.warn({ b: 2 }); console.error('bad', new TypeError('t')); };"
    logging = {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "WARN"}
    deploy(lambda_client, name, runtime, zip_files({"index.js": code}), LoggingConfig=logging)
    _answer, response = invoke(lambda_client, name, LogType="Tail")
    lines = [json.loads(line) for line in tail(response).splitlines()]
    for line in lines:
        assert line.pop("requestId") == request_id(response)
        assert line.pop("timestamp")
    assert lines[0] == {"level": "INFO", "message": "yes { a: 1 }"}
    assert lines[1] == {"level": "WARN", "message": {"b": 2}}
    assert lines[2]["errorType"] == "TypeError"
    assert len(lines) == 3


@EACH
def test_fresh_starts(lambda_client: Any, name: str, runtime: str) -> None:
    """Options and wrapper scripts come before the process, so that none that waits can take such a function."""
    needs(runtime)
    wrapper = '#!/bin/sh\nWRAPPED=$(basename $1) exec "$@"\n'
    code = "exports.handler = async () => [process.execArgv, process.env.WRAPPED, process.stdout.isTTY ?? false, globalThis.early];"
    files = {"index.js": code, "wrap": wrapper, "early.js": "globalThis.early = 'yes';"}
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrap", "NODE_OPTIONS": "--require /var/task/early.js"}
    deploy(lambda_client, name, runtime, zip_executables(files), Environment={"Variables": variables})
    (arguments, wrapped, terminal, early), _response = invoke(lambda_client, name)
    assert "--max-old-space-size=115" in arguments
    assert (wrapped, terminal, early) == ("node", False, "yes")


@EACH
def test_layers_and_packages_are_found(lambda_client: Any, name: str, runtime: str) -> None:
    needs(runtime)
    major = runtime[6:8]
    layer = {
        f"nodejs/node{major}/node_modules/both/index.js": "module.exports = 'special';",
        "nodejs/node_modules/both/index.js": "module.exports = 'general';",
        "nodejs/node_modules/plain/index.js": "module.exports = 'plain';",
    }
    arn = lambda_client.publish_layer_version(LayerName=name, Content={"ZipFile": zip_files(layer)})["LayerVersionArn"]
    files = {
        "index.js": "exports.handler = async () => ['both', 'plain', 'own'].map((name) => require(name));",
        "node_modules/own/index.js": "module.exports = 'own';",
    }
    deploy(lambda_client, name, runtime, zip_files(files), Layers=[arn])
    assert invoke(lambda_client, name)[0] == ["special", "plain", "own"]


@EACH
def test_a_function_that_uses_too_much_memory(lambda_client: Any, name: str, runtime: str) -> None:
    needs(runtime)
    code = "exports.handler = async () => { const all = []; for (;;) all.push(Buffer.alloc(8 << 20, 1)); };"
    deploy(lambda_client, name, runtime, zip_files({"index.js": code}), Timeout=20)
    answer, _response = invoke(lambda_client, name)
    assert answer["errorType"] in ("Runtime.ExitError", "Runtime.OutOfMemory")


def test_a_runtime_that_is_not_here_fails_the_function(lambda_client: Any, name: str) -> None:
    try:
        needs("nodejs18.x")
    except pytest.skip.Exception:
        with pytest.raises(botocore.exceptions.WaiterError):
            deploy(lambda_client, name, "nodejs18.x", zip_files({"index.js": ""}))
        found = lambda_client.get_function_configuration(FunctionName=name)
        assert found["State"] == "Failed"
        assert "Node.js 18" in found["StateReason"]
        assert "lambent runtimes install --runtimes-dir" in found["StateReason"]
    else:
        pytest.skip("nodejs18.x is here")
