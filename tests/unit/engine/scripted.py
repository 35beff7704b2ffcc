"""A sandbox without a function: the test plays the runtime, over the real Runtime API."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lambent.engine.runtimes import Runtime, Start
from lambent.engine.sandbox import Assignment, Exit, Launch

_numbers = itertools.count(1)


def scripted_runtime(name: str = "python3.11") -> Runtime:
    """A runtime that needs no machine."""
    return Runtime(name, "3.11.2", "python:3.11.v2", Path("/usr/bin/python3.11"), Start.FORK, lambda environment: ())


class ScriptedRuntime:
    """A raw client of the Runtime API."""

    prefix = "/2018-06-01"

    def __init__(self, port: int) -> None:
        self._port = port

    async def call(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        lines = [
            f"{method} {self.prefix}{path} HTTP/1.1",
            "Host: x",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        try:
            answer = await reader.read()
        finally:
            writer.close()
        head, _, content = answer.partition(b"\r\n\r\n")
        status, *rest = head.decode().split("\r\n")
        found = dict(line.split(": ", 1) for line in rest)
        return int(status.split()[1]), {name.lower(): value for name, value in found.items()}, content

    async def next(self) -> tuple[str, dict[str, str], bytes]:
        status, headers, body = await self.call("GET", "/runtime/invocation/next")
        assert status == 200, body
        return headers["lambda-runtime-aws-request-id"], headers, body

    async def answer(self, request_id: str, body: bytes) -> int:
        return (await self.call("POST", f"/runtime/invocation/{request_id}/response", body))[0]


class ScriptedExtension(ScriptedRuntime):
    """A raw client of the Extensions API and of those beside it."""

    prefix = ""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(port)
        self.name = name
        self.identifier = ""

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """(status, decoded answer) of a call that carries the identifier."""
        named = {"Lambda_Extension_Identifier": self.identifier} if self.identifier else {}
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        status, answered, text = await self.call(method, path, content, **(named | headers))
        self.identifier = answered.get("lambda-extension-identifier", self.identifier)
        return status, json.loads(text) if text else None

    async def register(self, *events: str, **headers: str) -> tuple[int, Any]:
        path = "/2020-01-01/extension/register"
        return await self.ask("POST", path, {"events": events}, Lambda_Extension_Name=self.name, **headers)

    async def event(self) -> dict[str, Any]:
        status, event = await self.ask("GET", "/2020-01-01/extension/event/next")
        assert status == 200, event
        return dict(event)

    async def report(self, phase: str, **headers: str) -> tuple[int, Any]:
        return await self.ask("POST", f"/2020-01-01/extension/{phase}/error", {}, **headers)


class ScriptedSandbox:
    """Records what it is told. `script` is started with every runtime."""

    def __init__(self, script: Callable[[ScriptedRuntime], object] | None = None) -> None:
        self.id = f"scripted-{next(_numbers)}"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.door: socket.socket | None = None
        self.port = self.listener.getsockname()[1]
        self.log_fd, self.output = os.pipe()
        os.set_blocking(self.log_fd, False)
        self.history: list[str] = []
        self.launches: list[Launch] = []  # what it says of external extensions
        self.assignment: Assignment | None = None
        self.exit: Callable[[Exit], None] = lambda exit: None
        self.peak = 10 << 20
        self._script = script
        self._running: asyncio.Task[object] | None = None

    def on_exit(self, callback: Callable[[Exit], None]) -> None:
        self.exit = callback

    def _run(self) -> None:
        if self._script is not None:
            self._running = asyncio.ensure_future(self._script(ScriptedRuntime(self.port)))  # type: ignore[arg-type]

    async def assign(self, assignment: Assignment) -> Sequence[Launch]:
        self.history.append("assign")
        self.assignment = assignment
        return self._begin()

    async def restart(self) -> Sequence[Launch]:
        await self.stop_runtime()
        self.history[-1] = "restart"
        return self._begin()

    def _begin(self) -> Sequence[Launch]:
        if not self.launches:
            self._run()
        return self.launches

    async def start_runtime(self) -> None:
        self.history.append("start")
        self._run()

    async def stop_runtime(self) -> None:
        self.history.append("stop")
        if self._running is not None:
            self._running.cancel()

    def terminate(self, number: int, extension: str | None = None) -> None:
        """The real one ends a process of its own accord, or not: that is for the test to play."""
        self.history.append(f"{signal.Signals(number).name} {extension or 'runtime'}")

    async def open_socket(self) -> socket.socket:
        made = socket.socket()
        made.setblocking(False)
        return made

    def freeze(self) -> None:
        self.history.append("freeze")

    def thaw(self) -> None:
        if self.history[-1:] == ["freeze"]:
            self.history.append("thaw")

    def peak_memory(self) -> int:
        return self.peak

    async def destroy(self) -> None:
        if self.log_fd >= 0:
            self.history.append("destroy")
            if self._running is not None:
                self._running.cancel()
            os.close(self.log_fd)
            os.close(self.output)
            self.log_fd = -1


class ScriptedDriver:
    """Hands out scripted sandboxes."""

    name = "scripted"
    weaknesses = ()
    no_file_systems = ""
    no_images = ""

    def __init__(self, script: Callable[[ScriptedRuntime], object] | None = None) -> None:
        self.script = script
        self.sandboxes: list[ScriptedSandbox] = []

    async def start(self) -> None: ...
    async def warm(self, runtime: Runtime) -> None: ...
    async def stop(self) -> None: ...
    async def acquire(self, runtime: Runtime) -> ScriptedSandbox:
        self.sandboxes.append(ScriptedSandbox(self.script))
        return self.sandboxes[-1]


async def echo(runtime: ScriptedRuntime) -> None:
    """Answers every event with itself."""
    while True:
        request_id, _headers, body = await runtime.next()
        await runtime.answer(request_id, body)
