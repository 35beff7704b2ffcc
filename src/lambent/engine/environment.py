"""One execution environment: a sandbox, its Runtime API, and where it stands."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from enum import StrEnum

from lambent.base.clock import Clock
from lambent.base.http import HttpServer, Sink
from lambent.control.records import Function
from lambent.engine.failures import describe_exit, platform_error, timed_out, too_large, unanswered
from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.output import Output
from lambent.engine.reports import reports_for
from lambent.engine.runtime_api import RuntimeApi
from lambent.engine.runtimes import Runtime
from lambent.engine.sandbox import Assignment, Exit, Sandbox, SandboxError
from lambent.engine.variables import environment

INIT_SECONDS = 10.0  # AWS's cap on the init phase of an on-demand environment
RUNTIME_CONNECTIONS = 8  # of one runtime; clients use one or two, and each can hold tens of megabytes of the server
FREEZE_SECONDS = 0.01  # an idle environment that gets no further event within this time is frozen

_log = logging.getLogger("lambent.environment")


class State(StrEnum):
    STARTING = "starting"  # the init phase
    IDLE = "idle"  # /next is parked
    BUSY = "busy"  # an event is with the runtime
    FINISHING = "finishing"  # answered; the runtime has not come back for the next event
    STALE = "stale"  # the runtime is gone or has overstayed; the sandbox can have a fresh one
    DEAD = "dead"


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.STARTING: frozenset({State.IDLE, State.STALE, State.DEAD}),
    State.IDLE: frozenset({State.BUSY, State.STALE, State.DEAD}),
    State.BUSY: frozenset({State.FINISHING, State.STALE, State.DEAD}),
    State.FINISHING: frozenset({State.IDLE, State.STALE, State.DEAD}),
    State.STALE: frozenset({State.STARTING, State.DEAD}),
    State.DEAD: frozenset(),
}

Changed = Callable[["Environment"], None]


class Environment:
    """Runs one invocation at a time of one version of a function."""

    def __init__(
        self,
        function: Function,
        runtime: Runtime,
        sandbox: Sandbox,
        clock: Clock,
        *,
        log_stream: str,
        write_log: Callable[[str], None],
        credentials: Mapping[str, str],
        changed: Changed,
    ) -> None:
        """`changed` is called on the loop after every change of state."""
        self.function = function
        self.runtime = runtime
        self.state = State.STARTING
        self.log_stream = log_stream
        self.invocations = 0
        self.idle_since = 0.0  # monotonic seconds
        self._sandbox = sandbox
        self._clock = clock
        self._write_log = write_log
        self._credentials = credentials
        self._changed = changed
        self._reports = reports_for(function, clock)
        self._output = Output(sandbox.log_fd, self._printed)
        self._loop = asyncio.get_running_loop()
        self._api = HttpServer(RuntimeApi(self), max_connections=RUNTIME_CONNECTIONS)
        self._give: Callable[[Invocation], None] | None = None
        self._current: Invocation | None = None
        self._timeout: asyncio.TimerHandle | None = None
        self._freezing: asyncio.TimerHandle | None = None
        self._init: asyncio.Future[Outcome | None] = self._loop.create_future()
        self._init_started = 0.0
        self.init_seconds: float | None = None
        """Seconds of the init phase, until the first invocation has reported it."""
        self._reaction: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        return self._sandbox.id

    @property
    def frozen(self) -> bool:
        return self.state is State.IDLE and self._freezing is None

    @property
    def pending(self) -> Invocation | None:
        """The invocation that waits for its turn here while the init phase is repeated for it."""
        return self._current

    def peak_memory(self) -> int:
        """Bytes."""
        return self._sandbox.peak_memory()

    def _enter(self, state: State) -> None:
        """The only way to another state."""
        if state is self.state:
            return
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"an environment cannot go from {self.state} to {state}")
        self.state = state
        self._changed(self)

    # The init phase

    async def start(self) -> Outcome | None:
        """Mount the function, start its runtime, and wait until it asks for its first event.

        None when it did, else how it failed. A failed environment is STALE.
        """
        self._init_started = self._clock.monotonic()
        self._sandbox.on_exit(self._exited)
        self._output.open()
        await self._api.start_on(self._sandbox.listener)
        arn = f"arn:aws:lambda:{self.function.key.region}::runtime:{runtime_hash(self.runtime)}"
        self._log(self._reports.init_start(self.runtime.build, arn), None)
        function = self.function
        variables = environment(function, self.runtime, self.log_stream, self._credentials)
        assignment = Assignment(
            code=function.code_digest,
            layers=tuple(layer.digest for layer in function.layers),
            environment=variables,
            memory=function.memory_size,
            ephemeral_storage=function.ephemeral_storage,
            command=self.runtime.fresh_start(variables),
        )
        await self._sandbox.assign(assignment)
        return await self._await_init("init", INIT_SECONDS)

    async def restart(self, seconds: float) -> Outcome | None:
        """Run the init phase again in the same sandbox; `seconds` bounds it, as it now counts as invoke time."""
        self._enter(State.STARTING)
        self._init = self._loop.create_future()
        self._init_started = self._clock.monotonic()
        await self._sandbox.restart()
        return await self._await_init("invoke", seconds)

    async def _await_init(self, phase: str, seconds: float) -> Outcome | None:
        try:
            failure = await asyncio.wait_for(asyncio.shield(self._init), seconds)
        except TimeoutError:
            failure = Outcome(b"", "Unhandled", None, "timeout")
        duration = self._clock.monotonic() - self._init_started
        if failure is None:
            self.init_seconds = duration if phase == "init" else None
            return None
        self._output.drain()
        await self._stop_runtime()
        self._log(self._reports.init_report(duration, phase, failure), self._current)
        return failure

    async def _stop_runtime(self) -> None:
        self._give = None
        await self._sandbox.stop_runtime()
        self._output.drain()
        if self.state is not State.DEAD:
            self._enter(State.STALE)

    def init_failed(self, error_type: str, body: bytes) -> bool:
        if self._init.done():
            return False
        self._init.set_result(Outcome(body, "Unhandled", error_type, "error"))
        return True

    # Invocations

    def invoke(self, invocation: Invocation) -> None:
        """Hand the event to the parked runtime. The environment must be IDLE; `invocation.done` tells the end."""
        give, self._give = self._give, None
        if self.state is not State.IDLE or give is None:
            raise RuntimeError(f"an environment that is {self.state} takes no event")
        if self._freezing is not None:
            self._freezing.cancel()
            self._freezing = None
        self._sandbox.thaw()
        self._enter(State.BUSY)
        self.begin(invocation)
        remaining = invocation.deadline_epoch - self._clock.time()
        self._timeout = self._loop.call_later(remaining, self._overdue)
        give(invocation)

    def begin(self, invocation: Invocation) -> None:
        """The invocation's clock starts here, unless a repeated init phase was already part of it."""
        self._current = invocation
        if not invocation.started:
            invocation.started = self._clock.monotonic()
            invocation.deadline_epoch = self._clock.time() + self.function.timeout
            self._log(self._reports.start(invocation), invocation)

    def runtime_ready(self, give: Callable[[Invocation], None]) -> None:
        self._give = give
        if not self._init.done():
            self._init.set_result(None)
        if self.state is State.BUSY and self._current is not None:
            # The runtime asks for more without having answered: nothing will ever answer this one.
            self._conclude(unanswered(self._current))
        if self.state in (State.STARTING, State.FINISHING):
            self.idle_since = self._clock.monotonic()
            self._freezing = self._loop.call_later(FREEZE_SECONDS, self._freeze)
            self._enter(State.IDLE)

    def _freeze(self) -> None:
        self._freezing = None
        if self.state is State.IDLE:
            self._output.drain()
            self._sandbox.freeze()

    def _waits_for(self, request_id: str) -> bool:
        current = self._current
        return current is not None and current.request_id == request_id and not current.done.done()

    def runtime_streams(self, request_id: str) -> Sink | None:
        if not self._waits_for(request_id) or self._current is None:
            return None
        pipe = self._current.pipe
        return None if pipe is None or pipe.started else pipe

    def runtime_answered(self, request_id: str, outcome: Outcome) -> bool:
        if not self._waits_for(request_id):
            return False
        self._conclude(outcome)
        return True

    def runtime_failed(self, request_id: str, error_type: str, body: bytes) -> bool:
        if not self._waits_for(request_id):
            return False
        self._conclude(Outcome(body, "Unhandled", None, "error"))
        return True

    def runtime_too_large(self, request_id: str, limit: int) -> bool:
        return self.runtime_answered(request_id, too_large(limit))

    def runtime_refused(self, request_id: str, error_type: str, message: str) -> bool:
        return self.runtime_answered(request_id, platform_error(request_id, error_type, message, "error"))

    def _conclude(self, outcome: Outcome, state: State = State.FINISHING) -> None:
        """Settle the current invocation, write its last lines, and go on to `state`."""
        invocation = self._current
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None
        if invocation is None:
            return
        self._output.drain()
        self._current = None
        self.invocations += 1
        invocation.answered = self._clock.monotonic()
        self._log(self._reports.end(invocation), invocation)
        init_seconds, self.init_seconds = self.init_seconds, None
        peak = self._sandbox.peak_memory()
        self._log(self._reports.report(invocation, outcome, peak, init_seconds), invocation)
        invocation.finish(outcome)
        if self.state is State.BUSY:
            self._enter(state)

    def give_up(self) -> None:
        """Let go of the invocation that waits here; somebody else takes it."""
        self._current = None

    def fail(self, invocation: Invocation, outcome: Outcome) -> None:
        """Settle an invocation that never reached the runtime because the init phase failed."""
        self._current = invocation
        self._conclude(outcome)

    # The ends

    def _overdue(self) -> None:
        self._timeout = None
        if self._current is not None and self._reaction is None:
            self._reaction = self._loop.create_task(self._time_out(self._current))

    async def _time_out(self, invocation: Invocation) -> None:
        try:
            await self._sandbox.stop_runtime()
        except SandboxError as error:
            _log.error("the sandbox of %s was lost: %s", self.function.arn, error)
        finally:
            self._reaction = None
        if invocation is not self._current:
            return
        self._give = None
        self._output.drain()
        self._log(self._reports.timed_out(invocation), invocation)
        self._conclude(timed_out(invocation), State.STALE)

    def _exited(self, exit: Exit) -> None:
        self._give = None
        self._output.drain()
        if self.state is State.DEAD:
            return
        request_id = self._current.request_id if self._current else ""
        outcome = platform_error(request_id, exit.error_type or "Runtime.ExitError", describe_exit(exit))
        if not self._init.done():
            self._init.set_result(outcome)
            return
        if self._current is not None:
            self._conclude(outcome, State.STALE)
        elif self.state is not State.STALE:
            self._enter(State.STALE)

    async def destroy(self) -> None:
        """End it all. An invocation that is still here ends with the environment."""
        if self.state is State.DEAD:
            return
        for timer in (self._timeout, self._freezing):
            if timer is not None:
                timer.cancel()
        self._timeout = self._freezing = None
        self._output.drain()
        self._output.close()
        if self._current is not None:
            message = "The execution environment was shut down"
            self._conclude(platform_error(self._current.request_id, "Sandbox.Failure", message), State.STALE)
        if not self._init.done():
            self._init.set_result(platform_error("", "Sandbox.Failure", "The execution environment was shut down"))
        self._enter(State.DEAD)
        await self._api.stop(0)
        await self._sandbox.destroy()

    # Logs

    def _printed(self, message: str) -> None:
        self._log(message, self._current)

    def _log(self, message: str | None, invocation: Invocation | None) -> None:
        if message is None:
            return
        self._write_log(message)
        if invocation is not None and invocation.tail is not None:
            invocation.tail.append(message)


def runtime_hash(runtime: Runtime) -> str:
    return hashlib.sha256(runtime.name.encode()).hexdigest()
