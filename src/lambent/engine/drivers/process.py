"""No isolation: a function is a plain process of the server's own user. Only by explicit request."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from lambent.engine.drivers.merged import MergedLayers
from lambent.engine.runtimes import Runtime
from lambent.engine.sandbox import Assignment, Exit, SandboxError


class ProcessSandbox:
    """One process group. It sees what the server sees."""

    def __init__(self, driver: ProcessDriver, runtime: Runtime) -> None:
        self.id = f"process-{os.urandom(4).hex()}"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.log_fd, self._output = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.log_fd, False)
        self._driver = driver
        self._runtime = runtime
        self._assignment: Assignment | None = None
        self._opt: Path | None = None  # what stands in for /opt
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._exit: Callable[[Exit], None] | None = None

    def on_exit(self, callback: Callable[[Exit], None]) -> None:
        self._exit = callback

    async def assign(self, assignment: Assignment) -> None:
        self._opt = await self._driver.layers.directory(assignment.layers)
        self._assignment = assignment
        self._start()

    def _start(self) -> None:
        if self._assignment is None or self.log_fd < 0:
            raise SandboxError("the sandbox has ended")
        inside = self._driver.places(self._runtime, self._assignment.code)
        if self._opt is not None:
            inside["/opt"] = str(self._opt)
        environment = self._environment(self._assignment, inside)
        command = self._assignment.command or self._runtime.command(environment)
        process = subprocess.Popen(
            [_translate(argument, inside) for argument in command],
            cwd=inside["/var/task"],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env=environment,
            start_new_session=True,
        )
        self._process = process
        self._watch = asyncio.get_running_loop().create_task(self._wait(process))

    def _environment(self, assignment: Assignment, inside: dict[str, str]) -> dict[str, str]:
        """What the function sees: the runtime's own search paths lead to where things lie on this machine."""
        environment = dict(assignment.environment)
        for name, value in self._runtime.variables.items():
            if environment.get(name) == value:
                environment[name] = _translate(value, inside)
        environment |= {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.listener.getsockname()[1]}",
            "LAMBDA_TASK_ROOT": inside["/var/task"],
            "LAMBDA_RUNTIME_DIR": inside["/var/runtime"],
            "PATH": os.defpath,
        }
        environment.pop("LD_LIBRARY_PATH", None)
        if self._opt is not None:
            opt = str(self._opt)
            environment |= {"PATH": f"{os.defpath}:{opt}/bin", "LD_LIBRARY_PATH": f"{opt}/lib", "LAMBENT_LAYERS": opt}
        return environment

    async def _wait(self, process: subprocess.Popen[bytes]) -> None:
        code = await asyncio.to_thread(process.wait)
        if process is self._process:
            self._process = None
            if self._exit is not None:
                self._exit(Exit(code))

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def restart(self) -> None:
        await self.stop_runtime()
        self._start()

    async def stop_runtime(self) -> None:
        self._signal(signal.SIGKILL)
        process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(process.wait)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def peak_memory(self) -> int:
        if self._process is None:
            return 0
        with contextlib.suppress(OSError, IndexError, ValueError):
            status = Path(f"/proc/{self._process.pid}/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0]) * 1024
        return 0

    async def destroy(self) -> None:
        if self.log_fd < 0:
            return
        self._exit = None
        await self.stop_runtime()
        if self._watch is not None:
            await self._watch
        self.listener.close()
        os.close(self._output)
        os.close(self.log_fd)
        self.log_fd = -1
        self._driver.released(self)


class ProcessDriver:
    name = "process"
    weaknesses = (
        "functions are not isolated: they can read your files, reach your network and stop each other",
        "memory, processes and /tmp are not bounded",
    )

    def __init__(self, directory: Path, trees: Path) -> None:
        self.trees = trees
        self.layers = MergedLayers(directory / "layers", trees)
        self.runtime_directory = directory / "runtime"
        self._sandboxes: set[ProcessSandbox] = set()

    async def start(self) -> None:
        await asyncio.to_thread(self.layers.start)
        shutil.rmtree(self.runtime_directory, ignore_errors=True)
        self.runtime_directory.mkdir(parents=True, mode=0o700)

    def places(self, runtime: Runtime, code: str) -> dict[str, str]:
        """Where here lies what a sandbox has in these places."""
        directory = self.runtime_directory / runtime.name
        places = {"/var/task": str(self.trees / code), "/var/runtime": str(directory)}
        fresh = not directory.exists()
        for path, inside in runtime.binds:
            if not inside.startswith("/var/runtime/"):
                places[inside] = str(path)
            elif fresh:
                link = directory / inside.removeprefix("/var/runtime/")
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path)
        return places

    async def warm(self, runtime: Runtime) -> None:
        """Nothing waits: a plain process starts quickly enough and holds memory."""

    async def acquire(self, runtime: Runtime) -> ProcessSandbox:
        sandbox = ProcessSandbox(self, runtime)
        self._sandboxes.add(sandbox)
        return sandbox

    def released(self, sandbox: ProcessSandbox) -> None:
        self._sandboxes.discard(sandbox)

    async def stop(self) -> None:
        await asyncio.gather(*(sandbox.destroy() for sandbox in list(self._sandboxes)))


def _translate(text: str, places: dict[str, str]) -> str:
    pattern = "|".join(re.escape(inside) for inside in places)
    return re.sub(f"({pattern})(?![^/:*])", lambda found: places[found[1]], text)
