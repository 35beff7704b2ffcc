"""What the engine must know of a runtime, whatever its language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from lambent.engine.runtimes.packages import Component

LIBRARIES = "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
SEARCH = "/usr/local/bin:/usr/bin/:/bin:/opt/bin"
WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"
_LOADER = ("LD_", "MALLOC_", "GLIBC_TUNABLES")  # read by the C library before anything else runs

Command = Callable[[Mapping[str, str]], tuple[str, ...]]


class Start(StrEnum):
    """What waits in a sandbox before its function is known."""

    FORK = "fork"  # a fork of the runtime's own zygote, its client loaded
    STEM = "stem"  # the started runtime with its client loaded: it reads its function from descriptor 3
    EXEC = "exec"  # nothing of the runtime: its command is executed for the function


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime that functions can run on here."""

    name: str  # "python3.12", as in a function's configuration
    version: str  # of the interpreter, "3.12.4"
    build: str  # as INIT_START tells it, "python:3.12.v4"
    source: Path  # where it lies on this machine, to be told
    start: Start
    command: Command
    """What starts a fresh runtime: an argument list inside the root, for the environment of its function."""
    binds: tuple[tuple[Path, str], ...] = ()  # what lies where in its root: (on this machine, inside)
    layers: tuple[Path, ...] = ()
    """Of the container image that is its root, lowest first, unpacked; where there are none, the machine's files are
    its root. It is executed (`Start.EXEC`), with the function's handler as the last argument."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Its own environment variables; a function's own win over them, the platform's over both."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names that it has for variables of the platform's: name → whose value it has."""
    waiting: tuple[str, ...] = ()
    """FORK: the zygote's interpreter and its flags. STEM: the command that waits."""
    start_up: tuple[str, ...] = ()
    """Beginnings of the names of variables that it reads only when it starts."""
    wrappable: bool = True  # whether it knows wrapper scripts
    reserves: int = 256 << 20
    """Bytes that an interpreter with threads and a compiler of its own sets aside and does not use: what a process may
    allocate above the function's memory where no cgroup bounds it."""

    def fresh_start(self, environment: Mapping[str, str]) -> tuple[str, ...] | None:
        """The command to execute for a function with this environment; None when what waits can take it."""
        wrapper = environment.get(WRAPPER) if self.wrappable else None
        if wrapper:
            return (wrapper, *self.command(environment))
        if self.start is Start.EXEC or self._needs_start(environment):
            return self.command(environment)
        return None

    def _needs_start(self, environment: Mapping[str, str]) -> bool:
        """Whether a variable that is read at the start differs from what the waiting process started with."""
        beginnings = (*_LOADER, *self.start_up)
        return any(
            value != self.variables.get(name) for name, value in environment.items() if name.startswith(beginnings)
        )


@dataclass(frozen=True, slots=True)
class Missing:
    """A runtime that Lambda has and this machine lacks."""

    name: str
    reason: str
    remedy: str | None  # the command that would bring it, where there is one
    lacking: tuple[Component, ...] = ()  # what a registry has of it
