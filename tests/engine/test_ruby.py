"""Ruby functions on Lambent's own client. It is tried on this machine's Ruby even where that is no version of AWS's."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lambent.base.clock import SystemClock
from lambent.engine.drivers.namespaces import NamespaceDriver
from lambent.engine.drivers.process import ProcessDriver
from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.invoker import Invoker
from lambent.engine.logs import LogBook
from lambent.engine.runtimes import Runtime, ruby
from unit.engine.factory import make_function

REQUEST_ID = "8286a188-ba32-4475-8077-530cd35c09a9"
FUNCTION = """
require 'logger'
$count = 0
LOGGER = Logger.new($stdout)

def handler(event:, context:)
  return { got: event } unless event.is_a?(Hash)
  case event['do']
  when 'fail' then raise 'Error: some_error_msg'
  when 'name' then no_such_thing
  when 'argument' then raise ArgumentError, 'no good'
  when 'exit' then exit(event['code'])
  when 'abort' then exit!(9)
  when 'sleep' then sleep 60
  when 'puts' then puts 'two', 'lines'; print "raw\\n"; LOGGER.warn('careful'); nil
  when 'count' then $count += 1
  when 'env' then ENV.to_h
  when 'stream' then StringIO.new('plain text')
  when 'process' then { pwd: Dir.pwd, name: $PROGRAM_NAME, path: $LOAD_PATH.first(4), hidden: Dir.children('/.lambent/python').size }
  when 'context'
    { id: context.aws_request_id, arn: context.invoked_function_arn, name: context.function_name,
      version: context.function_version, memory: context.memory_limit_in_mb, group: context.log_group_name,
      remaining: context.get_remaining_time_in_millis.between?(1, 3000), custom: context.client_context }
  else { got: event }
  end
end

module Deep
  class Inner
    def self.run(event:, context:)
      "class #{event}"
    end
  end
