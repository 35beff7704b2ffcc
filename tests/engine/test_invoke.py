"""Real functions in real sandboxes, invoked by boto3."""

from __future__ import annotations

import base64
import concurrent.futures
import json
import re
import time
from typing import Any

import botocore.exceptions
import pytest

from support import Server, create, invoke, zip_files

EVERYWHERE = pytest.mark.isolations()
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def tail(response: dict[str, Any]) -> str:
    return base64.b64decode(response["LogResult"]).decode()


@EVERYWHERE
def test_an_event_goes_in_and_an_answer_comes_out(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, "def handler(event, context):\n    return {'got': event}\n")
    answer, response = invoke(lambda_client, name, {"a": [1, "ü", None]})
    assert answer == {"got": {"a": [1, "ü", None]}}
    assert response["StatusCode"] == 200
    assert response["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in response
    assert "LogResult" not in response
    assert response["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/json"


def test_no_payload_is_an_empty_event(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, "def handler(event, context):\n    return event\n")
    assert json.loads(lambda_client.invoke(FunctionName=name)["Payload"].read()) == {}


def test_nothing_returned_is_null(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, "def handler(event, context):\n    pass\n")
    assert lambda_client.invoke(FunctionName=name, Payload=b"{}")["Payload"].read() == b"null"


@EVERYWHERE
def test_the_tail_holds_the_platforms_lines(lambda_client: Any, name: str) -> None:
    code = "import logging\ndef handler(event, context):\n    print('multi\\nline')\n    logging.getLogger().warning('careful')\n"
    create(lambda_client, name, code)
    _answer, response = invoke(lambda_client, name, LogType="Tail")
    request_id = response["ResponseMetadata"]["RequestId"]
    lines = tail(response).split("\n")
    assert lines[0] == f"START RequestId: {request_id} Version: $LATEST"
    assert lines[1:3] == ["multi", "line"]
    assert re.fullmatch(rf"\[WARNING\]\t\d{{4}}-\d\d-\d\dT[\d:.]+Z\t{request_id}\tcareful", lines[3])
    assert lines[4] == f"END RequestId: {request_id}"
    assert re.fullmatch(
        rf"REPORT RequestId: {request_id}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB"
        r"\tMax Memory Used: \d+ MB\tInit Duration: [\d.]+ ms\t",
        lines[5],
    )
    _answer, warm = invoke(lambda_client, name, LogType="Tail")
    assert "Init Duration" not in tail(warm)


def test_the_tail_is_at_most_4_kib(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, "def handler(event, context):\n    print('x' * 10000)\n")
    _answer, response = invoke(lambda_client, name, LogType="Tail")
    assert len(base64.b64decode(response["LogResult"])) == 4096


def test_durations_are_measured(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, "import time\ndef handler(event, context):\n    time.sleep(0.2)\n")
    _answer, response = invoke(lambda_client, name, LogType="Tail")
    duration = float(re.search(r"\tDuration: ([\d.]+) ms", tail(response))[1])
    billed = int(re.search(r"Billed Duration: (\d+) ms", tail(response))[1])
    assert duration >= 200
    assert duration <= billed < duration + 1


def test_peak_memory_is_measured(lambda_client: Any, name: str) -> None:
    code = "def handler(event, context):\n    if event:\n        block = bytearray(b'x' * (event << 20))\n    return None\n"
    create(lambda_client, name, code, MemorySize=512)
    used = []
    for megabytes in (0, 200, 0):
        _answer, response = invoke(lambda_client, name, megabytes, LogType="Tail")
        used.append(int(re.search(r"Max Memory Used: (\d+) MB", tail(response))[1]))
    assert used[0] < 100
    assert used[0] + 190 <= used[1] <= used[0] + 450
    assert used[2] == used[1], "the peak of an environment does not go down"


def test_an_exception_is_the_functions_own_failure(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, 'def handler(event, context):\n    raise Exception("Handler fails")\n')
    answer, response = invoke(lambda_client, name, LogType="Tail")
    assert response["StatusCode"] == 200
    assert response["FunctionError"] == "Unhandled"
    assert answer == {
        "errorMessage": "Handler fails",
        "errorType": "Exception",
        "requestId": response["ResponseMetadata"]["RequestId"],
        "stackTrace": ['  File "/var/task/function.py", line 2, in handler\n    raise Exception("Handler fails")\n'],
    }
    assert "[ERROR] Exception: Handler fails" in tail(response)
    assert '\u00a0\u00a0File "/var/task/function.py", line 2, in handler' in tail(response)


def test_a_missing_module_is_an_init_error(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, "import not_there\ndef handler(event, context):\n    pass\n")
    answer, response = invoke(lambda_client, name, LogType="Tail")
    assert response["FunctionError"] == "Unhandled"
    assert answer == {
        "errorMessage": "Unable to import module 'function': No module named 'not_there'",
        "errorType": "Runtime.ImportModuleError",
        "requestId": "",
        "stackTrace": [],
    }
    assert "Status: error\tError Type: Runtime.ImportModuleError" in tail(response)


def test_an_exception_while_loading_is_an_init_error(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, 'raise Exception("Runtime startup fails")\n')
    answer, response = invoke(lambda_client, name)
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorType"] == "Exception"
    assert answer["errorMessage"] == "Runtime startup fails"
    assert answer["requestId"] == ""
    assert answer["stackTrace"][0].startswith('  File "/var/lang/lib/python3.11/importlib/__init__.py", line ')
    assert answer["stackTrace"][-1] == (
        '  File "/var/task/function.py", line 1, in <module>\n    raise Exception("Runtime startup fails")\n'
    )


@pytest.mark.parametrize(
    ("handler", "kind", "message"),
    [
        ("function.missing", "Runtime.HandlerNotFound", "Handler 'missing' missing on module 'function'"),
        (
            "other.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'other': No module named 'other'",
        ),
        (
            "handler",
            "Runtime.MalformedHandlerName",
            "Bad handler 'handler': not enough values to unpack (expected 2, got 1)",
        ),
    ],
)
def test_a_wrong_handler_is_named(lambda_client: Any, name: str, handler: str, kind: str, message: str) -> None:
    create(lambda_client, name, "def handler(event, context):\n    pass\n", Handler=handler)
    answer, response = invoke(lambda_client, name)
    assert (answer["errorType"], answer["errorMessage"]) == (kind, message)
    assert response["FunctionError"] == "Unhandled"


@EVERYWHERE
def test_a_syntax_error_is_named(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, "def handler(event, context:\n")
    answer, _response = invoke(lambda_client, name)
    assert answer["errorType"] == "Runtime.UserCodeSyntaxError"
    assert answer["errorMessage"].startswith("Syntax error in module 'function':")


@EVERYWHERE
def test_a_timeout_keeps_tmp_and_starts_a_fresh_runtime(lambda_client: Any, name: str) -> None:
    code = (
        "import time\nnumber = 0\n"
        "def handler(event, context):\n"
        "    global number\n"
        "    if 'set' in event:\n"
        "        number = event['set']\n"
        "        open('/tmp/kept', 'w').write('some-content')\n"
        "    if 'sleep' in event:\n"
        "        time.sleep(event['sleep'])\n"
        "    return {'number': number, 'content': open('/tmp/kept').read()}\n"
    )
    create(lambda_client, name, code, Timeout=1)
    assert invoke(lambda_client, name, {"set": 42})[0]["number"] == 42
    answer, response = invoke(lambda_client, name, {"sleep": 30}, LogType="Tail")
    request_id = response["ResponseMetadata"]["RequestId"]
    assert response["FunctionError"] == "Unhandled"
    assert answer == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 1.00 seconds",
    }
    log = tail(response)
    assert re.search(rf"\d{{4}}-\d\d-\d\dT[\d:.]+Z {request_id} Task timed out after 1.00 seconds\n", log)
    assert "\tStatus: timeout\t\n" in log
    assert invoke(lambda_client, name, {})[0] == {"number": 0, "content": "some-content"}


@EVERYWHERE
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.exit(0)", "Runtime exited without providing a reason"),
        ("sys.exit(3)", "Runtime exited with error: exit status 3"),
        ("os._exit(7)", "Runtime exited with error: exit status 7"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "Runtime exited with error: signal: killed"),
        ("ctypes.string_at(0)", "Runtime exited with error: signal: segmentation fault"),
    ],
)
def test_a_crash_is_an_exit_error(lambda_client: Any, name: str, body: str, message: str) -> None:
    code = f"import sys, os, signal, ctypes\ndef handler(event, context):\n    if event:\n        {body}\n    return 'fine'\n"
    create(lambda_client, name, code)
    answer, response = invoke(lambda_client, name, True, LogType="Tail")
    request_id = response["ResponseMetadata"]["RequestId"]
    assert response["FunctionError"] == "Unhandled"
    assert answer == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request_id} Error: {message}",
    }
    assert "Status: error\tError Type: Runtime.ExitError" in tail(response)
    assert invoke(lambda_client, name, False)[0] == "fine"


