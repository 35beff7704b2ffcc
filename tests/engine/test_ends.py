"""How functions end that do not answer, on runtimes of every kind: exits, signals, timeouts, and what comes after."""

from __future__ import annotations

from typing import Any

import pytest

import programs
from support import deploy, invoke, needs, zip_executables, zip_files

NODE = """
exports.handler = async (event) => {
  if (event.do === "sleep") await new Promise((done) => setTimeout(done, 60000));
  if (event.do === "exit") process.exit(event.code);
  if (event.do === "kill") { process.kill(process.pid, "SIGKILL"); await new Promise((done) => setTimeout(done, 1000)); }
  return "here";
};
"""
PYTHON = """
import os, time
def handler(event, context):
    if event.get("do") == "sleep": time.sleep(60)
    if event.get("do") == "exit": os._exit(event["code"])
    if event.get("do") == "kill": os.kill(os.getpid(), 9)
    return "here"
"""
SILENT = "Runtime exited without providing a reason"
KILLED = "Runtime exited with error: signal: killed"


def status(code: int) -> str:
    return f"Runtime exited with error: exit status {code}"


ENDS: dict[str, list[tuple[dict[str, Any], str]]] = {  # runtime → what it is told, and what the caller hears
    "python3.11": [
        ({"do": "exit", "code": 0}, SILENT),
        ({"do": "exit", "code": 7}, status(7)),
        ({"do": "kill"}, KILLED),
    ],
    "nodejs22.x": [
        ({"do": "exit", "code": 0}, SILENT),
        ({"do": "exit", "code": 7}, status(7)),
        ({"do": "kill"}, KILLED),
    ],
    "nodejs24.x": [
        ({"do": "exit", "code": 0}, SILENT),
        ({"do": "exit", "code": 7}, status(7)),
        ({"do": "kill"}, KILLED),
    ],
    "java17": [({"do": "exit", "code": 7}, status(7))],
    "java21": [({"do": "exit", "code": 0}, SILENT), ({"do": "exit", "code": 7}, status(7))],
    "provided.al2023": [({"do": "exit"}, status(3))],
}


def package(runtime: str) -> tuple[bytes, dict[str, Any]]:
    """(zip, settings) of a function that ends as it is told."""
    if runtime.startswith("python"):
        return zip_files({"index.py": PYTHON}), {}
    if runtime.startswith("nodejs"):
        return zip_files({"index.js": NODE}), {}
    if runtime.startswith("java"):
        return zip_files(programs.java()), {"Handler": "Told", "MemorySize": 512}
    return zip_executables({"bootstrap": programs.go()}), {}


@pytest.mark.parametrize("runtime", ENDS)
def test_how_a_function_ends(lambda_client: Any, name: str, runtime: str) -> None:
    needs(runtime)
    content, settings = package(runtime)
    deploy(lambda_client, name, runtime, content, Timeout=15, **settings)
    for event, message in ENDS[runtime]:
        answer, response = invoke(lambda_client, name, event)
        request_id = response["ResponseMetadata"]["RequestId"]
        wanted = {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {request_id} Error: {message}"}
        assert (response["FunctionError"], answer) == ("Unhandled", wanted)
        assert "FunctionError" not in invoke(lambda_client, name, {"do": "version"})[1]
    lambda_client.update_function_configuration(FunctionName=name, Timeout=2)
    lambda_client.get_waiter("function_updated_v2").wait(FunctionName=name)
    answer, response = invoke(lambda_client, name, {"do": "sleep"})
    message = f"RequestId: {response['ResponseMetadata']['RequestId']} Error: Task timed out after 2.00 seconds"
    assert answer == {"errorType": "Sandbox.Timedout", "errorMessage": message}
    assert "FunctionError" not in invoke(lambda_client, name, {"do": "version"})[1]
