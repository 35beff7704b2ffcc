"""What AWS recorded of invocations, played on a real server: payloads, errors, timeouts, logs, what a function finds.

A case that was recorded on a runtime of this machine is played on it. One whose runtime does not matter is played on the
nearest there is. The answers of the control plane are compared by `tests/contract/test_recorded.py`.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

import programs
from lambent.engine.runtimes import Missing, Runtimes
from recorded.script import Case, Script, cases
from support import RUNTIME, RUNTIMES, Server, invoke, zip_executables, zip_files

ACCOUNT = "111111111111"
CASES = cases("invoke")
PLAYS: dict[str, Callable[[Play], None]] = {}
ADDED = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"
}  # what Lambent has on purpose and AWS does not: docs/networking.md
DIFFERENT = {  # name of a variable: what Lambent has where the recording has another address
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
    "AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000",
    "_AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129",
}
_numbers = itertools.count(1)


class Stage:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.region = f"eu-test-{next(_numbers)}"  # a place of its own for each case

    def client(self, account: str = ACCOUNT, region: str = "") -> Any:
        return self.server.client(account=account, region=region or self.region)

    def ready(self, function: str) -> None:
        self.client().get_waiter("function_active_v2").wait(FunctionName=function)
        self.client().get_waiter("function_updated_v2").wait(FunctionName=function)


class Play(Script):
    """A script whose functions run."""

    stage: Stage

    def deploy(self, code: str, runtime: str = RUNTIME, **settings: Any) -> None:
        """A function of one file: `function.py`, or `index.mjs` for Node.js."""
        file = "index.mjs" if runtime.startswith("nodejs") else "function.py"
        handler = file.partition(".")[0] + ".handler"
        self.created(
            None,
            Runtime=runtime,
            **{"Handler": handler, "Environment": None, "Code": {"ZipFile": zip_files({file: code})}} | settings,
        )

    def invoke(self, name: str | None, payload: Any = None, **members: Any) -> Any:
        body = {} if payload is None else {"Payload": json.dumps(payload).encode()}
        return self.call(name, "Invoke", FunctionName=self.name(), **body, **members)

    def compare(self, name: str, answer: Any) -> None:
        """The recorder has kept a payload that is no object as the text that it was."""
        payload = answer.get("Payload")
        if "Payload" in answer and not isinstance(payload, dict) and payload != "":
            answer = answer | {"Payload": json.dumps(payload)}
        super().compare(name, answer)

    def log(self) -> list[str]:
        query = urllib.parse.urlencode({"region": self.region, "account": self.account})
        with urllib.request.urlopen(f"{self.stage.server.endpoint}/_lambent/logs/{self.name()}?{query}") as response:
            return [event["message"] for event in json.loads(response.read())["events"]]


def plays(*names: str) -> Callable[[Callable[[Play], None]], Callable[[Play], None]]:
    def keep(function: Callable[[Play], None]) -> Callable[[Play], None]:
        PLAYS.update(dict.fromkeys(names, function))
        return function

    return keep


def present(*wanted: str) -> str:
    """The first of these runtimes that this machine has; skips where it has none."""
    runtimes = Runtimes(RUNTIMES)
    found = [name for name in wanted if not isinstance(runtimes.find(name), Missing)]
    if not found:
        pytest.skip(f"this machine has none of {', '.join(wanted)}")
    return found[0]


def node() -> str:
    return present("nodejs24.x", "nodejs22.x", "nodejs20.x", "nodejs18.x")


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_as_recorded(case: Case, server: Server) -> None:
    stage = Stage(server)
    controls = [name for name, response in case.responses.items() if not of_an_invocation(name, response)]
    script = Play(stage, case, ACCOUNT, stage.region, but=tuple(controls))
    PLAYS[case.name.partition("[")[0] if case.name not in PLAYS else case.name](script)
    script.done()


def of_an_invocation(name: str, response: Any) -> bool:
    return "CreateFunctionResponse" not in response and not (
        isinstance(response, dict) and ("CodeSha256" in response or "Code" in response)
    )


# Payloads


@plays("TestLambdaFeatures::test_invocation_type_request_response")
def request_response(script: Play) -> None:
    echo(script)
    script.invoke("invoke-result", {}, InvocationType="RequestResponse")


@plays("TestLambdaFeatures::test_invocation_type_dry_run")
def dry_run(script: Play) -> None:
    echo(script)
    script.invoke("invoke-result", {}, InvocationType="DryRun")


def echo(script: Play) -> None:
    if "nodejs" in script.case.variant:
        script.deploy("export const handler = async (event) => event;\n", node())
    else:
        script.deploy("def handler(event, context):\n    return event\n")


@plays("TestLambdaFeatures::test_invocation_type_no_return_payload")
def nothing_returned(script: Play) -> None:
    if "nodejs" in script.case.variant:
        script.deploy("export const handler = async (event) => { console.log(event) };\n", node())
    else:
        script.deploy("def handler(event, context):\n    print(event)\n")
    script.invoke("invoke-result", {})


@plays("TestNodeJSRuntimes::test_invoke_nodejs_es6_lambda")
def modules(script: Play) -> None:
    code = (
        "export const handler = async (event) => ({statusCode: 200,\n"
        "  body: JSON.stringify('response from localstack lambda: ' + JSON.stringify(event))});\n"
    )
    script.deploy(code, node())
    script.invoke("invocation-result", {"event_type": "test_lambda"})


@plays("TestLambdaBehavior::test_lambda_cache_local")
def cache(script: Play) -> None:
    if script.case.variant == "nodejs":
        script.deploy("let counter = 0;\nexport const handler = async () => ({counter: counter++});\n", node())
    else:
        code = "counter = -1\ndef handler(event, context):\n    global counter\n    counter += 1\n    return {'counter': counter}\n"
        script.deploy(code)
    script.invoke("first_invoke_result")
    script.invoke("second_invoke_result")


@plays("TestLambdaErrors::test_lambda_invoke_payload_encoding_error")
def encoding(script: Play) -> None:
    script.deploy("def handler(event, context):\n    return event\n")
    payload = b"\x99\xeb,j\x07\xa1zYh"
    script.call("invoke_function_invalid_payload_message", "Invoke", FunctionName=script.name(), Payload=payload)


@plays("TestLambdaFeatures::test_invoke_exceptions")
def exceptions(script: Play) -> None:
    script.call("invoke_function_doesnotexist", "Invoke", FunctionName="doesnotexist")


# Errors


@plays("TestLambdaErrors::test_lambda_handler_error")
def handler_error(script: Play) -> None:
    code = 'def handler(event, context):\n    raise Exception("Handler fails")\n'
    script.deploy(
        code, Handler="lambda_handler_error.handler", Code={"ZipFile": zip_files({"lambda_handler_error.py": code})}
    )
    script.invoke("invocation_error")


@plays("TestLambdaErrors::test_lambda_runtime_error")
def runtime_error(script: Play) -> None:
    code = 'raise Exception("Runtime startup fails")\ndef handler(event, context):\n    pass\n'
    script.deploy(
        code, Handler="lambda_runtime_error.handler", Code={"ZipFile": zip_files({"lambda_runtime_error.py": code})}
    )
    answer = script.invoke(None)["Payload"]
    recorded = script.case.responses["invocation_error"]["Payload"]
    script.left.discard("invocation_error")
    version = RUNTIME.removeprefix("python")
    # The standard library's own lines are other ones in every version.
    expected = [line.replace("python3.13", f"python{version}") for line in recorded["stackTrace"]]
    assert [re.sub(r"line \d+, in (?!<module>)", "line N, in ", line) for line in answer["stackTrace"]] == [
        re.sub(r"line \d+, in (?!<module>)", "line N, in ", line) for line in expected
    ]
    assert answer | {"stackTrace": []} == recorded | {"stackTrace": []}


@plays("TestLambdaErrors::test_lambda_handler_exit")
def handler_exit(script: Play) -> None:
    script.deploy("import sys\ndef handler(event, context):\n    sys.exit(0)\n")
    script.invoke("invocation_error")


@plays("TestLambdaErrors::test_lambda_runtime_exit")
def runtime_exit(script: Play) -> None:
    script.deploy("import sys\nsys.exit(0)\ndef handler(event, context):\n    pass\n")
    script.invoke("invocation_error")


@plays("TestLambdaRuntimesCommon::test_uncaught_exception_invoke")
def uncaught(script: Play) -> None:
    runtime = present(script.case.variant)
    if runtime.startswith("python"):
        code = "def handler(event, context):\n    raise Exception('Failed: ' + event['error_msg'])\n"
        script.deploy(code, runtime, MemorySize=1024)
    elif runtime.startswith("ruby"):
        code = "def handler(event:, context:)\n  raise 'Error: ' + event['error_msg']\nend\n"
        package = zip_files({"function.rb": code})
        script.deploy("", runtime, MemorySize=1024, Handler="function.handler", Code={"ZipFile": package})
    elif runtime.startswith("java"):
        java(script, "echo.Handler", runtime)
    else:
        program(script, programs.rust(), runtime)
    script.invoke("error_result", {"error_msg": "some_error_msg"})


@plays("TestGoProvidedRuntimes::test_uncaught_exception_invoke")
def uncaught_in_go(script: Play) -> None:
    program(script, programs.go(), present(script.case.variant))
    script.invoke("error_result", {"error_msg": "some_error_msg"})


# Java's handlers


def java(script: Play, handler: str, runtime: str = "java21", classes: dict[str, bytes] | None = None) -> None:
    """A function of `tests/functions/java`."""
    package = zip_files(programs.java() if classes is None else classes)
    settings = {"MemorySize": 1024, "Timeout": 15, "Code": {"ZipFile": package}}
    script.deploy("", present(runtime), Handler=handler, **settings)


def program(script: Play, bootstrap: bytes, runtime: str) -> None:
    package = zip_executables({"bootstrap": bootstrap})
    script.deploy("", runtime, Handler="function.handler", MemorySize=1024, Code={"ZipFile": package})


@plays("TestJavaRuntimes::test_java_custom_handler_method_specification")
def methods(script: Play) -> None:
    _interface, colons, method = script.case.variant.rpartition("-")[0].partition("::")
    java(script, f"echo.Handler$Both{colons}{method}")
    script.invoke("invoke-result", {})


@plays("TestJavaRuntimes::test_serializable_input_object")
def objects(script: Play) -> None:
    java(script, "echo.Handler$Objects", script.case.variant)
    script.invoke("invoke-result", {"bucket": "test_bucket", "key": "test_key"})


@plays("TestJavaRuntimes::test_stream_handler")
def streams(script: Play) -> None:
    java(script, "echo.Handler$Streams", script.case.variant)
    script.invoke("invoke_result", {})


@plays("TestJavaRuntimes::test_java_runtime_with_lib")
def jars(script: Play) -> None:
    classes = programs.java()
    own = {name: content for name, content in classes.items() if not name.startswith("layered/")}
    with_lib = own | {"lib/greeter.jar": zip_files({k: v for k, v in classes.items() if k not in own})}
    java(script, "echo.Handler$Needy", classes=classes)
    script.invoke("invoke-result-jar-with-lib", {"echo": "echo"})
    for name in ("invoke-result-zip-with-lib", "invoke-result-zip-with-lib-gradle"):
        script.stage.client().update_function_code(FunctionName=script.name(), ZipFile=zip_files(with_lib))
        script.ready()
        script.invoke(name, {"echo": "echo"})


# Wrapper scripts


@plays("TestLambdaRuntimesCommon::test_runtime_wrapper_invoke")
def wrapper(script: Play) -> None:
    """The recording holds no answer: what AWS's documentation promises is asserted."""
    runtime = present(script.case.variant)
    files: dict[str, str | bytes] = {
        "handler.py": "import os\ndef handler(event, context):\n    return {'environment': dict(os.environ)}\n",
        "index.js": "exports.handler = async () => ({environment: process.env});\n",
        "function.rb": "def handler(event:, context:)\n  { environment: ENV.to_h }\nend\n",
        "environment_wrapper": '#!/bin/bash\nexport WRAPPED="$#"\nexec "$@"\n',
    }
    if runtime.startswith("java"):
        files |= programs.java()
    handler = script.case.responses["create_function_result"]["Handler"]
    variables = script.case.responses["create_function_result"]["Environment"]
    settings = {"MemorySize": 1024, "Timeout": 15, "Environment": variables, "Handler": handler}
    script.deploy("", runtime, Code={"ZipFile": zip_executables(files)}, **settings)
    found = script.invoke(None, {})["Payload"]["environment"]
    assert int(found["WRAPPED"]) >= 1
    assert found["AWS_LAMBDA_EXEC_WRAPPER"] == "/var/task/environment_wrapper"


