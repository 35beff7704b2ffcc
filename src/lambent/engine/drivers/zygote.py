"""The server's end of one runtime's zygote process."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from lambent.engine.guest import wire
from lambent.engine.sandbox import SandboxError

_LAUNCHER = Path(__file__).parent.parent / "guest" / "launcher.py"
_BOOT_SECONDS = 20


class Zygote:
    """Boots once per runtime; each `spawn` costs a fork."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._spawning: dict[int, asyncio.Future[tuple[int, int]]] = {}
        self._ready: asyncio.Future[dict[str, Any]] | None = None

    async def boot(self, plan: dict[str, Any]) -> None:
        """Start the process and wait until it can fork. SandboxError with what it printed when it cannot."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, wire.LIMIT * 2)
        self._socket, self._ready = ours, loop.create_future()
        with theirs:
            self._process = subprocess.Popen(  # noqa: ASYNC220  returns as soon as the child runs
                [sys._base_executable, "-I", "-S", "-B", str(_LAUNCHER), str(theirs.fileno())],  # type: ignore[attr-defined]
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                start_new_session=True,
            )
        loop.add_reader(ours, self._read)
        wire.send(ours, plan)
        try:
            await asyncio.wait_for(self._ready, _BOOT_SECONDS)
        except TimeoutError as error:
            self.stop()
            raise SandboxError("the runtime's zygote did not start in 20 seconds") from error

    def _read(self) -> None:
        assert self._socket is not None
        while True:
            try:
                message, fds = wire.receive(self._socket)
            except BlockingIOError:
                return
            if message is None:
                self._lost()
                return
            if message["op"] == "ready" and self._ready is not None:
                self._ready.set_result(message)
            elif message["op"] == "spawned":
                waiter = self._spawning.pop(message["id"], None)
                if waiter is not None and not waiter.done():
                    waiter.set_result((message["pid"], fds[0]))
                else:
                    os.close(fds[0])

    def _lost(self) -> None:
        assert self._socket is not None
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._socket = None
        text = ""
        if self._process is not None and self._process.stderr is not None:
            text = self._process.stderr.read().decode(errors="replace").strip()
            self._process.wait()
        error = SandboxError(f"the runtime's zygote ended: {text or 'no message'}")
        for waiter in (self._ready, *self._spawning.values()):
            if waiter is not None and not waiter.done():
                waiter.set_exception(error)
        self._spawning.clear()

    @property
    def alive(self) -> bool:
        return self._socket is not None

    async def spawn(self, plan: dict[str, Any], channel: socket.socket, output: int) -> tuple[int, int]:
        """(pid, pidfd) of a new init that speaks on `channel` and whose processes write to `output`."""
        if self._socket is None:
            raise SandboxError("the runtime's zygote is not running")
        number = next(self._numbers)
        self._spawning[number] = asyncio.get_running_loop().create_future()
        wire.send(self._socket, {**plan, "id": number}, [channel.fileno(), output])
        return await self._spawning[number]

    def guard(self, pid: int, freezer: int) -> None:
        """Let the zygote thaw and kill this init should the server die."""
        if self._socket is not None:
            wire.send(self._socket, {"op": "freezer", "pid": pid}, [freezer])

    def forget(self, pid: int) -> None:
        if self._socket is not None:
            wire.send(self._socket, {"op": "reaped", "pid": pid})

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        if self._process is not None and self._process.stderr is not None:
            self._process.stderr.close()
