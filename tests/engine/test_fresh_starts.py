"""Wrapper scripts, and variables that only the start of a runtime can take in: no waiting process serves these."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from support import ROLE, RUNTIME, create, invoke, zip_executables

CODE = (
    "import os, sys\n"
    "def handler(event, context):\n"
    "    return {'argv': sys.argv, 'seen': os.environ.get('SEEN'), 'warn': sys.warnoptions, 'home': [file for _, _, files in os.walk('/.lambent') for file in files]}\n"
)
WRAPPER = "#!/bin/sh\nexport SEEN=$#\nprogram=$1\nshift\nexec $program -W error::UserWarning $@\n"


def create_wrapped(client: Any, name: str, path: str, files: dict[str, str]) -> None:
    client.create_function(
        FunctionName=name,
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="function.handler",
        Code={"ZipFile": zip_executables({"function.py": CODE} | files)},
        Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": path}},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name)


@pytest.mark.isolations("namespaces", "crun", "gvisor")
def test_a_wrapper_script_starts_the_runtime(lambda_client: Any, name: str) -> None:
    create_wrapped(lambda_client, name, "/var/task/wrap", {"wrap": WRAPPER})
    answer, _response = invoke(lambda_client, name)
    assert answer["argv"] == ["/var/runtime/bootstrap.py", "function.handler"]
    assert answer["warn"] == ["error::UserWarning"]
    assert int(answer["seen"]) >= 2


def test_a_wrapper_script_that_is_missing(lambda_client: Any, name: str) -> None:
    create_wrapped(lambda_client, name, "/opt/no-such-wrapper", {})
    answer, response = invoke(lambda_client, name, LogType="Tail")
    request_id = response["ResponseMetadata"]["RequestId"]
    assert answer == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request_id} Error: Runtime exited with error: exit status 127",
    }
    assert "/opt/no-such-wrapper: No such file or directory" in base64.b64decode(response["LogResult"]).decode()


def test_variables_that_the_interpreter_reads_at_its_start(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, CODE, Environment={"Variables": {"PYTHONWARNINGS": "ignore::UserWarning"}})
    answer, _response = invoke(lambda_client, name)
    assert answer["warn"] == ["ignore::UserWarning"]
    assert answer["home"] == []  # neither the server's interpreter nor the init's files


def test_a_runtime_that_crashed_starts_as_freshly_again(lambda_client: Any, name: str) -> None:
    code = CODE.replace("    return", "    os._exit(7) if event else None\n    return")
    create(lambda_client, name, code, Environment={"Variables": {"PYTHONWARNINGS": "ignore::UserWarning"}})
    answer, _response = invoke(lambda_client, name, 1)
    assert answer["errorMessage"].endswith("Runtime exited with error: exit status 7")
    answer, _response = invoke(lambda_client, name)
    assert answer["warn"] == ["ignore::UserWarning"]
