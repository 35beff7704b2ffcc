"""Invocations from request to result: finds or starts an execution environment and waits for its answer."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lambent.base.clock import Clock
from lambent.control.records import Function, FunctionKey
from lambent.engine.environment import Environment, State
from lambent.engine.failures import platform_error, timed_out
from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.lease import Leases
from lambent.engine.logs import LogBook
from lambent.engine.pool import FINISHING_GRACE, Assign, Evict, Start, View, plan, surplus
from lambent.engine.runtimes import Missing, Runtimes
from lambent.engine.sandbox import Driver, SandboxError
from lambent.wire.errors import AwsError

_log = logging.getLogger("lambent.invoker")

Credentials = Callable[[Function], Mapping[str, str]]


@dataclass(slots=True)
class _Slot:
    """An environment, or the place of one that is being made."""

    id: str
    function: Function
    since: float
    environment: Environment | None = None
    task: asyncio.Task[None] | None = None  # what starts, restarts or ends it

    @property
    def state(self) -> State:
        if self.task is not None:
            return State.STARTING
        return self.environment.state if self.environment is not None else State.STARTING


class Invoker:
    """All execution environments of this server and the invocations that wait for one."""

    def __init__(
        self,
        driver: Driver,
        runtimes: Runtimes,
        clock: Clock,
        logs: LogBook,
        credentials: Credentials,
        *,
        budget: int,
        idle_seconds: float,
        leases: Leases | None = None,
    ) -> None:
        """At most `budget` environments exist at once; one that is idle for `idle_seconds` ends."""
        self._driver = driver
        self._runtimes = runtimes
        self._clock = clock
        self._logs = logs
        self._credentials = credentials
        self._budget = budget
        self._idle_seconds = idle_seconds
        self._leases = leases or Leases()
        self._slots: dict[str, _Slot] = {}
        self._idle: dict[str, list[_Slot]] = {}  # function identity → parked environments, last used last
        self._waiting: deque[Invocation] = deque()
        self._pumping = False
        self._reaper: asyncio.Task[None] | None = None
        self._ending: dict[asyncio.Task[None], frozenset[str]] = {}  # with the code and layers that they still hold
        self._watchers: list[Callable[[], None]] = []
        self._numbers = 0

    async def start(self) -> None:
        self._reaper = asyncio.get_running_loop().create_task(self._reap())

    async def stop(self) -> None:
        """End every environment."""
        if self._reaper is not None:
            self._reaper.cancel()
        tasks = [slot.task for slot in self._slots.values() if slot.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._ending, return_exceptions=True)
        environments = [slot.environment for slot in self._slots.values() if slot.environment is not None]
        await asyncio.gather(*(environment.destroy() for environment in environments))
        self._slots.clear()

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Run it to its end. Raises AwsError when the platform refuses; a function's failure is an Outcome."""
        key = invocation.function.key
        self._leases.take(key.account, key.region)
        try:
            parked = self._idle.get(identity(invocation.function))
            if parked and not self._waiting:
                self._dispatch(parked.pop(), invocation)
            else:
                self._waiting.append(invocation)
                self._pump()
            return await invocation.done
        except asyncio.CancelledError:
            if invocation in self._waiting:
                self._waiting.remove(invocation)
            raise
        finally:
            self._leases.give_back(key.account, key.region)

    def retire(self, key: FunctionKey, serving: Function | None) -> None:
        """End the environments of `key` that do not run `serving`; those at work end after their answer."""
        keep = identity(serving) if serving is not None else None
        for slot in list(self._slots.values()):
            if slot.function.key == key and identity(slot.function) != keep:
                self._retire(slot)

    def _retire(self, slot: _Slot) -> None:
        if slot.environment is not None and slot.task is None and slot.state is not State.BUSY:
            self._end(slot)
        else:
            slot.since = -1.0  # ended when it next changes state

    def digests(self) -> set[str]:
        """The code and layers that environments run, or wait to run: they must stay until those have ended."""
        functions = [invocation.function for invocation in self._waiting]
        functions += [slot.function for slot in self._slots.values()]
        return set().union(*(function.digests for function in functions), *self._ending.values())

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call back whenever an environment has ended and given up what it held."""
        self._watchers.append(callback)

    def environments(self) -> list[Environment]:
        """What runs now, for status pages."""
        return [slot.environment for slot in self._slots.values() if slot.environment is not None]

    # Decide, then act

    def _pump(self) -> None:
        """Look for environments for whatever waits."""
        if not self._waiting:
            return
        now = self._clock.monotonic()
        waiting = [identity(invocation.function) for invocation in self._waiting]
        views = [View(slot.id, identity(slot.function), slot.state, slot.since) for slot in self._slots.values()]
        for action in plan(waiting, views, self._budget, now):
            if isinstance(action, Evict):
                self._end(self._slots[action.id])
            elif isinstance(action, Start):
                self._begin(action.function)
            else:
                self._assign(action)
        if self._waiting and not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_later(FINISHING_GRACE, self._pump_again)

    def _pump_again(self) -> None:
        self._pumping = False
        self._pump()

    def _next_waiting(self, function: str) -> Invocation | None:
        for invocation in self._waiting:
            if identity(invocation.function) == function:
                self._waiting.remove(invocation)
                return invocation
        return None

    def _assign(self, action: Assign) -> None:
        slot = self._slots[action.id]
        invocation = self._next_waiting(identity(slot.function))
        if invocation is None:
            return
        parked = self._idle.get(identity(slot.function), [])
        if slot in parked:
            parked.remove(slot)
        self._dispatch(slot, invocation)

    def _dispatch(self, slot: _Slot, invocation: Invocation) -> None:
        environment = slot.environment
        assert environment is not None
        slot.since = self._clock.monotonic()
        if environment.state is State.STALE:
            slot.task = asyncio.get_running_loop().create_task(self._revive(slot, environment, invocation))
        else:
            environment.begin(invocation)
            environment.invoke(invocation)

    def _begin(self, function: str) -> None:
        wanted = next(entry.function for entry in self._waiting if identity(entry.function) == function)
        self._numbers += 1
        slot = _Slot(f"slot-{self._numbers}", wanted, self._clock.monotonic())
        self._slots[slot.id] = slot
        slot.task = asyncio.get_running_loop().create_task(self._start(slot))

    async def _start(self, slot: _Slot) -> None:
        """Bring a new environment up. What goes wrong is the answer of the oldest waiting invocation."""
        function = slot.function
        error: AwsError | None = None
        failure: Outcome | None = None
        try:
            slot.environment = await self._make(slot)
            failure = await slot.environment.start()
        except (SandboxError, OSError) as problem:
            _log.error("cannot start an execution environment for %s: %s", function.arn, problem)
            error = AwsError("ServiceException", f"An execution environment could not be started: {problem}")
        except AwsError as problem:
            error = problem
        except Exception:  # a mistake of ours must not leave the invocation without an answer
            _log.exception("starting an execution environment for %s failed", function.arn)
            error = AwsError("ServiceException", "An execution environment could not be started.")
        finally:
            slot.task = None
        if error is None and failure is None:
            return  # the environment has parked and taken what waits
        invocation = self._next_waiting(identity(function))
        if error is not None:
            self._end(slot)
            if invocation is not None and not invocation.done.done():
                invocation.done.set_exception(error)
        elif invocation is not None and slot.environment is not None:
            slot.task = asyncio.get_running_loop().create_task(self._revive(slot, slot.environment, invocation))
        else:
            self._end(slot)
        self._pump()

    async def _make(self, slot: _Slot) -> Environment:
        function = slot.function
        runtime = await asyncio.to_thread(self._runtimes.find, function.runtime)
        if isinstance(runtime, Missing):
            reason = f"The runtime {function.runtime} is not available: {runtime.reason}"
            raise AwsError("InvalidRuntimeException", reason)
        sandbox = await self._driver.acquire(runtime)
        stream = f"{self._clock.now():%Y/%m/%d}/[{function.version}]{self._clock.token(16)}"
        key = function.key
        return Environment(
            function,
            runtime,
            sandbox,
            self._clock,
            log_stream=stream,
            write_log=self._logs.writer(key.account, key.region, function.logging.log_group, stream),
            credentials=self._credentials(function),
            changed=lambda environment: self._changed(slot, environment),
        )

    async def _revive(self, slot: _Slot, environment: Environment, invocation: Invocation) -> None:
        """Run the init phase again as part of this invocation, as AWS does after a failed one or a lost runtime."""
        environment.begin(invocation)
        remaining = invocation.deadline_epoch - self._clock.time()
        failure: Outcome | None
        try:
            failure = await environment.restart(max(0.001, remaining))
        except SandboxError as problem:
            slot.task = None
            self._replace(slot, environment, invocation, problem)
            return
        except Exception:
            _log.exception("restarting the runtime of %s failed", slot.function.arn)
            failure = platform_error(invocation.request_id, "Sandbox.Failure", "The runtime could not be restarted")
        finally:
            slot.task = None
        if failure is None:
            return
        if failure.status == "timeout":
            failure = timed_out(invocation)
        environment.fail(invocation, failure)
        self._pump()

    def _replace(self, slot: _Slot, environment: Environment, invocation: Invocation, problem: SandboxError) -> None:
        """The sandbox is gone (its init may have run out of memory): let another environment take the invocation."""
        _log.warning("the sandbox of %s is gone: %s", slot.function.arn, problem)
        if self._clock.time() < invocation.deadline_epoch:
            environment.give_up()
            self._waiting.appendleft(invocation)
        else:
            environment.fail(invocation, timed_out(invocation))
        self._end(slot)
        self._pump()

    def _changed(self, slot: _Slot, environment: Environment) -> None:
        """An environment has changed its state."""
        if slot.id not in self._slots:
            return
        retired = slot.since < 0
        if not retired:
            slot.since = self._clock.monotonic()
        parked = self._idle.setdefault(identity(slot.function), [])
        if environment.state is State.IDLE:
            self._parked(slot, parked, retired)
        elif slot in parked:
            parked.remove(slot)
        if environment.state is State.STALE and slot.task is None:
            if retired:
                self._end(slot)
            elif self._waiting:
                self._pump()

    def _parked(self, slot: _Slot, parked: list[_Slot], retired: bool) -> None:
        environment = slot.environment
        assert environment is not None
        current = environment.pending
        if current is not None:
            environment.invoke(current)  # the invocation whose init phase has just been repeated
        elif (invocation := self._next_waiting(identity(slot.function))) is not None:
            self._dispatch(slot, invocation)
        elif retired:
            self._end(slot)
        else:
            parked.append(slot)

    # The ends

    def _end(self, slot: _Slot) -> None:
        self._slots.pop(slot.id, None)
        parked = self._idle.get(identity(slot.function))
        if parked is not None:
            if slot in parked:
                parked.remove(slot)
            if not parked:
                del self._idle[identity(slot.function)]
        if slot.environment is not None:
            task = asyncio.get_running_loop().create_task(slot.environment.destroy())
            self._ending[task] = slot.function.digests
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._ending.pop(task, None)
        for watcher in self._watchers:
            watcher()

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self._idle_seconds / 2))
            now = self._clock.monotonic()
            views = [View(slot.id, identity(slot.function), slot.state, slot.since) for slot in self._slots.values()]
            for name in surplus(views, self._idle_seconds, now):
                self._end(self._slots[name])


def identity(function: Function) -> str:
    """Tells one version of a function, as it stood after its last update, from every other."""
    return f"{function.arn}@{function.version}@{function.revision_id}"


def new_trace() -> str:
    """A trace header for a request that brought none."""
    root = f"{int.from_bytes(secrets.token_bytes(4), 'big'):08x}-{secrets.token_hex(12)}"
    return f"Root=1-{root};Parent={secrets.token_hex(8)};Sampled=0"
