"""The processes of one execution environment: its runtime and its extensions, what they print and how they end.

They are started together and end together; each such generation begins with a new registry of extensions.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence

from lambent.base.clock import Clock
from lambent.engine.extensions import Registry
from lambent.engine.output import Output
from lambent.engine.sandbox import Exit, Launch, Sandbox
from lambent.engine.shutdown import Shutdown
from lambent.engine.telemetry import EXTENSION, FUNCTION, Telemetry

Take = Callable[[Sequence[str]], None]


class Processes:
    """A sandbox as its environment sees it."""

    def __init__(
        self, sandbox: Sandbox, clock: Clock, telemetry: Telemetry, *, take: Take, exited: Callable[[Exit], None]
    ) -> None:
        """`take` gets all log messages; `exited` is told of every end that nobody has ordered."""
        self.extensions = Registry()
        self._sandbox = sandbox
        self._clock = clock
        self._telemetry = telemetry
        self._take = take
        self._exited = exited
        self._output = Output(sandbox.log_fd, self._function_printed)
        self._extension_outputs: list[tuple[int, Output]] = []
        self._registered = asyncio.Event()
        self._runtime_runs = False
        self._early: list[Exit] = []  # ends of extensions that are not known yet
        self._shutdown: Shutdown | None = None

    def _function_printed(self, messages: Sequence[str]) -> None:
        self._printed(FUNCTION, messages)

    def _extension_printed(self, messages: Sequence[str]) -> None:
        self._printed(EXTENSION, messages)

    def _printed(self, kind: str, messages: Sequence[str]) -> None:
        self._take(messages)
        if self._telemetry.active:
            for message in messages:
                self._telemetry.emit(kind, message)

    # Coming

    async def start(self, begin: Callable[[], Awaitable[Sequence[Launch]]], extensions: Registry) -> str | None:
        """Start a generation with `begin`; without external extensions its runtime runs at once.

        The message of the first of the `extensions` that could not be launched, or None.
        """
        self.extensions = extensions
        self._registered.clear()
        self._output.open()
        self._sandbox.on_exit(self._ended)
        self._runtime_runs, self._early = True, []
        launches = await begin()
        self._runtime_runs = self._runtime_runs and not launches
        message = None
        for launch in launches:
            self.extensions.launch(launch.name, self._clock.uuid(), launch.error or None)
            if launch.output >= 0:
                output = Output(launch.output, self._extension_printed)
                output.open()
                self._extension_outputs.append((launch.output, output))
            message = message or launch.message or None
        early, self._early = self._early, []
        for exit in early:
            self._ended(exit)
        return message

    def extension_registered(self) -> None:
        if not self.extensions.awaited:
            self._registered.set()

    async def start_runtime(self) -> None:
        """Once every external extension has registered."""
        await self._registered.wait()
        self._runtime_runs = True
        await self._sandbox.start_runtime()

    # At work

    def drain(self) -> None:
        """Take what has been printed so far."""
        self._output.drain()
        for _fd, output in self._extension_outputs:
            output.drain()

    def _ended(self, exit: Exit) -> None:
        if exit.extension is None:
            self._runtime_runs = False
        if self._shutdown is not None:
            self._shutdown.exited(exit)
        elif exit.extension is not None and self.extensions.named(exit.extension) is None:
            self._early.append(exit)
        elif exit.extension is None or self.extensions.exited(exit.extension) is not None:
            self.drain()
            self._exited(exit)

    # Going

    async def stop(self) -> None:
        """Kill them all."""
        self._runtime_runs = False
        await self._sandbox.stop_runtime()
        self.drain()

    async def shut_down(self, reason: str) -> None:
        """End them through the shutdown phase; their telemetry ends with them."""
        self._telemetry.flush()
        runs = self._runtime_runs
        self._shutdown = Shutdown(self._sandbox, self.extensions, self._clock, runtime_runs=runs)
        try:
            await self._shutdown.run(reason)
        finally:
            self._shutdown = None
            self._runtime_runs = False
            self._close_extensions()
            await self._telemetry.stop()

    def _close_extensions(self) -> None:
        self.drain()
        outputs, self._extension_outputs = self._extension_outputs, []
        for fd, output in outputs:
            output.close()
            os.close(fd)

    async def destroy(self) -> None:
        """Give back all that the sandbox held."""
        self._close_extensions()
        self._output.close()
        await self._telemetry.stop()
        await self._sandbox.destroy()