# Timeouts


@plays("TestLambdaBehavior::test_lambda_invoke_with_timeout")
def with_timeout(script: Play) -> None:
    script.deploy("import time\ndef handler(event, context):\n    time.sleep(event['wait'])\n", Timeout=1)
    script.invoke("invoke-result", {"wait": 3})


@plays("TestLambdaBehavior::test_lambda_invoke_no_timeout")
def no_timeout(script: Play) -> None:
    script.deploy("import time\ndef handler(event, context):\n    time.sleep(event['wait'])\n", Timeout=2)
    script.invoke("invoke-result", {"wait": 0.5})


@plays("TestLambdaBehavior::test_lambda_invoke_timed_out_environment_reuse")
def reuse(script: Play) -> None:
    code = (
        "import time\nnumber = 0\ndef handler(event, context):\n"
        "    global number\n"
        "    if 'write' in event:\n        open('/tmp/file', 'w').write(event['write'])\n"
        "    elif 'read' in event:\n        return {'content': open('/tmp/file').read()}\n"
        "    elif 'set' in event:\n        number = event['set']\n"
        "    elif 'get' in event:\n        return {'number': number}\n"
        "    elif 'sleep' in event:\n        time.sleep(event['sleep'])\n"
    )
    script.deploy(code, Timeout=1)
    script.invoke("invoke-result-file-write", {"write": "some-content"})
    script.invoke("invoke-result-file-read", {"read": True})
    script.invoke("invoke-result-set-number", {"set": 42})
    script.invoke("invoke-result-read-number", {"get": True})
    answer = script.invoke(None, {"sleep": 5})
    script.left.discard("invoke-result-timed-out")  # of 2024; the newer case has AWS's newer form
    assert answer["Payload"]["errorType"] == "Sandbox.Timedout"
    script.invoke("invoke-result-file-read-after-timeout", {"read": True})
    script.invoke("invoke-result-read-number-after-timeout", {"get": True})