@EVERYWHERE
def test_an_exit_while_loading_is_an_exit_error(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, "import sys\nsys.exit(0)\n")
    answer, response = invoke(lambda_client, name)
    request_id = response["ResponseMetadata"]["RequestId"]
    assert answer["errorType"] == "Runtime.ExitError"
    assert answer["errorMessage"] == f"RequestId: {request_id} Error: Runtime exited without providing a reason"


@EVERYWHERE
def test_a_response_over_6_mb_is_refused_and_the_environment_lives(lambda_client: Any, name: str) -> None:
    code = "count = 0\ndef handler(event, context):\n    global count\n    count += 1\n    return 'x' * event if event else count\n"
    create(lambda_client, name, code, MemorySize=512, Timeout=20)
    answer, response = invoke(lambda_client, name, 6 * 1024 * 1024 + 99)
    assert response["FunctionError"] == "Unhandled"
    assert answer == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }
    large, _response = invoke(lambda_client, name, 6 * 1024 * 1024)
    assert len(large) == 6 * 1024 * 1024
    assert invoke(lambda_client, name, 0)[0] == 3


def test_a_payload_of_6_mb_is_taken_and_a_larger_one_refused(lambda_client: Any, name: str) -> None:
    create(
        lambda_client,
        name,
        "def handler(event, context):\n    return len(event)\n",
        MemorySize=512,
        Timeout=20,
    )
    size = 6 * 1024 * 1024
    assert invoke(lambda_client, name, "x" * (size - 2))[0] == size - 2
    with pytest.raises(botocore.exceptions.ClientError) as refusal:
        invoke(lambda_client, name, "x" * (size + 1000))
    assert refusal.value.response["Error"]["Code"] == "RequestEntityTooLargeException"
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_a_payload_that_is_not_json_is_refused(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, "def handler(event, context):\n    return event\n")
    with pytest.raises(lambda_client.exceptions.InvalidRequestContentException) as refusal:
        lambda_client.invoke(FunctionName=name, Payload=b"{not json")
    assert refusal.value.response["Error"]["Message"].startswith("Could not parse request body into json: ")


