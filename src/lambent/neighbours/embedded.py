"""The process that answers for the services that are neither native nor elsewhere: moto, started when first needed.

It listens on a socket in the data directory, which nobody but the server's user can reach. It ends with the server,
however that ends. What it holds is in its memory, and is gone when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from lambent.base.clock import Clock
from lambent.base.http_client import Origin, Unreachable

_log = logging.getLogger("lambent.embedded")

_SOCKET = "embedded.sock"
_START_SECONDS = 60.0
_STOP_SECONDS = 3.0
_HASTY_SECONDS = 10.0  # a process that ends sooner than this after its start may do so again: the next waits a while
_ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8", "AWS_DEFAULT_REGION": "us-east-1"}  # no secret, no credentials
PACKAGE = "moto"
INSTALL = "pip install 'lambent[embedded]'"


@dataclass(frozen=True, slots=True)
class State:
    """How the process is, for `lambent status`."""

    state: str  # "not started", "starting", "running", "ended", "missing"
    pid: int | None
    starts: int
    note: str


def is_installed() -> bool:
    return importlib.util.find_spec(PACKAGE) is not None


class Embedded:
    """Starts the process, and starts it again when it has ended: each time because a request needs it."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        """`directory`: of the server's user alone."""
        self._directory = directory
        self._clock = clock
        self._settings: Mapping[str, Any] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._ready: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._handle: int | None = None  # of the directory: paths of sockets are short, those of directories may not be
        self._starts = 0
        self._began = 0.0
        self._last_end = ""
        self._stopping = False

    def configure(self, **settings: Any) -> None:
        """What the process is told at its start, as JSON: see `lambent.embedded.settings`."""
        self._settings = {**self._settings, **settings}

    @property
    def state(self) -> State:
        if self._process is not None:
            ready = self._ready is not None and self._ready.done()
            return State("running" if ready else "starting", self._process.pid, self._starts, self._last_end)
        if not is_installed():
            return State("missing", None, 0, f"{PACKAGE} is not installed: {INSTALL}")
        return State("ended" if self._starts else "not started", None, self._starts, self._last_end)

    async def origin(self) -> Origin:
        """Where it listens, once it does. Unreachable with what to do."""
        if self._stopping:
            raise Unreachable("the server stops")
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_task(self._start())
        await asyncio.shield(self._ready)
        return Origin(path=self._path)

    async def stop(self) -> None:
        self._stopping = True
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        for task in (self._ready, self._watching):
            if task is not None:
                await asyncio.gather(task, return_exceptions=True)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        (self._directory / _SOCKET).unlink(missing_ok=True)

    @property
    def _path(self) -> str:
        return f"/proc/self/fd/{self._handle}/{_SOCKET}"

    async def _start(self) -> None:
        try:
            await self._spawn()
        except BaseException as error:
            self._ready = None
            if isinstance(error, OSError):
                raise Unreachable(f"it cannot be started: {error}") from error
            raise

    async def _spawn(self) -> None:
        if not is_installed():
            raise Unreachable(f"{PACKAGE} is not installed: {INSTALL}")
        since = self._clock.monotonic() - self._began
        if self._last_end and self._starts and since < _HASTY_SECONDS:
            raise Unreachable(f"{self._last_end}; it is started again {_HASTY_SECONDS - since:.0f} s from now")
        self._began = self._clock.monotonic()
        self._starts += 1
        _log.info("starting the embedded services (moto): what they hold is in memory")
        if self._handle is None:
            self._handle = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        (self._directory / _SOCKET).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._path)
            listener.listen(128)
            os.chmod(self._path, 0o600)
            process = self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "lambent.embedded", str(listener.fileno()), str(os.getpid())),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(listener.fileno(),),
                env=_ENVIRONMENT | {"HOME": str(self._directory)},
                cwd="/",
            )
        assert process.stdin is not None
        process.stdin.write(orjson.dumps(self._settings) + b"\n")  # the pipe stays open: its end is the server's
        ready = asyncio.get_running_loop().create_future()
        self._watching = asyncio.get_running_loop().create_task(self._watch(process, ready))
        try:
            await asyncio.wait_for(ready, _START_SECONDS)
        except TimeoutError:
            process.kill()
            raise Unreachable(f"it was not ready within {_START_SECONDS:.0f} s; see the server's log") from None
        took = self._clock.monotonic() - self._began
        _log.info("the embedded services are ready after %.1f s (process %d)", took, process.pid)

    async def _watch(self, process: asyncio.subprocess.Process, ready: asyncio.Future[None]) -> None:
        """Log what the process says until it ends, and say how it ended."""
        assert process.stdout is not None
        assert process.stderr is not None
        last = ""

        async def complaints(stream: asyncio.StreamReader) -> None:
            nonlocal last
            while line := await _line(stream):
                text = line.decode(errors="replace").rstrip()
                last = text or last
                _log.warning("%s", text)

        errors = asyncio.get_running_loop().create_task(complaints(process.stderr))
        while line := await _line(process.stdout):
            if line.strip() == b"ready" and not ready.done():
                ready.set_result(None)
        status = await process.wait()
        await errors
        self._process, self._ready = None, None
        self._last_end = f"the embedded services ended with status {status}" + (f" ({last})" if last else "")
        if not self._stopping:
            _log.error("%s. What they held in memory is gone; the next request starts them anew", self._last_end)
        if not ready.done():
            ready.set_exception(Unreachable(self._last_end))
            ready.exception()


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line, cut where it is endless."""
    try:
        return await stream.readline()
    except ValueError:  # longer than the reader's limit: what there is of it
        return await stream.read(1024)