# Logs


@plays("TestLambdaFeatures::test_invocation_with_logs")
def logs(script: Play) -> None:
    if "nodejs" in script.case.variant:
        code = "export const handler = async (event) => { console.log(JSON.stringify(event)); return event; };\n"
        script.deploy(code, node(), Timeout=3)
    else:
        script.deploy(
            "import json\ndef handler(event, context):\n    print(json.dumps(event))\n    return event\n", Timeout=3
        )
    answer = script.invoke(None, {}, LogType="Tail")
    tail = base64.b64decode(answer["LogResult"]).decode()
    script.compare("invoke", answer | {"LogResult": "log-result"})
    script.compare("logs", {"logs": measured(tail.splitlines(keepends=True))})


@plays("TestCloudwatchLogs::test_multi_line_prints")
def multi_line(script: Play) -> None:
    code = 'def handler(event, context):\n    print("multi\\nline\\nstring")\n    print("another\\rline")\n'
    script.deploy(code, Timeout=3)
    script.invoke(None, {})
    recorded = [event["message"] for event in script.case.responses["log-events"]]
    script.left.discard("log-events")
    expected = [line.replace("3.13", RUNTIME.removeprefix("python")) for line in recorded]
    assert [re.sub(r"\.v[\w.]+\tRuntime Version ARN: .*", ".v", line) for line in measured(script.log())] == [
        re.sub(r"\.v<version>\tRuntime Version ARN: .*", ".v", line) for line in expected
    ]


