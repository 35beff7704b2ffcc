"""AWS's own Python runtime client with its C extension, and with Lambent's transport: functions see no difference."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lambent.base.clock import SystemClock
from lambent.engine.drivers.namespaces import NamespaceDriver
from lambent.engine.drivers.process import ProcessDriver
from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.invoker import Invoker
from lambent.engine.logs import LogBook
from lambent.engine.runtimes import Runtimes
from unit.engine.factory import make_function

VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
FUNCTIONS = {
    "echo": "def handler(event, context):\n    return event\n",
    "context": (
        "def handler(event, context):\n"
        "    remaining = context.get_remaining_time_in_millis()\n"
        "    return {**{k: v for k, v in vars(context).items() if isinstance(v, (str, int)) and k[0] != '_'},\n"
        "            'remaining': 2000 < remaining <= 3000, 'custom': context.client_context.custom}\n"
    ),
    "fails": "def handler(event, context):\n    raise ValueError('schlecht: ü')\n",
    "set": "def handler(event, context):\n    return {1, 2}\n",
    "prints": "import logging\ndef handler(event, context):\n    print('out')\n    logging.error('two\\nlines')\n",
    "module": "import sys\ndef handler(event, context):\n    return [sys.argv, sys.path[0], type(sys.stdin).__name__, sorted(sys.modules).count('runtime_client')]\n",
    "exits": "import os\ndef handler(event, context):\n    os._exit(event)\n",
    "bytes": "def handler(event, context):\n    return b'\\xff\\x00'\n",
    "environment": (
        "import os\ndef handler(event, context):\n"
        "    return [sorted(os.environ.items()), type(context).__module__, sorted(vars(context))]\n"
    ),
    "large": "def handler(event, context):\n    return 'ü' * event\n",
}
MEASURED = re.compile(r"[0-9.]+ (?=ms|MB)|[0-9T:.-]+Z|(?<=\[\$LATEST\])\w+")


class Stage:
    def __init__(self, driver: Any, trees: Path, runtime: str) -> None:
        self.driver = driver
        self.runtime = runtime
        self.logs = LogBook(SystemClock())
        self.invoker = Invoker(
            driver, Runtimes(), SystemClock(), self.logs, lambda function: {}, budget=20, idle_seconds=60
        )
        for name, code in FUNCTIONS.items():
            (trees / name).mkdir(parents=True)
            (trees / name / "function.py").write_text(code)

    async def invoke(self, name: str, payload: Any = None) -> Outcome:
        function = make_function(name, code_digest=name, runtime=self.runtime)
        invocation = Invocation(
            "8286a188-ba32-4475-8077-530cd35c09a9",
            function,
            json.dumps(payload).encode(),
            function.arn,
            "Root=1-5759e988-bd862e3fe1be46a994272793",
            '{"custom":{"k":"v"}}',
        )
        return await self.invoker.invoke(invocation)

    async def reported(self, name: str, times: int) -> Sequence[Any]:
        """The log of a function once so many invocations are reported: the answer comes first."""
        for _ in range(500):
            events = self.logs.read("000000000000", "us-east-1", f"/aws/lambda/{name}")
            if sum("REPORT RequestId" in event.message for event in events) >= times:
                break
            await asyncio.sleep(0.01)
        return events


@pytest.fixture(params=["lambent", "awslambdaric", "process"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    if request.param == "process":
        driver: Any = ProcessDriver(tmp_path / "sandboxes", tmp_path / "trees")
    else:
        tag = f"test-{os.getpid()}-{request.param}"
        own = request.param == "lambent"
        driver = NamespaceDriver(tmp_path / "sandboxes", tmp_path / "trees", tag=tag, stems=1, own_client=own)
    await driver.start()
    stage = Stage(driver, tmp_path / "trees", VERSION)
    yield stage
    await stage.invoker.stop()
    await driver.stop()


async def test_functions_see_no_difference(stage: Stage) -> None:
    assert (await stage.invoke("echo", {"ü": [1, 2.5, None]})).payload == b'{"\\u00fc": [1, 2.5, null]}'
    seen = json.loads((await stage.invoke("context")).payload)
    assert seen["remaining"] is True
    assert seen["custom"] == {"k": "v"}
    assert seen["aws_request_id"] == "8286a188-ba32-4475-8077-530cd35c09a9"
    failure = await stage.invoke("fails")
    assert failure.function_error == "Unhandled"
    assert json.loads(failure.payload)["errorMessage"] == "schlecht: ü"
    assert json.loads(failure.payload)["errorType"] == "ValueError"
    unmarshallable = json.loads((await stage.invoke("set")).payload)
    assert unmarshallable["errorType"] == "Runtime.MarshalError"
    assert len(json.loads((await stage.invoke("large", 1_000_000)).payload)) == 1_000_000
    await stage.invoke("prints")
    messages = [event.message for event in stage.logs.read("000000000000", "us-east-1", "/aws/lambda/prints")]
    assert messages[2] == "out\n"
    assert messages[3].endswith("\ttwo\nlines\n")
    for number in range(20):
        assert (await stage.invoke("echo", number)).payload == str(number).encode()


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
async def test_every_python_of_this_machine(tmp_path: Path, version: str) -> None:
    runtime = f"python{version}"
    if runtime not in Runtimes().available:
        pytest.skip(f"this machine has no {runtime}")
    driver = NamespaceDriver(tmp_path / "sandboxes", tmp_path / "trees", tag=f"test-{os.getpid()}", stems=1)
    await driver.start()
    stage = Stage(driver, tmp_path / "trees", runtime)
    assert (await stage.invoke("echo", {"a": 1})).payload == b'{"a": 1}'
    failure = await stage.invoke("fails")
    assert json.loads(failure.payload)["errorType"] == "ValueError"
    await stage.invoker.stop()
    await driver.stop()


@pytest.mark.skipif(VERSION not in Runtimes().available, reason="AWS's extension fits this interpreter only")
async def test_both_clients_answer_and_log_the_same(tmp_path: Path) -> None:
    """Whole answers and whole logs, byte by byte but for what is measured."""
    events: dict[str, list[Any]] = {
        "echo": [None, 0, "", {"a": [1, 2.5, {"ü": "\u2028"}]}, "x" * 70_000, [[]] * 500],
        "context": [{}],
        "fails": [1],
        "set": [1],
        "prints": [1],
        "large": [1, 40_000, 200_000],
        "exits": [0, 3],
        "bytes": [1],
        "environment": [1, 2],
    }
    seen = []
    for own in (True, False):
        directory = tmp_path / str(own)
        tag = f"test-{os.getpid()}-{own}"
        driver = NamespaceDriver(directory / "sandboxes", directory / "trees", tag=tag, stems=1, own_client=own)
        await driver.start()
        stage = Stage(driver, directory / "trees", VERSION)
        found: list[Any] = []
        for name, payloads in events.items():
            for payload in payloads:
                outcome = await stage.invoke(name, payload)
                text = MEASURED.sub("N", outcome.payload.decode("latin-1"))
                found.append((name, text, outcome.function_error, outcome.error_type, outcome.content_type))
            messages = await stage.reported(name, len(payloads))
            found.append([MEASURED.sub("N", message.message) for message in messages])
        seen.append(found)
        await stage.invoker.stop()
        await driver.stop()
    assert seen[0] == seen[1]
