"""One execution environment: a sandbox, its Runtime API, and where it stands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from lambent.base.clock import Clock
from lambent.base.http import HttpServer, Sink
from lambent.control.records import Function
from lambent.engine.assignments import assignment_of, subject_of
from lambent.engine.container_credentials import ContainerCredentials
from lambent.engine.doors import Door, Doors
from lambent.engine.extensions import Registry
from lambent.engine.extensions_api import ExtensionsApi, invoke_event
from lambent.engine.failures import (
    describe_exit,
    describe_extension_exit,
    platform_error,
    timed_out,
    too_large,
    unanswered,
)
from lambent.engine.init_phase import INIT_SECONDS, InitPhase
from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.invoke_phase import InvokePhase
from lambent.engine.platform_events import PlatformEvents
from lambent.engine.processes import Processes
from lambent.engine.restore_phase import RESTORE_SECONDS, SNAP_START, RestorePhase
from lambent.engine.runtime_api import RuntimeApi
from lambent.engine.runtimes import Runtime
from lambent.engine.sandbox import Exit, ForkableSandbox, Launch, Sandbox, SandboxError
from lambent.engine.shutdown import FAILURE, SPINDOWN, TIMEOUT
from lambent.engine.states import TRANSITIONS, State
from lambent.engine.telemetry import Telemetry
from lambent.engine.telemetry_buffer import Allowance

AHEAD_SECONDS = 130.0  # the cap of an init phase before any invocation; a longer function timeout counts
RUNTIME_CONNECTIONS = 8  # of one runtime; clients use one or two, and each can hold tens of megabytes of the server
EXTENSION_CONNECTIONS = 2  # more for every extension: one may be parked, one at work
FREEZE_SECONDS = 0.05  # an idle environment that gets no further event within this time is frozen

NO_CLIENT = (
    "The image's program ended before it asked for an event. It must hold a runtime interface client for its language"
    " (such as awslambdaric for Python) and start it by its entry point.\n"
)

_log = logging.getLogger("lambent.environment")


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
        write_lines: Callable[[Sequence[str]], None] | None = None,
        credentials: Mapping[str, str],
        changed: Changed,
        variables: Mapping[str, str] | None = None,
        allowance: Allowance | None = None,
        initialization: str = "on-demand",
        renew: Callable[[], Mapping[str, str]] | None = None,
        doors: Doors | None = None,
        template: Environment | None = None,
        forks: bool = False,
    ) -> None:
        """`write_log` takes a message of the log, `write_lines` several at once. `variables` are the function's own;
        `changed` is called on the loop after every change of state.

        `allowance` bounds the telemetry that all environments of a server hold back together. `initialization` is
        what AWS_LAMBDA_INITIALIZATION_TYPE says. `renew` gives fresh credentials to an environment that is restored.
        `doors` lead to this server's AWS API; without them the function finds no endpoint.
        `template` is the one that its sandbox was forked from. `forks`: it is to be a template itself, if it can.
        """
        self.function = function
        self.runtime = runtime
        self.state = State.STARTING
        self.log_stream = log_stream
        self.init_took: float | None = None  # seconds of the init phase of an environment's own start
        self.idle_since = 0.0  # monotonic seconds
        self._sandbox = sandbox
        self._clock = clock
        self._write_log = write_log
        self._write_lines = write_lines or partial(_one_by_one, write_log)
        self._variables = variables
        self._credentials = credentials
        self._changed = changed
        self._initialization = initialization
        self._container_credentials: ContainerCredentials = ContainerCredentials(
            clock,
            credentials,
            renew or (lambda: credentials),
            None if template is None else template._container_credentials.token,
        )
        self._doors = doors
        self._door: Door | None = None
        self._go_on: Callable[[], None] | None = None
        self._fork: Callable[[], None] | None = None
        self.forked = template is not None
        self._forkless = asyncio.Event()  # a fork was asked for, and the runtime has gone on instead
        self._forks = forks and isinstance(sandbox, ForkableSandbox) and sandbox.forkable
        self._restore: RestorePhase | None = None
        self._loop = asyncio.get_running_loop()
        parse = function.logging.log_format == "JSON"
        self.telemetry = Telemetry(clock, sandbox.open_socket, parse=parse, allowance=allowance)
        self._processes = Processes(sandbox, clock, self.telemetry, take=self._printed, exited=self._exited)
        subject = subject_of(function, runtime, log_stream, initialization)
        self.events = PlatformEvents(subject, clock, self.telemetry, self._log)
        api = RuntimeApi(self, ExtensionsApi(self, clock.uuid).routes)
        self._api = HttpServer(api, max_connections=RUNTIME_CONNECTIONS, gathers_answers=True)
        self._give: Callable[[Invocation], None] | None = None
        self._work = InvokePhase(
            clock,
            self._processes,
            self.events,
            seconds=function.timeout,
            peak_memory=sandbox.peak_memory,
            overdue=self._overdue,
        )
        self._freezing: asyncio.TimerHandle | None = None
        self.extensions = Registry()
        self._init = InitPhase("init", clock, self._processes, self.events, self.extensions)
        self._reaction: asyncio.Task[None] | None = None
        self._end: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        return self._sandbox.id

    @property
    def frozen(self) -> bool:
        return self.state in (State.IDLE, State.SNAPSHOT) and self._freezing is None

    @property
    def invocations(self) -> int:
        """How many have been reported."""
        return self._work.reported

    @property
    def pending(self) -> Invocation | None:
        """The invocation that waits for its turn here while the init phase is repeated for it."""
        return self._work.current

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
        """Mount the function, start its extensions and its runtime, and wait until all ask for their first event.

        None when they did, else how it failed. A failed environment is STALE.
        """
        await self._api.start_on(self._sandbox.listener)
        endpoint = None if self._doors is None else await self._open_door(self._doors)
        snapshot = self._initialization == SNAP_START
        credentials = self._container_credentials.variables if snapshot else self._credentials
        assignment = assignment_of(
            self.function, self.runtime, self.log_stream, credentials, self._initialization, self._variables, endpoint
        )
        ahead = self._initialization != "on-demand"  # nobody waits for it
        seconds = max(AHEAD_SECONDS, self.function.timeout) if ahead else INIT_SECONDS
        return await self._initialise("init", seconds, lambda: self._sandbox.assign(assignment))

    async def _open_door(self, doors: Doors) -> str:
        """Where the function reaches the AWS API."""
        if self._sandbox.door is None:
            return await doors.url()
        self._door = doors.door(self._sandbox.door)
        port = self._sandbox.door.getsockname()[1]
        return f"http://127.0.0.1:{port}"  # an address and no name: SDKs then put buckets into the path

    async def restart(self, seconds: float) -> Outcome | None:
        """Run the init phase again in the same sandbox; `seconds` bounds it, as it now counts as invoke time."""
        self._enter(State.STARTING)
        return await self._initialise("invoke", seconds, self._sandbox.restart)

    async def _initialise(
        self, phase: str, seconds: float, begin: Callable[[], Awaitable[Sequence[Launch]]]
    ) -> Outcome | None:
        async def counted() -> Sequence[Launch]:
            launches = await begin()
            self._allow_connections(len(launches))
            return launches

        self._give = self._go_on = self._fork = None
        self.telemetry.begin()
        self.extensions = Registry()
        self._init = InitPhase(phase, self._clock, self._processes, self.events, self.extensions, told=not self.forked)
        failure = await self._init.run(counted, seconds, self._work.request_id)
        if failure is not None and self.state is not State.DEAD:
            await self._init_failed(failure)
        return failure

    async def _init_failed(self, failure: Outcome) -> None:
        self._give = None
        self._processes.drain()
        if self.function.image is not None and failure.error_type == "Runtime.ExitError":
            self._log(NO_CLIENT, self._work.current)
        if self.extensions.members:
            self._init_over(failure)
            await self._shut_down(TIMEOUT if failure.status == "timeout" else FAILURE)
            return
        await self._processes.stop()
        self._init_over(failure)
        if self.state is not State.DEAD:
            self._enter(State.STALE)

    def _init_over(self, failure: Outcome | None) -> None:
        """Nobody can register or subscribe from here on."""
        seconds = self._init.report(failure, self._work.current)
        told = failure is None and self._init.name == "init" and self._initialization != SNAP_START
        self._work.init_seconds = self.init_took = seconds if told else None
        self.extensions.open = False
        self.telemetry.close()

    # The snapshot and its restore

    def snapshot_ready(self, go_on: Callable[[], None], fork: Callable[[], None] | None = None) -> bool:
        if self.state is State.TEMPLATE and self._go_on is None:  # it could not be forked
            self._go_on = go_on
            self._forkless.set()
            return True
        if self._initialization != SNAP_START or self.state is not State.STARTING or self._init.over:
            return False
        if self._init.name == "invoke":  # an invocation waits for this init phase
            go_on()
            return True
        self._go_on = go_on
        self._fork = fork if self._forks else None
        self.extensions.open = False
        if not self.forked:
            self.events.init_runtime_done(self._init.name, None)
        self._settle()
        return True

    async def become_template(self) -> str | None:
        """None when it has; else why not, and it is a snapshot of the ordinary kind. SandboxError when it is lost."""
        fork, self._fork, self._go_on = self._fork, None, None
        if self.state is not State.TEMPLATE or fork is None or not isinstance(self._sandbox, ForkableSandbox):
            raise SandboxError(f"an environment that is {self.state} cannot be a template")
        problem = await self._sandbox.hold(fork)
        if problem is None:
            return None
        try:
            await asyncio.wait_for(self._forkless.wait(), RESTORE_SECONDS)
        except TimeoutError as error:
            raise SandboxError("the runtime does not wait to be restored") from error
        self._freezing = self._loop.call_later(FREEZE_SECONDS, self._freeze)
        self._enter(State.SNAPSHOT)
        return problem

    async def fork(self) -> Sandbox:
        """A sandbox for another environment of this version, at the point where this one stands."""
        if self.state is not State.TEMPLATE or not isinstance(self._sandbox, ForkableSandbox):
            raise SandboxError(f"an environment that is {self.state} cannot be forked")
        return await self._sandbox.fork(self.function.memory_size)

    async def restore(self) -> Outcome | None:
        """Go on from the snapshot until the runtime asks for its first event: None, or how that failed (then STALE)."""
        go_on, self._go_on = self._go_on, None
        if self.state is not State.SNAPSHOT or go_on is None:
            raise SandboxError(f"an environment that is {self.state} cannot be restored")
        self._container_credentials.renew()
        self._wake()
        self._restore = RestorePhase(self._clock, self.events)
        self._enter(State.RESTORING)
        failure = await self._restore.run(go_on)
        if failure is not None:
            await self._lose_runtime()
        return failure

    async def _lose_runtime(self) -> None:
        self._give = None
        await self._processes.stop()
        if self.state is not State.DEAD:
            self._enter(State.STALE)

    def restore_failed(self, error_type: str, body: bytes) -> bool:
        if self.state is not State.RESTORING or self._restore is None:
            return False
        return self._restore.end(Outcome(body, "Unhandled", error_type, "error"))

    def container_credentials(self, token: str) -> Mapping[str, str] | None:
        return self._container_credentials.answer(token) if self._initialization == SNAP_START else None

    def init_failed(self, error_type: str, body: bytes) -> bool:
        return self._init.fail(Outcome(body, "Unhandled", error_type, "error"))

    # Extensions

    def _allow_connections(self, extensions: int) -> None:
        self._api.max_connections = RUNTIME_CONNECTIONS + EXTENSION_CONNECTIONS * extensions

    def extension_registered(self) -> None:
        self._allow_connections(len(self.extensions.members))
        self._processes.extension_registered()

    def extension_ready(self) -> None:
        self._settle()

    def _settle(self) -> None:
        """A phase ends when the runtime and every extension have asked for their next event."""
        if self.extensions.busy or (self._give is None and self._go_on is None):
            return
        resting = State.IDLE
        if self.state is State.RESTORING:
            if self._give is None or self._restore is None or not self._restore.end(None):
                return
            self._work.restore_seconds = self._restore.seconds
        elif self.state is State.STARTING:
            if self._init.over:
                return  # it has failed already
            if self._go_on is not None:
                resting = State.SNAPSHOT if self._fork is None else State.TEMPLATE
            self._init_over(None)
            self._init.succeed()
        elif self.state is not State.FINISHING:
            return
        if self._work.held is not None:
            self._work.report_held()
        self.idle_since = self._clock.monotonic()
        if resting is not State.TEMPLATE:
            self._freezing = self._loop.call_later(FREEZE_SECONDS, self._freeze)
        self._enter(resting)

    # Invocations

    def invoke(self, invocation: Invocation) -> None:
        """Hand the event to the parked runtime. The environment must be IDLE; `invocation.done` tells the end."""
        give, self._give = self._give, None
        if self.state is not State.IDLE or give is None:
            raise RuntimeError(f"an environment that is {self.state} takes no event")
        self._wake()
        self._enter(State.BUSY)
        self._work.give(invocation)
        give(invocation)
        if self.extensions.members:
            self.extensions.invoke(invoke_event(invocation))

    def begin(self, invocation: Invocation) -> None:
        """The invocation's clock starts here, unless a repeated init phase was already part of it."""
        self._work.begin(invocation)

    def runtime_ready(self, give: Callable[[Invocation], None]) -> None:
        self._give = give
        if self.state is State.BUSY and self._work.current is not None:
            # The runtime asks for more without having answered: nothing will ever answer this one.
            self._conclude(unanswered(self._work.current))
        if self.state is State.STARTING and not self._init.over:
            self.extensions.open = False
            self.events.init_runtime_done(self._init.name, None)
        elif self._work.held is not None:
            self.events.runtime_done(*self._work.held, self._clock.monotonic())
        self._settle()

    def _freeze(self) -> None:
        self._freezing = None
        if self.state in (State.IDLE, State.SNAPSHOT):
            self._processes.drain()
            self.telemetry.pause()
            self._sandbox.freeze()

    def _wake(self) -> None:
        if self._freezing is not None:
            self._freezing.cancel()
            self._freezing = None
        else:
            self._thaw()

    def _thaw(self) -> None:
        self._sandbox.thaw()
        self.telemetry.resume()

    def runtime_streams(self, request_id: str) -> Sink | None:
        if not self._work.waits_for(request_id) or self._work.current is None:
            return None
        pipe = self._work.current.pipe
        return None if pipe is None or pipe.started else pipe

    def runtime_answered(self, request_id: str, outcome: Outcome) -> bool:
        if not self._work.waits_for(request_id):
            return False
        self._conclude(outcome)
        return True

    def runtime_failed(self, request_id: str, error_type: str, body: bytes) -> bool:
        if not self._work.waits_for(request_id):
            return False
        self._conclude(Outcome(body, "Unhandled", None, "error"))
        return True

    def runtime_too_large(self, request_id: str, limit: int) -> bool:
        return self.runtime_answered(request_id, too_large(limit))

    def runtime_refused(self, request_id: str, error_type: str, message: str) -> bool:
        return self.runtime_answered(request_id, platform_error(request_id, error_type, message, "error"))

    def _conclude(self, outcome: Outcome, state: State = State.FINISHING) -> None:
        """Settle the current invocation and go on to `state`. Its report waits for extensions that are at work."""
        if self._work.current is None:
            return
        goes_on = state is State.FINISHING and self.state is State.BUSY
        self._work.conclude(outcome, goes_on=goes_on, extensions=bool(self.extensions.members))
        if self.state is State.BUSY:
            self._enter(state)

    def give_up(self) -> None:
        """Let go of the invocation that waits here; somebody else takes it."""
        self._work.current = None

    def fail(self, invocation: Invocation, outcome: Outcome) -> None:
        """Settle an invocation that never reached the runtime because the init phase failed."""
        self._work.current = invocation
        self._conclude(outcome)

    # The ends

    def _overdue(self) -> None:
        if self._reaction is None:
            self._reaction = self._loop.create_task(self._time_out(self._work.current))

    async def _time_out(self, invocation: Invocation | None) -> None:
        """The time of `invocation`, or of extensions that are busy with one that was answered, is up."""
        try:
            if not self.extensions.members:
                await self._processes.stop()
                if invocation is self._work.current:
                    self._conclude_overdue(State.STALE)
            else:
                self._conclude_overdue(State.SHUTDOWN)
                await self._shut_down(TIMEOUT)
        except SandboxError as error:
            _log.error("the sandbox of %s was lost: %s", self.function.arn, error)
            self._conclude_overdue(State.STALE)
        finally:
            self._reaction = None

    def _conclude_overdue(self, state: State) -> None:
        self._give = None
        self._processes.drain()
        if self._work.current is not None:
            self.events.timed_out(self._work.current)
            self._conclude(timed_out(self._work.current), state)
        elif self._work.held is not None:
            self.events.timed_out(self._work.held[0])
            self._work.report_held(timed_out(self._work.held[0]))
            self._enter(state)

    def _exited(self, exit: Exit) -> None:
        """The runtime or an extension has ended, and with it this generation of them."""
        if exit.extension is None:
            self._give = self._go_on = None
        if self.state in (State.DEAD, State.STALE):
            return
        if exit.extension is None:
            error_type, message = exit.error_type or "Runtime.ExitError", describe_exit(exit)
        else:
            error_type, message = "Extension.Crash", describe_extension_exit(exit)
        outcome = platform_error(self._work.request_id, self.extensions.fatal or error_type, message)
        if self.state is State.STARTING:
            self._init.fail(outcome)
            return
        if self.state is State.RESTORING and self._restore is not None:
            self._restore.end(outcome)
            return
        state = State.SHUTDOWN if self.extensions.members else State.STALE
        self._conclude(outcome, state)
        self._work.report_held(outcome)
        self._enter(state)
        if self.extensions.members and self._reaction is None:
            self._reaction = self._loop.create_task(self._reset())

    async def _reset(self) -> None:
        try:
            await self._shut_down(FAILURE)
        finally:
            self._reaction = None

    async def _shut_down(self, reason: str) -> None:
        """End the runtime and its extensions, in their own time; the sandbox can have fresh ones afterwards."""
        self._give = None
        self._thaw()
        self._enter(State.SHUTDOWN)
        try:
            await self._processes.shut_down(reason)
        except SandboxError as error:
            _log.error("the sandbox of %s was lost: %s", self.function.arn, error)
        if self.state is State.SHUTDOWN:
            self._enter(State.STALE)

    async def destroy(self) -> None:
        """End it all. An invocation that is still here ends with the environment."""
        if self._end is None:
            self._end = self._loop.create_task(self._destroy())
        await self._end

    async def _destroy(self) -> None:
        self._work.report_late()
        self._work.call_off_timeout()
        if self._freezing is not None:
            self._freezing.cancel()
            self._freezing = None
        self._processes.drain()
        failure = platform_error(self._work.request_id, "Sandbox.Failure", "The execution environment was shut down")
        if self._work.current is not None:
            self._conclude(failure, State.STALE)
        self._work.report_held()
        self._init.fail(failure)
        if self.state is State.RESTORING and self._restore is not None:
            self._restore.end(failure)
        if self._reaction is not None:
            self._reaction.cancel()
            await asyncio.gather(self._reaction, return_exceptions=True)
        if self.extensions.members and self.state in (State.IDLE, State.FINISHING):
            await self._shut_down(SPINDOWN)
        self._enter(State.DEAD)
        if self._door is not None:
            await self._door.close()
        await self._api.stop(0)
        await self._processes.destroy()

    # Logs

    def _printed(self, messages: Sequence[str]) -> None:
        self._write_lines(messages)
        invocation = self._work.latest
        if invocation is not None and invocation.tail is not None:
            for message in messages:
                invocation.tail.append(message)

    def _log(self, message: str, invocation: Invocation | None) -> None:
        self._write_log(message)
        if invocation is not None and invocation.tail is not None:
            invocation.tail.append(message)


def _one_by_one(write: Callable[[str], None], messages: Sequence[str]) -> None:
    for message in messages:
        write(message)
