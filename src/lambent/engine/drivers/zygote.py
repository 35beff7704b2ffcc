"""The server's end of one runtime's zygote process."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lambent.engine.guest import wire
from lambent.engine.sandbox import SandboxError

_BOOT_SECONDS = 20


class Zygote:
    """Boots once per runtime; each `spawn` costs a fork."""

    what = "the runtime's zygote"
    launcher = Path(__file__).parent.parent / "guest" / "launcher.py"

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._asking: dict[int, asyncio.Future[tuple[dict[str, Any], list[int]]]] = {}
        self._ready: asyncio.Future[dict[str, Any]] | None = None
        self._outbox: deque[tuple[dict[str, Any], Sequence[int]]] = deque()

    async def boot(self, plan: dict[str, Any], common: dict[str, Any] | None = None) -> None:
        """Start the process and wait until it can fork. SandboxError with what it printed when it cannot.

        `plan` is the launcher's, `common` what all that it will fork must know.
        """
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, wire.LIMIT * 2)
        self._socket, self._ready = ours, loop.create_future()
        with theirs:
            self._process = subprocess.Popen(  # noqa: ASYNC220  returns as soon as the child runs
                [sys._base_executable, "-I", "-S", "-B", str(self.launcher), str(theirs.fileno())],  # type: ignore[attr-defined]
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
            raise SandboxError(f"{self.what} did not start in {_BOOT_SECONDS} seconds") from error
        if common is not None:
            wire.send(ours, common)

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
            else:
                self._answered(message, fds)

    def _answered(self, message: dict[str, Any], fds: list[int]) -> None:
        waiter = self._asking.pop(message["id"], None)
        if waiter is None or waiter.done():  # whoever asked has gone
            for fd in fds:
                os.close(fd)
        elif message["op"] == "failed":
            waiter.set_exception(SandboxError(f"{self.what} cannot {message['order']}: {message['reason']}"))
        else:
            waiter.set_result((message, fds))

    def _lost(self) -> None:
        self._disconnect()
        text = ""
        if self._process is not None and self._process.stderr is not None:
            with self._process.stderr as stderr:
                text = stderr.read().decode(errors="replace").strip()
            self._process.wait()
        error = SandboxError(f"{self.what} ended: {text or 'no message'}")
        for waiter in (self._ready, *self._asking.values()):
            if waiter is not None and not waiter.done():
                waiter.set_exception(error)
        self._asking.clear()

    def _disconnect(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            asyncio.get_running_loop().remove_writer(self._socket)
            self._socket.close()
            self._socket = None

    @property
    def alive(self) -> bool:
        return self._socket is not None

    async def spawn(
        self, plan: dict[str, Any], files: Sequence[tuple[str, int]]
    ) -> tuple[int, int, list[socket.socket]]:
        """(pid, pidfd, listeners in its network) of a new init. `files` are descriptors for it, with their use."""
        order = {"op": "spawn", "plan": plan, "files": [name for name, _fd in files]}
        answer, [pidfd, *listeners] = await self.ask(order, [fd for _name, fd in files])
        return answer["pid"], pidfd, [socket.socket(fileno=listener) for listener in listeners]

    async def ask(self, order: dict[str, Any], fds: Sequence[int] = ()) -> tuple[dict[str, Any], list[int]]:
        """The answer to `order` and the descriptors that came with it. SandboxError when it cannot be done."""
        if self._socket is None:
            raise SandboxError(f"{self.what} is not running")
        number = next(self._numbers)
        answer = self._asking[number] = asyncio.get_running_loop().create_future()
        self._send({**order, "id": number}, fds)
        message, received = await answer
        return message, received

    def guard(self, pid: int, freezer: int) -> None:
        """Another init, not of its own making: should the server die, `freezer` thaws what it started."""
        self._send({"op": "guard", "pid": pid}, [freezer])

    def forget(self, pid: int) -> None:
        """This init has ended: nothing has to be thawed should the server die."""
        if self._socket is not None:
            self._send({"op": "reaped", "pid": pid})

    def _send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """In order, and later when the zygote has not read the last ones: `fds` must stay open until its answer."""
        self._outbox.append((message, fds))
        if len(self._outbox) == 1:
            self._flush()

    def _flush(self) -> None:
        if self._socket is None:
            self._outbox.clear()
            return
        loop = asyncio.get_running_loop()
        while self._outbox:
            try:
                wire.send(self._socket, *self._outbox[0])
            except BlockingIOError:
                loop.add_writer(self._socket, self._flush)
                return
            except OSError:  # it has ended, which is noticed when it is read from
                self._outbox.clear()
                break
            self._outbox.popleft()
        loop.remove_writer(self._socket)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._disconnect()
        if self._process is not None and self._process.stderr is not None:
            self._process.stderr.close()
