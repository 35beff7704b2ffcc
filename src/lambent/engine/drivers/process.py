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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lambent.engine.drivers.merged import MergedLayers
from lambent.engine.extensions import LIMIT as EXTENSION_LIMIT
from lambent.engine.runtimes import Runtime
from lambent.engine.sandbox import Assignment, Exit, Launch, MountError, SandboxError

_OF_THE_RUNTIME = ("LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "LAMBENT_LAYERS")


class _Program:
    """One process with a group of its own, and what tells of its end."""

    def __init__(self, process: subprocess.Popen[bytes], exited: Callable[[int], None]) -> None:
        self.pid = process.pid
        self._process = process
        self._told = False
        self._exited = exited
        self.watch = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        await _end_of(self._process.pid)
        code = self._process.wait()
        if not self._told:
            self._exited(code)

    def signal(self, number: int) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def kill(self) -> None:
        """End it without a word."""
        self._told = True
        self.signal(signal.SIGKILL)
        await self.watch


async def _end_of(pid: int) -> None:
    """Until a child that nobody has waited for yet has ended. Holds no thread: the loop has few for everything."""
    gone = asyncio.Event()
    pidfd = os.pidfd_open(pid)
    try:
        asyncio.get_running_loop().add_reader(pidfd, gone.set)
        await gone.wait()
    finally:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)