end
"""
FILES = {
    "function.rb": FUNCTION,
    "broken.rb": "raise 'at load'",
    "needy.rb": "require 'not_there'",
    "syntax.rb": "def (",
}


def machines_ruby() -> Runtime:
    place = shutil.which("ruby")
    if place is None:
        pytest.skip("there is no Ruby on this machine")
    version = subprocess.run([place, "-e", "print RUBY_VERSION"], capture_output=True, text=True, check=True).stdout
    return ruby.runtime("ruby3.3", version, Path(place))


class OneRuntime:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def find(self, name: str) -> Runtime:
        return self._runtime


class Stage:
    def __init__(self, driver: Any, trees: Path, runtime: Runtime) -> None:
        self.logs = LogBook(SystemClock())
        runtimes: Any = OneRuntime(runtime)
        self.variables: dict[str, str] = {}  # the function's own
        self.invoker = Invoker(
            driver,
            runtimes,
            SystemClock(),
            self.logs,
            lambda function: {},
            variables=self._open,
            budget=20,
            idle_seconds=60,
        )
        (trees / "code").mkdir(parents=True)
        for name, code in FILES.items():
            (trees / "code" / name).write_text(code)

    async def _open(self, function: Any) -> dict[str, str]:
        return self.variables

    async def outcome(self, payload: Any = None, **settings: Any) -> Outcome:
        handler = settings.pop("handler", "function.handler")
        function = make_function(
            settings.pop("name", "f"), code_digest="code", runtime="ruby3.3", handler=handler, **settings
        )
        trace = "Root=1-5759e988-bd862e3fe1be46a994272793"
        body = json.dumps(payload).encode()
        invocation = Invocation(REQUEST_ID, function, body, function.arn, trace, '{"custom":{"k":"v"}}')
        return await self.invoker.invoke(invocation)

    async def invoke(self, payload: Any = None, **settings: Any) -> Any:
        return json.loads((await self.outcome(payload, **settings)).payload)

    async def messages(self) -> list[str]:
        """The log once the only invocation is reported: the answer comes first."""
        for _ in range(500):
            found = self._messages()
            if any("REPORT RequestId" in message for message in found):
                break
            await asyncio.sleep(0.01)
        return found

    def _messages(self) -> list[str]:
        return [event.message for event in self.logs.read("000000000000", "us-east-1", "/aws/lambda/f")]


@pytest.fixture(params=["namespaces", "process"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    runtime = machines_ruby()
    if request.param == "process":
        driver: Any = ProcessDriver(tmp_path / "sandboxes", tmp_path / "trees")
    else:
        driver = NamespaceDriver(tmp_path / "sandboxes", tmp_path / "trees", tag=f"test-{os.getpid()}-ruby", stems=1)
    await driver.start()
    stage = Stage(driver, tmp_path / "trees", runtime)
    yield stage
    await stage.invoker.stop()
    await driver.stop()


async def test_events_and_answers(stage: Stage) -> None:
    for event in ([1, "ü", None], "text", 7, None, {"a": {"b": []}}):
        assert await stage.invoke(event) == {"got": event}
    assert len((await stage.invoke("y" * 3_000_000))["got"]) == 3_000_000
    counts = [await stage.invoke({"do": "count"}) for _ in range(5)]
    assert max(counts) > 1, "an environment that has answered may not be ready before the next invocation comes"
    assert (await stage.outcome({"do": "stream"})).payload == b"plain text"
    assert await stage.invoke("e", handler="function.Deep::Inner.run", name="g") == "class e"


async def test_errors(stage: Stage) -> None:
    outcome = await stage.outcome({"do": "fail"})
    assert outcome.function_error == "Unhandled"
    answer = json.loads(outcome.payload)
    trace = answer.pop("stackTrace")
    assert answer == {"errorMessage": "Error: some_error_msg", "errorType": "Function<RuntimeError>"}  # as recorded
    assert len(trace) == 1
    assert re.search(r"function\.rb:9:in .*handler", trace[0])
    assert (await stage.invoke({"do": "argument"}))["errorType"] == "Function<ArgumentError>"
    assert (await stage.invoke({"do": "name"}))["errorType"] == "Function<NameError>"
    assert await stage.invoke({"do": "count"}) == 1, "a name that is not there ends the process, as on AWS"
    assert any(message.startswith("Error raised from handler method") for message in await stage.messages())


async def test_exits_and_timeouts(stage: Stage) -> None:
    assert (await stage.invoke({"do": "exit", "code": 3}))["errorMessage"].endswith("exit status 3")
    assert (await stage.invoke({"do": "exit", "code": 0}))["errorMessage"].endswith("without providing a reason")
    assert (await stage.invoke({"do": "abort"}))["errorMessage"].endswith("exit status 9")
    answer = await stage.invoke({"do": "sleep"}, timeout=1)
    assert answer["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert await stage.invoke(1) == {"got": 1}


async def test_logs(stage: Stage) -> None:
    await stage.invoke({"do": "puts"})
    lines = (await stage.messages())[2:5]
    assert lines[:2] == ["two\nlines\n", "raw\n"]
    assert re.fullmatch(rf"W, \[[\d:.T-]+ #\d+\]  WARN {REQUEST_ID} -- : careful\n", lines[2])


async def test_the_context_and_the_environment(stage: Stage) -> None:
    assert await stage.invoke({"do": "context"}) == {
        "id": REQUEST_ID,
        "arn": "arn:aws:lambda:us-east-1:000000000000:function:f",
        "name": "f",
        "version": "$LATEST",
        "memory": "128",
        "group": "/aws/lambda/f",
        "remaining": True,
        "custom": {"custom": {"k": "v"}},
    }
    found = await stage.invoke({"do": "env"})
    assert found["AWS_EXECUTION_ENV"] == "AWS_Lambda_ruby3.3"
    assert found["_X_AMZN_TRACE_ID"].startswith("Root=1-5759e988")
    assert "_LAMBDA_TELEMETRY_LOG_FD" not in found
    assert found["_HANDLER"] == "function.handler"


async def test_what_cannot_be_loaded(stage: Stage) -> None:
    cases = {
        "broken.handler": ("Init<RuntimeError>", "at load"),
        "needy.handler": ("Init<LoadError>", "cannot load such file -- not_there"),
        "absent.handler": ("Init<LoadError>", "cannot load such file -- absent"),
        "syntax.handler": ("Init<SyntaxError>", ""),
        "alone": ("Init<ArgumentError>", 'Invalid handler ["alone"], must be of form FILENAME.METHOD'),
    }
    for number, (handler, (kind, message)) in enumerate(cases.items()):
        answer = await stage.invoke(handler=handler, name=f"f{number}")
        assert answer["errorType"] == kind
        assert answer["errorMessage"].startswith(message)


async def test_options_are_read_at_a_fresh_start(stage: Stage) -> None:
    stage.variables = {"RUBYOPT": "-W0 -rjson"}
    assert (await stage.invoke({"do": "env"}))["RUBYOPT"] == "-W0 -rjson"


async def test_a_waiting_ruby_is_fenced_and_sees_the_function_first(tmp_path: Path) -> None:
    runtime = machines_ruby()
    driver = NamespaceDriver(tmp_path / "sandboxes", tmp_path / "trees", tag=f"test-{os.getpid()}-ruby", stems=1)
    await driver.start()
    stage = Stage(driver, tmp_path / "trees", runtime)
    try:
        answer = await stage.invoke({"do": "process"})
        assert answer["pwd"] == "/var/task"
        assert answer["name"] == "/var/runtime/bootstrap.rb"
        assert answer["path"][:3] == ["/var/task", "/var/runtime/lib", "/opt/ruby/lib"]
        assert answer["hidden"] == 0
    finally:
        await stage.invoker.stop()
        await driver.stop()
