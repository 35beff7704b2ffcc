"""What the engine asks of any way to isolate: the `Driver` and `Sandbox` protocols, with every promise stated.

A driver hands out sandboxes that are ready before their function is known; assigning one is all that is left to do
on a cold start. An OCI runtime or another machine of a cluster is a driver, not another code path.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from lambent.engine.runtimes import Runtime


@dataclass(frozen=True, slots=True)
class Assignment:
    """What turns a waiting sandbox into the execution environment of one function."""

    code: str  # digest of the unpacked tree that becomes /var/task
    layers: tuple[str, ...]  # digests of the trees that together become /opt, lowest first
    environment: Mapping[str, str]  # the runtime's whole environment
    memory: int  # MiB
    ephemeral_storage: int  # MiB of /tmp
    extension_environment: Mapping[str, str] = field(default_factory=dict)  # what external extensions see of it
    file_systems: tuple[tuple[str, str], ...] = ()
    """ARNs of access points, each with the path below /mnt where it is mounted, writable."""
    image: tuple[str, ...] = ()
    """The trees that together become the root, lowest first: the digests of a container image's layers, or the
    directories of a runtime that came as an image, with the function's code and layers in it."""
    directory: str | None = None  # of an image: where its program starts
    command: tuple[str, ...] | None = None
    """What to execute, for a function that no waiting process can take. The first word may name several places,
    divided by colons: the first that is there is executed."""


@dataclass(frozen=True, slots=True)
class Launch:
    """An external extension: its process runs, or why there is none."""

    name: str  # of its file in /opt/extensions
    output: int = -1
    """Non-blocking read end of what it writes to standard output and error; whoever got it closes it.

    -1: its output is the sandbox's `log_fd`, where a driver cannot keep them apart."""
    error: str = ""  # "PermissionDenied", "TooManyExtensions" or "UnknownError"
    message: str = ""  # "fork/exec /opt/extensions/x: permission denied"


@dataclass(frozen=True, slots=True)
class Exit:
    """How the runtime or an extension ended: an exit status, or the negative number of the signal that killed it."""

    code: int
    out_of_memory: bool = False
    extension: str | None = None  # the name of the extension that it was
    error_type: str = ""  # of a runtime that could not be executed at all, with
    message: str = ""  # why


class SandboxError(Exception):
    """The machine would not give what a sandbox needs. The message says what to do."""


class MountError(SandboxError):
    """A file system that the function is configured with cannot be mounted."""


class Sandbox(Protocol):
    """One fenced set of processes. No harm in calling any method after `destroy`."""

    id: str
    listener: socket.socket
    """Accepts the runtime's connections to the Runtime API: only this sandbox can reach it."""
    door: socket.socket | None
    """Accepts the function's connections to the AWS API, at a port of this sandbox and nowhere else.

    None where there is no such socket: the function can reach the server's own endpoint, or nothing."""
    log_fd: int
    """Non-blocking read end of what the runtime writes to standard output and error."""

    def on_exit(self, callback: Callable[[Exit], None]) -> None:
        """Call back, on the loop, when the runtime or an external extension ends, unless `stop_runtime` ended it."""

    async def assign(self, assignment: Assignment) -> Sequence[Launch]:
        """Mount the function and start its external extensions. Where there is none, start its runtime.

        Once per sandbox. With extensions, the runtime waits for `start_runtime`.
        """

    async def start_runtime(self) -> None:
        """Start the runtime that has waited for the extensions to register."""

    async def restart(self) -> Sequence[Launch]:
        """Kill every process of the function and start as `assign` does; `/tmp` stays."""

    async def stop_runtime(self) -> None:
        """Kill every process of the function, its extensions too, and report no exit."""

    def terminate(self, number: int, extension: str | None = None) -> None:
        """Send a signal to the runtime, or to one extension. What is gone already does not mind."""

    async def open_socket(self) -> socket.socket:
        """An unconnected TCP socket of the sandbox's own network; `127.0.0.1` is its loopback."""

    def freeze(self) -> None:
        """No process of the sandbox gets any CPU time until `thaw`. Takes microseconds."""

    def thaw(self) -> None: ...

    def peak_memory(self) -> int:
        """Bytes: the most memory the function has used at once so far, file cache not counted."""

    async def destroy(self) -> None:
        """Kill everything and give back all that the sandbox held."""


@runtime_checkable
class ForkableSandbox(Protocol):
    """One whose initialised runtime may serve as the template of others."""

    @property
    def forkable(self) -> bool:
        """Whether this machine, and this sandbox, can do it at all."""

    async def hold(self, let_go: Callable[[], None]) -> str | None:
        """Let the runtime come to a fork of itself, once `let_go` has asked it to, and stand still there for good.

        Or why it cannot be forked: then the fork has failed and it goes on. SandboxError when it is of no use any more.
        """

    async def fork(self, memory: int) -> Sandbox:
        """A sandbox with a fork of the runtime that stands still, limited to `memory` MiB; it needs no assignment,
        has no second start, and keeps this sandbox from being destroyed for as long as it is there."""


class Driver(Protocol):
    """A way to isolate."""

    name: str

    @property
    def weaknesses(self) -> tuple[str, ...]:
        """What this driver cannot promise on this machine, one sentence each; empty for the full wall."""

    @property
    def no_file_systems(self) -> str:
        """Why no sandbox can have file systems, to be shown after a colon; "" when they can."""

    @property
    def no_images(self) -> str:
        """A sentence on why no container image can be the root of a sandbox; "" when one can."""

    async def start(self) -> None:
        """Get ready and clear what a killed server left behind. SandboxError when this machine will not do."""

    async def warm(self, runtime: Runtime) -> None:
        """Have sandboxes of `runtime` waiting. Returns when the first is."""

    async def acquire(self, runtime: Runtime) -> Sandbox:
        """A sandbox that waits for its assignment: a pooled one at once, else a new one."""

    async def stop(self) -> None:
        """Destroy everything that was handed out or is waiting."""