def test_dry_run_runs_nothing(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, "def handler(event, context):\n    raise SystemExit\n")
    response = lambda_client.invoke(FunctionName=name, InvocationType="DryRun")
    assert response["StatusCode"] == 204
    assert response["Payload"].read() == b""
    assert "ExecutedVersion" not in response


def test_a_missing_function_is_named_with_its_version(lambda_client: Any) -> None:
    with pytest.raises(lambda_client.exceptions.ResourceNotFoundException) as refusal:
        lambda_client.invoke(FunctionName="doesnotexist")
    arn = "arn:aws:lambda:us-east-1:000000000000:function:doesnotexist:$LATEST"
    assert refusal.value.response["Error"]["Message"] == f"Function not found: {arn}"


@EVERYWHERE
def test_the_context_is_awss(lambda_client: Any, name: str) -> None:
    code = (
        "def handler(event, context):\n"
        "    return {key: str(getattr(context, key)) for key in ('function_name', 'function_version',\n"
        "        'invoked_function_arn', 'memory_limit_in_mb', 'aws_request_id', 'log_group_name', 'log_stream_name')} | {\n"
        "        'remaining': context.get_remaining_time_in_millis(),\n"
        "        'client': context.client_context and context.client_context.custom}\n"
    )
    create(lambda_client, name, code, MemorySize=256, Timeout=9)
    custom = base64.b64encode(json.dumps({"custom": {"k": "ü"}}).encode()).decode()
    answer, response = invoke(lambda_client, name, ClientContext=custom)
    assert "FunctionError" not in response, answer
    assert answer.pop("remaining") in range(7000, 9001)
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", answer.pop("log_stream_name"))
    assert answer == {
        "function_name": name,
        "function_version": "$LATEST",
        "invoked_function_arn": f"arn:aws:lambda:us-east-1:000000000000:function:{name}",
        "memory_limit_in_mb": "256",
        "aws_request_id": response["ResponseMetadata"]["RequestId"],
        "log_group_name": f"/aws/lambda/{name}",
        "client": {"k": "ü"},
    }
    qualified, _response = invoke(lambda_client, name, Qualifier="$LATEST")
    assert qualified["invoked_function_arn"].endswith(f":{name}:$LATEST")


