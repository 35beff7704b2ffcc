"""What every driver promises (`engine/sandbox.py`), on every driver there is."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lambent.base import containers, machine
from lambent.engine.drivers.namespaces import NamespaceDriver
from lambent.engine.drivers.oci import Engine, OciDriver
from lambent.engine.drivers.process import ProcessDriver
from lambent.engine.runtimes import Runtime, Runtimes
from lambent.engine.sandbox import Assignment, Exit, SandboxError

VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
CODE = """
import os, threading, time
def tick():
    while True:
        print('tick', flush=True)
        time.sleep(0.01)
if os.environ.get('TICK'):
    threading.Thread(target=tick, daemon=True).start()
if os.environ.get('EXIT'):
    os._exit(int(os.environ['EXIT']))
print('loaded', flush=True)
def handler(event, context):
    return event
"""

LAYERS = {
    "lower/python/whole/__init__.py": "NAME = 'lower'",
    "lower/python/whole/below.py": "",
    "lower/python/place": "a file that a directory of the upper one takes the place of",
    "upper/python/whole/__init__.py": "NAME = 'upper'",
    "upper/python/place/inside.py": "",
    "other/python/place": "",
}
IMPORTS = "import whole, os; print(whole.NAME, sorted(os.listdir(os.path.dirname(whole.__file__) + '/..')))"


class Stage:
    def __init__(self, driver: Any, trees: Path) -> None:
        self.driver = driver
        self.trees = trees
        found = Runtimes().find(VERSION)
        assert isinstance(found, Runtime)
        self.runtime = found

    async def acquire(self) -> Any:
        return await self.driver.acquire(self.runtime)

    def assignment(self, *layers: str, **variables: str) -> Assignment:
        environment = {
            "_HANDLER": "function.handler",
            "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
            "LAMBDA_TASK_ROOT": "/var/task",
            "PATH": os.defpath,
            "AWS_LAMBDA_FUNCTION_NAME": "f",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_LOG_GROUP_NAME": "g",
            "AWS_LAMBDA_LOG_STREAM_NAME": "s",
        }
        environment |= variables
        command = self.runtime.fresh_start(environment)
        return Assignment("code", layers, environment, memory=256, ephemeral_storage=512, command=command)


async def asked(sandbox: Any) -> str:
    """The first line of what the runtime asks the Runtime API for."""
    loop = asyncio.get_running_loop()
    connection, _address = await asyncio.wait_for(loop.sock_accept(sandbox.listener), 10)
    with connection:
        return (await loop.sock_recv(connection, 4096)).split(b"\r\n")[0].decode()


async def output(sandbox: Any, wanted: str) -> str:
    """What the runtime has printed, once `wanted` is among it."""
    text = ""
    for _ in range(500):
        try:
            text += os.read(sandbox.log_fd, 65536).decode()
        except BlockingIOError:
            await asyncio.sleep(0.01)
        if wanted in text:
            return text
    raise AssertionError(f"{wanted!r} is not in {text!r}")


def snapshot(root: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


def engine(name: str) -> Engine:
    """An OCI runtime, or the reason why this machine cannot test it."""
    isolation, command = ("gvisor", "auto") if name == "gvisor" else ("oci", name)
    check = containers.check(isolation, command)
    if check.status != machine.OK:
        pytest.skip(check.detail)
    return Engine.find(isolation, command)


@pytest.fixture(params=["namespaces", "crun", "runc", "gvisor", "process"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    trees = tmp_path / "trees"
    (trees / "code").mkdir(parents=True)
    (trees / "code" / "function.py").write_text(CODE)
    for path, text in LAYERS.items():
        (trees / path).parent.mkdir(parents=True, exist_ok=True)
        (trees / path).write_text(text)
    if request.param == "namespaces":
        driver: Any = NamespaceDriver(tmp_path / "sandboxes", trees, tag=f"contract{os.getpid()}", stems=1)
    elif request.param in ("crun", "runc", "gvisor"):
        driver = OciDriver(tmp_path / "sandboxes", trees, tag=f"contract{os.getpid()}", engine=engine(request.param))
    else:
        driver = ProcessDriver(tmp_path / "sandboxes", trees)
    await driver.start()
    yield Stage(driver, trees)
    await driver.stop()


async def test_an_assigned_runtime_asks_for_its_first_event(stage: Stage) -> None:
    sandbox = await stage.acquire()
    await sandbox.assign(stage.assignment())
    assert await asked(sandbox) == "GET /2018-06-01/runtime/invocation/next HTTP/1.1"
    assert "loaded" in await output(sandbox, "loaded")
    assert 1 << 20 < sandbox.peak_memory() < 200 << 20


async def test_an_exit_is_reported_once_with_its_code(stage: Stage) -> None:
    sandbox = await stage.acquire()
    exits: list[Exit] = []
    sandbox.on_exit(exits.append)
    await sandbox.assign(stage.assignment(EXIT="3"))
    for _ in range(500):
        if exits:
            break
        await asyncio.sleep(0.01)
    assert [exit.code for exit in exits] == [3]


async def test_a_stopped_runtime_reports_no_exit_and_can_be_started_again(stage: Stage) -> None:
    sandbox = await stage.acquire()
    exits: list[Exit] = []
    sandbox.on_exit(exits.append)
    await sandbox.assign(stage.assignment())
    await asked(sandbox)
    await sandbox.stop_runtime()
    await asyncio.sleep(0.1)
    assert exits == []
    await sandbox.restart()
    assert await asked(sandbox) == "GET /2018-06-01/runtime/invocation/next HTTP/1.1"


async def test_a_frozen_sandbox_does_nothing(stage: Stage) -> None:
    sandbox = await stage.acquire()
    await sandbox.assign(stage.assignment(TICK="1"))
    await output(sandbox, "tick")
    sandbox.freeze()
    await asyncio.sleep(0.1)  # what was on its way
    with pytest.raises(BlockingIOError):
        while True:
            os.read(sandbox.log_fd, 65536)
    await asyncio.sleep(0.2)
    with pytest.raises(BlockingIOError):
        os.read(sandbox.log_fd, 65536)
    sandbox.thaw()
    await output(sandbox, "tick")


@pytest.mark.parametrize(
    ("layers", "printed"),
    [
        (("lower",), "lower ['place', 'whole']"),
        (("lower", "upper"), "upper ['place', 'whole']"),
        (("upper", "lower"), "lower ['place', 'whole']"),
        (("lower", "upper", "lower"), "lower ['place', 'whole']"),  # two layers of the same content
        (("lower", "other", "upper"), "upper ['place', 'whole']"),
    ],
)
async def test_layers_lie_over_each_other_and_nothing_of_them_changes(
    stage: Stage, layers: tuple[str, ...], printed: str
) -> None:
    (stage.trees / "code" / "function.py").write_text(IMPORTS + CODE)
    before = snapshot(stage.trees)
    for sandbox in [await stage.acquire(), await stage.acquire()]:  # the second finds what the first has prepared
        await sandbox.assign(stage.assignment(*layers))
        assert printed in await output(sandbox, "loaded")
        await sandbox.destroy()
    assert snapshot(stage.trees) == before


async def test_layers_outlive_a_restart_of_the_runtime(stage: Stage) -> None:
    (stage.trees / "code" / "function.py").write_text(IMPORTS + CODE)
    sandbox = await stage.acquire()
    await sandbox.assign(stage.assignment("lower", "upper"))
    await output(sandbox, "upper")
    await sandbox.restart()
    await output(sandbox, "upper")


async def test_sandboxes_are_apart(stage: Stage) -> None:
    first, second = await stage.acquire(), await stage.acquire()
    assert first.id != second.id
    await first.assign(stage.assignment())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.get_running_loop().sock_accept(second.listener), 0.3)
    assert await asked(first)


async def test_there_is_no_harm_after_destroy(stage: Stage) -> None:
    sandbox = await stage.acquire()
    await sandbox.assign(stage.assignment())
    await asked(sandbox)
    await sandbox.destroy()
    await sandbox.destroy()
    sandbox.freeze()
    sandbox.thaw()
    sandbox.peak_memory()
    for call in (sandbox.stop_runtime, sandbox.restart):
        try:
            await call()
        except SandboxError as error:
            assert "ended" in str(error)


async def test_a_sandbox_that_was_never_used_goes_too(stage: Stage) -> None:
    sandbox = await stage.acquire()
    await sandbox.destroy()
    with pytest.raises(SandboxError):
        await sandbox.assign(stage.assignment())


async def test_many_sandboxes_hold_no_threads(stage: Stage) -> None:
    """The loop's own are few: whatever waits for a process in one of them keeps everything else waiting."""
    if stage.driver.name not in ("namespaces", "process"):
        pytest.skip("containers are watched as namespaces are")
    sandboxes = [await stage.acquire() for _ in range(40)]
    for sandbox in sandboxes:
        await sandbox.assign(stage.assignment())
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 10) == "free"
    assert await asked(sandboxes[-1])