@plays("TestRequestIdHandling::test_request_id_invoke")
def request_id(script: Play) -> None:
    code = (
        "import logging\nlogging.getLogger().setLevel(logging.INFO)\n"
        "def handler(event, context):\n    logging.info('RequestId log message')\n    return context.aws_request_id\n"
    )
    script.deploy(code, Timeout=3)
    answer = script.invoke(None, {}, LogType="Tail")
    tail = base64.b64decode(answer.pop("LogResult")).decode()
    script.compare("invoke_result", answer)
    number = answer["Payload"]
    lines = [line.rstrip().replace("<request-id>", number) for line in measured(tail.splitlines())]
    script.compare("log_entries", {"logs": lines})


def measured(lines: list[str]) -> list[str]:
    """The lines with what was measured, and what is new each time, as the recorder has it."""
    text = "\x00".join(lines)
    for pattern, place in (
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<request-id>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "date"),
        (r"(?<=Duration: )[\d.]+(?= ms)", "<duration>"),
        (r"(?<=Max Memory Used: )\d+(?= MB)", "<memory>"),
    ):
        text = re.sub(pattern, place, text)
    return text.split("\x00")


# What a function finds


@plays("TestLambdaRuntimesCommon::test_introspection_invoke")
def introspection(script: Play) -> None:
    runtime = present(script.case.variant)
    event = {}
    if runtime.startswith("java"):
        package = zip_files(programs.java())
    elif runtime.startswith("provided"):
        package, event = zip_executables({"bootstrap": programs.go()}), {"do": "introspection"}
    elif runtime.startswith("nodejs"):
        code = (
            "export const handler = async (event, c) => ({ctx: {aws_request_id: c.awsRequestId,\n"
            "  function_name: c.functionName, function_version: c.functionVersion,\n"
            "  invoked_function_arn: c.invokedFunctionArn, log_group_name: c.logGroupName,\n"
            "  log_stream_name: c.logStreamName, remaining_time_in_millis: c.getRemainingTimeInMillis()},\n"
            "  environment: {...process.env}, packages: []});\n"
        )
        package = zip_files({"index.mjs": code})
    else:
        code = (
            "import os\nNAMES = ('aws_request_id', 'function_name', 'function_version', 'invoked_function_arn',\n"
            "         'log_group_name', 'log_stream_name', 'memory_limit_in_mb')\n"
            "def handler(event, context):\n"
            "    ctx = {name: getattr(context, name) for name in NAMES}\n"
            "    ctx['remaining_time_in_millis'] = context.get_remaining_time_in_millis()\n"
            "    return {'ctx': ctx, 'environment': dict(os.environ), 'packages': []}\n"
        )
        package = zip_files({"handler.py": code})
    handler = script.case.responses["create_function_result"]["Handler"]
    settings = {"Environment": {"Variables": {"TEST_KEY": "TEST_VAL"}}, "MemorySize": 1024}
    script.deploy("", runtime, Handler=handler, Code={"ZipFile": package}, **settings)
    for name, qualifier in (
        ("invocation_result_payload", {}),
        ("invocation_result_payload_qualified", {"Qualifier": "$LATEST"}),
    ):
        found = script.invoke(None, event, **qualifier)["Payload"]
        # Each of the two has its own: what it left is not told apart in the recording.
        script.matcher.bound = {key: value for key, value in script.matcher.bound.items() if not forgotten(key)}
        script.compare(name, found | {"environment": at_recorded_places(found["environment"], script, name)})


