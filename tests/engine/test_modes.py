"""The same functions under every isolation that this machine allows, on every runtime that it has.

What is told apart by isolation in other files (extensions, streams, SnapStart, images, file systems) carries the mark
`isolations` there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from unittest.mock import ANY

import pytest

import programs
from isolations import Isolation
from support import RUNTIME, deploy, invoke, needs, tail, zip_executables, zip_files

PYTHON = """
import os, layered
def handler(event, context):
    print("printed", flush=True)
    if event.get("do") == "fail": raise ValueError("no good")
    if event.get("do") == "exit": os._exit(3)
    open("/tmp/x", "a").write("x")
    return {"got": event, "layer": layered.TEXT, "mine": os.environ["MINE"]}
"""
NODE = """
const layered = require("layered"), fs = require("node:fs");
exports.handler = async (event, context) => {
  console.log("printed");
  if (event.do === "fail") throw new RangeError("no good");
  if (event.do === "exit") process.exit(3);
  fs.appendFileSync("/tmp/x", "x");
  return { got: event, layer: layered.text, mine: process.env.MINE };
};
"""
SCRIPT = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  head=$(mktemp)
  event=$(curl -sS -D "$head" "$api/next")
  id=$(grep -i aws-request-id "$head" | tr -d '[:space:]' | cut -d: -f2)
  echo printed
  case $event in
    *fail*) curl -sS "$api/$id/error" -H "Lambda-Runtime-Function-Error-Type: Odd" \
      -d '{"errorType": "Odd", "errorMessage": "no good"}' >/dev/null ;;
    *exit*) exit 3 ;;
    *) curl -sS "$api/$id/response" -d "{\\"got\\": $event, \\"layer\\": \\"from a layer\\", \\"mine\\": \\"$MINE\\"}" >/dev/null ;;
  esac
done
"""


@dataclass(frozen=True)
class Sample:
    """A function that answers what it was sent, prints, fails and leaves as it is told."""

    package: bytes
    error: tuple[str, str]
    layer: Mapping[str, str | bytes] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    answer: Callable[[Any], Any] = lambda event: {"got": event, "layer": "from a layer", "mine": "value"}
    event: Mapping[str, Any] = field(default_factory=lambda: {"a": [1, "ü"]})
    printed: Mapping[str, Any] | None = None  # the event that makes it print; None: any does


def of_java() -> Sample:
    classes = programs.java()
    jar = zip_files({name: content for name, content in classes.items() if name.startswith("layered/")})
    return Sample(
        zip_files({name: content for name, content in classes.items() if not name.startswith("layered/")}),
        ("java.lang.RuntimeException", "Error: some_error_msg"),
        {"java/lib/greeter.jar": jar},
        {"Handler": "Told", "MemorySize": 512, "Timeout": 30},
        lambda event: "hello from a jar",
        {"do": "layer"},
        {"do": "log"},
    )


@cache
def sample(family: str) -> Sample:
    match family:
        case "python":
            layer = {"python/layered.py": "TEXT = 'from a layer'"}
            return Sample(zip_files({"index.py": PYTHON}), ("ValueError", "no good"), layer)
        case "nodejs":
            layer = {"nodejs/node_modules/layered/index.js": "exports.text = 'from a layer'"}
            return Sample(zip_files({"index.js": NODE}), ("RangeError", "no good"), layer)
        case "java":
            return of_java()
        case "script":
            return Sample(zip_files({"nothing": ""}), ("Odd", "no good"), {"bootstrap": SCRIPT})
        case _:
            return Sample(
                zip_executables({"bootstrap": programs.go()}),
                ("errorString", "Error: some_error_msg"),
                answer=lambda event: {"got": event["text"]},
                event={"text": "ü"},
                printed={"do": "print"},
            )


RUNTIMES = {  # runtime, and what runs on it
    **{f"python3.{minor}": "python" for minor in range(9, 15)},
    **{f"nodejs{major}.x": "nodejs" for major in (18, 20, 22, 24)},
    **{f"java{major}": "java" for major in (11, 17, 21, 25)},
    "provided.al2": "script",
    "provided.al2023": "go",
}
# Where another isolation is much the same:
SHORT = (RUNTIME, "nodejs24.x", "java21", "provided.al2", "provided.al2023")
ALIKE = ("unprivileged", "rootless", "runc", "gvisor", "process")


@pytest.mark.isolations
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_function(lambda_client: Any, isolation: Isolation, name: str, runtime: str) -> None:
    oldest = (isolation.name, runtime) == ("gvisor", "python3.9")  # knows the fewest ways around what gVisor lacks
    if isolation.name in ALIKE and runtime not in SHORT and not oldest:
        pytest.skip(f"{isolation.name} runs one runtime of each kind")
    needs(runtime)
    told = sample(RUNTIMES[runtime])
    if isolation.name == "process" and told.layer and runtime.startswith("java"):
        told = replace(told, event={"do": "version"}, answer=lambda event: ANY)  # AWS's client looks into /opt itself
    settings: dict[str, Any] = {"Timeout": 20, "Environment": {"Variables": {"MINE": "value"}}, **told.settings}
    if told.layer:
        content = {"ZipFile": zip_executables(told.layer)}
        settings["Layers"] = [lambda_client.publish_layer_version(LayerName=name, Content=content)["LayerVersionArn"]]
    deploy(lambda_client, name, runtime, told.package, **settings)
    answer, response = invoke(lambda_client, name, told.event, LogType="Tail")
    assert answer == told.answer(told.event), tail(response)
    assert "Init Duration" in tail(response)
    _answer, response = invoke(
        lambda_client, name, told.event if told.printed is None else told.printed, LogType="Tail"
    )
    assert "printed" in tail(response) or "to standard output" in tail(response)
    answer, response = invoke(lambda_client, name, {"do": "fail"})
    assert (response["FunctionError"], answer["errorType"], answer["errorMessage"]) == ("Unhandled", *told.error)
    answer, response = invoke(lambda_client, name, {"do": "exit", "code": 3})
    assert answer["errorType"] == "Runtime.ExitError"
    assert answer["errorMessage"].endswith("Runtime exited with error: exit status 3")
    assert invoke(lambda_client, name, told.event)[0] == told.answer(told.event)
    lambda_client.delete_function(FunctionName=name)
