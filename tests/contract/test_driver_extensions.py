"""What every driver promises of external extensions (`engine/sandbox.py`)."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
from collections.abc import Sequence
from typing import Any

import pytest
from test_drivers import Stage, asked, stage  # noqa: F401  the fixture is found by its name

from lambent.engine.sandbox import Assignment, Exit, Launch, SandboxError

TALKER = (
    "#!/bin/sh\necho talking\necho $SECRET $SHARED >&2\ntrap 'echo told; exit 7' TERM\nwhile :; do sleep 0.01; done\n"
)


def with_extensions(on: Stage, files: dict[str, tuple[str, int]]) -> Assignment:
    """An assignment whose layer holds these extensions: name → (content, mode)."""
    directory = on.trees / "companions" / "extensions"
    directory.mkdir(parents=True)
    for name, (text, mode) in files.items():
        (directory / name).write_text(text)
        (directory / name).chmod(mode)
    (directory / "folder").mkdir()
    assignment = on.assignment("companions")
    return dataclasses.replace(assignment, extension_environment={"PATH": os.defpath, "SHARED": "seen"})


async def printed(sandbox: Any, launch: Launch, wanted: str) -> str:
    """What an extension has printed; among what the runtime prints, where it has no output of its own."""
    output = launch.output if launch.output >= 0 else sandbox.log_fd
    text = ""
    for _ in range(500):
        try:
            text += os.read(output, 65536).decode()
        except BlockingIOError:
            await asyncio.sleep(0.01)
        if wanted in text:
            return text
    raise AssertionError(f"{wanted!r} is not in {text!r}")


async def both_have_started(sandbox: Any, launches: Sequence[Launch]) -> None:
    if launches[0].output >= 0:
        for launch in launches:
            await printed(sandbox, launch, "seen")
        return
    text = ""
    while text.count("seen") < 2:
        text += await printed(sandbox, launches[0], "seen")


async def among_the_runtimes(sandbox: Any) -> None:
    """No descriptor comes out of gVisor: what extensions print is printed by the sandbox."""
    text = ""
    while text.count("talking\n") < 2 or text.count("seen\n") < 2:
        with contextlib.suppress(BlockingIOError):
            text += os.read(sandbox.log_fd, 65536).decode()
        await asyncio.sleep(0.01)
    await sandbox.start_runtime()
    assert await asked(sandbox) == "GET /2018-06-01/runtime/invocation/next HTTP/1.1"


async def first(exits: list[Exit]) -> Exit:
    for _ in range(500):
        if exits:
            return exits[0]
        await asyncio.sleep(0.01)
    raise AssertionError("nothing has ended")


async def test_extensions_start_before_the_runtime_and_print_apart_from_it(stage: Stage) -> None:  # noqa: F811
    sandbox = await stage.acquire()
    launches = await sandbox.assign(with_extensions(stage, {"one": (TALKER, 0o755), "two": (TALKER, 0o755)}))
    assert [(launch.name, launch.error) for launch in launches] == [("one", ""), ("two", "")]
    if launches[0].output < 0:
        await among_the_runtimes(sandbox)
        return
    for launch in launches:
        assert await printed(sandbox, launch, "seen") == "talking\nseen\n"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.get_running_loop().sock_accept(sandbox.listener), 0.2)
    await sandbox.start_runtime()
    assert await asked(sandbox) == "GET /2018-06-01/runtime/invocation/next HTTP/1.1"
    assert b"talking" not in os.read(sandbox.log_fd, 65536)
    assert sandbox.peak_memory() > 1 << 20


async def test_what_cannot_be_executed_is_told(stage: Stage) -> None:  # noqa: F811
    sandbox = await stage.acquire()
    files = {"locked": (TALKER, 0o644), "plain": ("no program", 0o755), "lost": ("#!/no/such/shell\n", 0o755)}
    launches = await sandbox.assign(with_extensions(stage, files))
    found = {launch.name: (launch.error, launch.message) for launch in launches}
    assert found == {
        "locked": ("PermissionDenied", "fork/exec /opt/extensions/locked: permission denied"),
        "plain": ("UnknownError", "fork/exec /opt/extensions/plain: exec format error"),
        "lost": ("UnknownError", "fork/exec /opt/extensions/lost: no such file or directory"),
    }


async def test_more_than_ten_are_not_started(stage: Stage) -> None:  # noqa: F811
    sandbox = await stage.acquire()
    launches = await sandbox.assign(with_extensions(stage, {f"x{number}": (TALKER, 0o755) for number in range(11)}))
    assert {launch.error for launch in launches} == {"TooManyExtensions"}


async def test_the_end_of_an_extension_is_reported_by_its_name(stage: Stage) -> None:  # noqa: F811
    sandbox = await stage.acquire()
    exits: list[Exit] = []
    sandbox.on_exit(exits.append)
    launches = await sandbox.assign(with_extensions(stage, {"one": (TALKER, 0o755), "two": (TALKER, 0o755)}))
    await both_have_started(sandbox, launches)
    sandbox.terminate(signal.SIGTERM, "one")
    ended = await first(exits)
    assert (ended.extension, ended.code) == ("one", 7)
    assert await printed(sandbox, launches[0], "told")
    sandbox.terminate(signal.SIGKILL, "one")  # gone already
    del exits[:]
    sandbox.terminate(signal.SIGKILL, "two")
    ended = await first(exits)
    assert (ended.extension, ended.code) == ("two", -9)


async def test_the_runtime_alone_can_be_told_to_end(stage: Stage) -> None:  # noqa: F811
    sandbox = await stage.acquire()
    exits: list[Exit] = []
    sandbox.on_exit(exits.append)
    await sandbox.assign(with_extensions(stage, {"one": (TALKER, 0o755)}))
    await sandbox.start_runtime()
    parked, _address = await asyncio.get_running_loop().sock_accept(sandbox.listener)  # closed, it would end by itself
    sandbox.terminate(signal.SIGTERM)
    ended = await first(exits)
    assert (ended.extension, ended.code) == (None, -15)
    assert len(exits) == 1
    parked.close()


async def test_a_restart_starts_extensions_again_and_a_stop_stops_them(stage: Stage) -> None:  # noqa: F811
    sandbox = await stage.acquire()
    exits: list[Exit] = []
    sandbox.on_exit(exits.append)
    first_launch = await sandbox.assign(with_extensions(stage, {"one": (TALKER, 0o755)}))
    await printed(sandbox, first_launch[0], "seen")
    [again] = await sandbox.restart()
    assert again.name == "one"
    await printed(sandbox, again, "seen")
    await sandbox.stop_runtime()
    while again.output >= 0:
        try:
            if not os.read(again.output, 65536):
                break  # nobody holds the other end any more
        except BlockingIOError:
            await asyncio.sleep(0.01)
    assert exits == []


async def test_a_socket_of_the_sandbox_reaches_its_loopback_only(stage: Stage) -> None:  # noqa: F811
    if stage.driver.name == "process":
        pytest.skip("there is one network")
    sandbox = await stage.acquire()
    await sandbox.assign(stage.assignment())
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    with await sandbox.open_socket() as sock, pytest.raises(ConnectionRefusedError):
        await loop.sock_connect(sock, ("127.0.0.1", port))
    with await sandbox.open_socket() as sock:
        await loop.sock_connect(sock, ("127.0.0.1", 9001))
    server.close()


async def test_extensions_of_a_sandbox_that_is_gone(stage: Stage) -> None:  # noqa: F811
    sandbox = await stage.acquire()
    await sandbox.assign(with_extensions(stage, {"one": (TALKER, 0o755)}))
    await sandbox.destroy()
    sandbox.terminate(signal.SIGTERM)
    sandbox.terminate(signal.SIGTERM, "one")
    calls: list[Any] = [sandbox.start_runtime, sandbox.restart]
    for call in calls:
        with pytest.raises(SandboxError, match="ended"):
            await call()