class ProcessSandbox:
    """The runtime and its extensions, each a process group. They see what the server sees."""

    def __init__(self, driver: ProcessDriver, runtime: Runtime) -> None:
        self.id = f"process-{os.urandom(4).hex()}"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.door: socket.socket | None = None
        self.log_fd, self._output = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.log_fd, False)
        self._driver = driver
        self._runtime = runtime
        self._assignment: Assignment | None = None
        self._opt: Path | None = None  # what stands in for /opt
        self._runtime_process: _Program | None = None
        self._extensions: dict[str, _Program] = {}
        self._exit: Callable[[Exit], None] | None = None

    def on_exit(self, callback: Callable[[Exit], None]) -> None:
        self._exit = callback

    async def assign(self, assignment: Assignment) -> Sequence[Launch]:
        if assignment.file_systems:
            raise MountError(ProcessDriver.no_file_systems)
        if assignment.image:
            raise SandboxError(ProcessDriver.no_images)
        self._opt = await self._driver.layers.directory(assignment.layers)
        self._assignment = assignment
        return await self._start()

    async def _start(self) -> Sequence[Launch]:
        if self._assignment is None or self.log_fd < 0:
            raise SandboxError("the sandbox has ended")
        paths = _extensions(self._opt)
        if len(paths) > EXTENSION_LIMIT:
            return [Launch(path.name, -1, "TooManyExtensions", "ErrTooManyExtensions") for path in paths]
        launches = [self._launch(path, self._assignment) for path in paths]
        if not launches:
            await self.start_runtime()
        return launches

    def _launch(self, path: Path, assignment: Assignment) -> Launch:
        output, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(output, False)
        variables = self._environment(assignment.extension_environment, self._inside(assignment))
        environment = {name: value for name, value in variables.items() if name not in _OF_THE_RUNTIME}
        name = path.name
        try:
            process = subprocess.Popen(
                [path],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            kind = "PermissionDenied" if isinstance(error, PermissionError) else "UnknownError"
            reason = (error.strerror or "").lower()
            return Launch(name, output, kind, f"fork/exec /opt/extensions/{name}: {reason}")
        finally:
            os.close(writer)
        self._extensions[name] = _Program(process, lambda code: self._ended(name, code))
        return Launch(name, output)

    def _ended(self, extension: str | None, code: int) -> None:
        if extension is None:
            self._runtime_process = None
        else:
            del self._extensions[extension]
        if self._exit is not None:
            self._exit(Exit(code, extension=extension))

    def _inside(self, assignment: Assignment) -> dict[str, str]:
        inside = self._driver.places(self._runtime, assignment.code)
        if self._opt is not None:
            inside["/opt"] = str(self._opt)
        return inside

    async def start_runtime(self) -> None:
        if self._assignment is None or self.log_fd < 0:
            raise SandboxError("the sandbox has ended")
        inside = self._inside(self._assignment)
        environment = self._environment(self._assignment.environment, inside)
        told = self._assignment.command or self._runtime.command(environment)
        command = [_translate(argument, inside) for argument in told]
        places = command[0].split(":")
        found = _files(places)
        if not found and len(places) > 1:
            self._fail(f"Couldn't find valid bootstrap(s): [{told[0].replace(':', ' ')}]")
            return
        try:
            process = subprocess.Popen(  # noqa: ASYNC220  returns as soon as the child runs
                [*(found or places)[:1], *command[1:]],
                cwd=inside["/var/task"],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            place = told[0].split(":")[places.index(found[0]) if found else 0]
            self._fail(f"fork/exec {place}: {(error.strerror or '').lower()}")
            return
        self._runtime_process = _Program(process, lambda code: self._ended(None, code))

    def _fail(self, message: str) -> None:
        """There is nothing to execute: tell of it as of any other end of the runtime."""
        end = Exit(1, error_type="Runtime.InvalidEntrypoint", message=message)
        asyncio.get_running_loop().call_soon(lambda: self._exit(end) if self._exit is not None else None)

    def _environment(self, variables: Mapping[str, str], inside: dict[str, str]) -> dict[str, str]:
        """What the function sees: the runtime's own search paths lead to where things lie on this machine."""
        environment = dict(variables)
        for name, value in self._runtime.variables.items():
            if environment.get(name) == value:
                environment[name] = _translate(value, inside)
        environment |= {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.listener.getsockname()[1]}",
            "LAMBDA_TASK_ROOT": inside["/var/task"],
            "LAMBDA_RUNTIME_DIR": inside["/var/runtime"],
            "PATH": os.defpath,
        }
        for name in ("LD_LIBRARY_PATH", "_LAMBDA_TELEMETRY_LOG_FD"):  # its output is all that it has
            environment.pop(name, None)
        if self._opt is not None:
            opt = str(self._opt)
            environment |= {"PATH": f"{os.defpath}:{opt}/bin", "LD_LIBRARY_PATH": f"{opt}/lib", "LAMBENT_LAYERS": opt}
        return environment

    def _programs(self) -> list[_Program]:
        runtime = [self._runtime_process] if self._runtime_process is not None else []
        return [*runtime, *self._extensions.values()]

    def _signal(self, number: int) -> None:
        for program in self._programs():
            program.signal(number)

    def terminate(self, number: int, extension: str | None = None) -> None:
        program = self._runtime_process if extension is None else self._extensions.get(extension)
        if program is not None:
            program.signal(number)

    async def restart(self) -> Sequence[Launch]:
        await self.stop_runtime()
        return await self._start()

    async def stop_runtime(self) -> None:
        programs = self._programs()
        self._runtime_process, self._extensions = None, {}
        for program in programs:
            await program.kill()

    async def open_socket(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        made.setblocking(False)
        return made

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def peak_memory(self) -> int:
        total = 0
        for program in self._programs():
            with contextlib.suppress(OSError, IndexError, ValueError):
                status = Path(f"/proc/{program.pid}/status").read_text()
                total += int(status.split("VmHWM:")[1].split()[0]) * 1024
        return total

    async def destroy(self) -> None:
        if self.log_fd < 0:
            return
        self._exit = None
        await self.stop_runtime()
        self.listener.close()
        os.close(self._output)
        os.close(self.log_fd)
        self.log_fd = -1
        self._driver.released(self)


class ProcessDriver:
    name = "process"
    no_file_systems = "file systems (FileSystemConfigs) take an isolation that can mount: not --isolation process"
    no_images = "A container image takes a root of its own: it runs in a sandbox only, not with --isolation process"
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
                place = directory / inside.removeprefix("/var/runtime/")
                place.parent.mkdir(parents=True, exist_ok=True)
                _put(path, place)
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


def _files(places: Sequence[str]) -> list[str]:
    return [place for place in places if os.path.isfile(place)]


def _put(path: Path, place: Path) -> None:
    """A file as a file: Node.js would look for its neighbours where a symbolic link leads."""
    if path.is_dir():
        place.symlink_to(path)
        return
    try:
        os.link(path, place)
    except OSError:  # another disk, or somebody else's file
        shutil.copyfile(path, place)


def _extensions(opt: Path | None) -> list[Path]:
    """The files that are external extensions."""
    if opt is None or not (opt / "extensions").is_dir():
        return []
    return sorted(path for path in (opt / "extensions").iterdir() if path.is_symlink() or not path.is_dir())


def _translate(text: str, places: dict[str, str]) -> str:
    pattern = "|".join(re.escape(inside) for inside in places)
    return re.sub(f"({pattern})(?![^/:*])", lambda found: places[found[1]], text)