def test_the_environment_is_awss(lambda_client: Any, name: str) -> None:
    code = "import os\ndef handler(event, context):\n    return dict(os.environ)\n"
    create(lambda_client, name, code, Environment={"Variables": {"MINE": "value", "LANG": "de_DE.UTF-8"}})
    found, _response = invoke(lambda_client, name)
    trace = found.pop("_X_AMZN_TRACE_ID")
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=[01].*", trace)
    assert re.fullmatch(r"ASIA[A-Z0-9]{16}", found.pop("AWS_ACCESS_KEY_ID"))
    assert len(found.pop("AWS_SECRET_ACCESS_KEY")) == 40
    assert found.pop("AWS_SESSION_TOKEN")
    assert found.pop("AWS_LAMBDA_LOG_STREAM_NAME")
    daemon = found.pop("_AWS_XRAY_DAEMON_ADDRESS")
    assert found.pop("AWS_XRAY_DAEMON_ADDRESS") == f"{daemon}:2000"
    assert found == {
        "MINE": "value",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
        "AWS_REGION": "us-east-1",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "LAMBDA_TASK_ROOT": "/var/task",
        "LANG": "de_DE.UTF-8",
        "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "PWD": "/var/task",
        "PYTHONPATH": "/var/runtime",
        "SHLVL": "0",
        "TZ": ":UTC",
        "_AWS_XRAY_DAEMON_PORT": "2000",
        "_HANDLER": "function.handler",
    }


def test_the_user_and_the_directories_are_awss(lambda_client: Any, name: str) -> None:
    code = (
        "import os, pwd, stat, platform\n"
        "def handler(event, context):\n"
        "    mode = {path: stat.filemode(os.stat(path).st_mode) for path in ('/tmp', '/opt', '/var/task')}\n"
        "    return {'user': pwd.getpwuid(os.getuid()).pw_name, 'cwd': os.getcwd(), 'mode': mode, 'system': platform.system()}\n"
    )
    create(lambda_client, name, code)
    answer, _response = invoke(lambda_client, name)
    assert answer == {
        "user": "sbx_user1051",
        "cwd": "/var/task",
        "mode": {"/tmp": "drwxrwxrwt", "/opt": "drwxr-xr-x", "/var/task": "drwxr-xr-x"},
        "system": "Linux",
    }