def forgotten(placeholder: str) -> bool:
    return placeholder.startswith(("<remaining", "<x-amzn", "<uuid", "<log-stream"))


def at_recorded_places(environment: dict[str, str], script: Play, response: str) -> dict[str, str]:
    recorded = script.case.responses[response]["environment"]
    found = dict(environment)
    for name, ours in DIFFERENT.items():
        assert found[name] == ours
        found[name] = recorded[name]
    if script.case.variant == "java11":  # AWS's older client adds it to the environment: docs/runtimes.md
        assert "_X_AMZN_TRACE_ID" not in found
        found["_X_AMZN_TRACE_ID"] = "told as a property"
    return as_on_aws(found)


def as_on_aws(environment: dict[str, str]) -> dict[str, str]:
    for name, ours in ADDED.items():
        assert environment[name] == ours
    return {name: value for name, value in environment.items() if name not in ADDED}


@plays("TestLambdaBehavior::test_lambda_init_environment")
def init_environment(script: Play) -> None:
    code = "import os\nFOUND = dict(os.environ)\ndef handler(event, context):\n    return {'environment': FOUND}\n"
    script.deploy(code, Handler="handler.handler", Code={"ZipFile": zip_files({"handler.py": code})})
    found = as_on_aws(script.invoke(None, {})["Payload"]["environment"])
    recorded = dict(script.case.responses["lambda-init-inspection"]["Payload"]["environment"])
    script.left.discard("lambda-init-inspection")
    if RUNTIME < "python3.12":
        del recorded["LC_CTYPE"]  # newer versions set it themselves
    assert found.keys() | {"_X_AMZN_TRACE_ID"} == recorded.keys()
    literal = {name: value for name, value in recorded.items() if "<" not in value and name != "AWS_EXECUTION_ENV"}
    assert {name: found[name] for name in literal} == literal
    assert found["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{RUNTIME}"


@plays("TestLambdaBehavior::test_runtime_introspection_x86")
def directories(script: Play) -> None:
    code = """
import os, platform, pwd, stat
def handler(event, context):
    paths = {}
    for path in ('/var/task', '/opt', '/tmp', '/lambda-entrypoint.sh'):
        found, name = os.stat(path), path.replace('/', '_')
        paths |= {name + '_mode': stat.filemode(found.st_mode), name + '_uid': found.st_uid, name + '_gid': found.st_gid,
                  name + '_owner': pwd.getpwuid(found.st_uid).pw_name}
    user = pwd.getpwuid(os.getuid()).pw_name
    return {'event': event, 'paths': paths, 'platform_machine': platform.machine(), 'platform_system': platform.system(), 'pwd': os.getcwd(),
            'user_login_name': user, 'user_whoami': user}
"""
    script.deploy(code)
    script.invoke("invoke_runtime_x86_introspection", {})


@plays("TestLambdaBehavior::test_runtime_ulimits")
def ulimits(script: Play) -> None:
    code = "import resource\ndef handler(event, context):\n    return {name: resource.getrlimit(getattr(resource, name)) for name in event}\n"
    script.deploy(code)
    recorded = script.case.responses["invoke_runtime_ulimits"]["Payload"]
    found = script.invoke(None, list(recorded))["Payload"]
    script.left.discard("invoke_runtime_ulimits")
    # No core dumps: the kernel may hand those to a program of the host. Of processes, what AWS documents.
    ours = {"RLIMIT_CORE": [0, 0], "RLIMIT_NPROC": [1024, 1024]}
    assert found == recorded | ours


@plays("TestLambdaFeatures::test_lambda_environment")
def environment(script: Play) -> None:
    code = "import os\ndef handler(event, context):\n    return {'Hello': os.environ['Hello']}\n"
    script.deploy(code, Environment={"Variables": {"Hello": "World"}})
    script.invoke("invocation-result", {})


# Versions


@plays("TestLambdaFeatures::test_invocation_with_qualifier")
def qualifier(script: Play) -> None:
    code = (
        "import logging\nlogging.getLogger().setLevel(logging.INFO)\n"
        "NAMES = ('aws_request_id', 'client_context', 'function_name', 'function_version', 'invoked_function_arn',\n"
        "         'log_group_name', 'log_stream_name', 'memory_limit_in_mb')\n"
        "def handler(event, context):\n"
        "    print('Lambda log message - print function')\n"
        "    logging.info('Lambda log message - logging module')\n"
        "    return {'context': {name: getattr(context, name) for name in NAMES}, 'event': event}\n"
    )
    script.deploy(code, Timeout=3)
    script.call(None, "PublishVersion", FunctionName=script.name())
    script.ready()
    payload = {"foo": "bar with 'quotes\""}
    answer = script.invoke("invocation-response", payload, Qualifier="1", LogType="Tail")
    lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
    script.left.discard("log_result")
    recorded = script.case.responses["log_result"]["log_result"]
    number = answer["Payload"]["context"]["aws_request_id"]
    assert [re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "date", line) for line in lines[:-1]] == [
        line.replace("<uuid:2>", number) for line in recorded
    ]