def test_a_warm_environment_is_used_again(lambda_client: Any, name: str) -> None:
    create(
        lambda_client,
        name,
        "counter = 0\ndef handler(event, context):\n    global counter\n    counter += 1\n    return counter\n",
    )
    assert [invoke(lambda_client, name)[0] for _ in range(20)] == list(range(1, 21))


def test_concurrent_invocations_get_environments_of_their_own(server: Server, name: str) -> None:
    client = server.client(max_pool_connections=10)
    code = "import os, time, uuid\nME = uuid.uuid4().hex\ndef handler(event, context):\n    time.sleep(0.5)\n    return ME\n"
    create(client, name, code)
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: invoke(client, name)[0], range(8)))
    assert len(set(found)) == 8


@EVERYWHERE
def test_an_idle_environment_is_frozen(lambda_client: Any, name: str) -> None:
    code = (
        "import threading, time\nticks = 0\n"
        "def tick():\n"
        "    global ticks\n"
        "    while True:\n"
        "        ticks += 1\n"
        "        time.sleep(0.005)\n"
        "threading.Thread(target=tick, daemon=True).start()\n"
        "def handler(event, context):\n    return ticks\n"
    )
    create(lambda_client, name, code)
    before, _response = invoke(lambda_client, name)
    time.sleep(1.5)
    after, _response = invoke(lambda_client, name)
    assert after - before < 60, "300 ticks fit into the pause; a frozen environment makes hardly any"


def test_randomness_differs_between_environments(server: Server, name: str) -> None:
    client = server.client(max_pool_connections=10)
    code = "import random, time, os\nVALUE = [random.random(), os.urandom(4).hex()]\ndef handler(event, context):\n    time.sleep(0.3)\n    return VALUE\n"
    create(client, name, code)
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: invoke(client, name)[0], range(4)))
    assert len({first for first, _second in found}) == 4
    assert len({second for _first, second in found}) == 4


def test_an_update_replaces_the_environments(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, "def handler(event, context):\n    return 1\n")
    assert invoke(lambda_client, name)[0] == 1
    code = zip_files({"function.py": "def handler(event, context):\n    return 2\n"})
    lambda_client.update_function_code(FunctionName=name, ZipFile=code)
    lambda_client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert invoke(lambda_client, name)[0] == 2
    lambda_client.update_function_configuration(FunctionName=name, Environment={"Variables": {"NEW": "1"}}, Timeout=7)
    lambda_client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert invoke(lambda_client, name)[0] == 2


@EVERYWHERE
def test_json_logs(lambda_client: Any, name: str) -> None:
    code = "import logging\ndef handler(event, context):\n    logging.getLogger().info('hello')\n    logging.getLogger().debug('hidden')\n"
    create(lambda_client, name, code, LoggingConfig={"LogFormat": "JSON"})
    _answer, response = invoke(lambda_client, name, LogType="Tail")
    events = [json.loads(line) for line in tail(response).splitlines()]
    assert [event.get("type") for event in events] == ["platform.start", None, "platform.report"]
    assert events[1]["message"] == "hello"
    assert events[1]["requestId"] == response["ResponseMetadata"]["RequestId"]
    assert events[2]["record"]["status"] == "success"
    assert events[2]["record"]["metrics"]["memorySizeMB"] == 128


def test_functions_of_two_accounts_and_regions_are_separate(server: Server, name: str) -> None:
    code = "import os\ndef handler(event, context):\n    return context.invoked_function_arn.split(':')[3:5]\n"
    for account, region in (("111111111111", "eu-west-1"), ("222222222222", "us-east-1")):
        client = server.client(account=account, region=region)
        create(client, name, code)
        assert invoke(client, name)[0] == [region, account]
    with pytest.raises(botocore.exceptions.ClientError):
        server.client(account="111111111111", region="us-east-1").invoke(FunctionName=name)