@plays("TestLambdaVersions::test_lambda_versions_with_code_changes")
def code_changes(script: Play) -> None:
    def code(number: int) -> bytes:
        text = (
            "def handler(event, context):\n"
            f"    return {{'invoked_arn': context.invoked_function_arn, 'version_from_ctx': context.function_version,"
            f" 'version_id': 'version{number}'}}\n"
        )
        return zip_files({"handler.py": text})

    names = [name for name in script.left if name.startswith("invocation_result")]
    script.deploy("", Handler="handler.handler", Code={"ZipFile": code(1)}, Timeout=3)
    client = script.stage.client()
    client.publish_version(FunctionName=script.name())
    client.update_function_code(FunctionName=script.name(), ZipFile=code(2))
    script.ready()
    client.publish_version(FunctionName=script.name())
    for name in sorted(names):
        recorded = script.case.responses[name]
        version = recorded["Payload"]["version_from_ctx"]
        if recorded["Payload"]["version_id"] in ("version1", "version2"):
            qualified = (
                {} if recorded["Payload"]["invoked_arn"].endswith("<function-name:1>") else {"Qualifier": version}
            )
            script.invoke(name, {}, **qualified)
        else:
            script.left.discard(name)
    assert invoke(client, script.name(), {}, Qualifier="2")[0]["version_id"] == "version2"
    script.left = {name for name in script.left if name in names}
