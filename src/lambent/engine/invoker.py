"""Invocations from request to result: finds or starts an execution environment and waits for its answer."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from lambent.base import memory
from lambent.base.clock import Clock
from lambent.control.records import Function, FunctionKey
from lambent.engine import eviction
from lambent.engine.credentials import EXPIRY
from lambent.engine.doors import Doors
from lambent.engine.environment import Environment
from lambent.engine.failures import platform_error, timed_out
from lambent.engine.fleet import Fleet, Slot, Standing, identity
from lambent.engine.held import Held, provisioned_identity
from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.lease import Leases
from lambent.engine.logs import Logs
from lambent.engine.maker import Credentials, Maker, Variables, no_variables
from lambent.engine.meters import Meters
from lambent.engine.pool import FINISHING_GRACE, Evict, gives_way, plan
from lambent.engine.restore_phase import SNAP_START, refusal
from lambent.engine.runtimes import Runtimes
from lambent.engine.sandbox import Driver, MountError, SandboxError
from lambent.engine.spares import Spares, snap_started
from lambent.engine.states import State
from lambent.engine.turns import Turns
from lambent.wire.errors import AwsError

_log = logging.getLogger("lambent.invoker")

CREATIONS = max(8, 4 * (os.cpu_count() or 1))  # sandboxes of one runtime that are made at the same time
FORK_TRIES = 2  # until a template is given up
_STANDINGS = {
    State.STARTING: Standing.STARTING,
    State.SNAPSHOT: Standing.SNAPSHOT,
    State.TEMPLATE: Standing.TEMPLATE,
    State.RESTORING: Standing.STARTING,
    State.IDLE: Standing.IDLE,
    State.BUSY: Standing.BUSY,
    State.FINISHING: Standing.FINISHING,
    State.SHUTDOWN: Standing.BUSY,  # of no use to anybody, and soon stale
    State.STALE: Standing.STALE,
}


class Invoker:
    """All execution environments of this server and the invocations that wait for one."""

    def __init__(
        self,
        driver: Driver,
        runtimes: Runtimes,
        clock: Clock,
        logs: Logs,
        credentials: Credentials,
        *,
        budget: int,
        idle_seconds: float,
        spares: int = 1,
        variables: Variables | None = None,
        leases: Leases | None = None,
        revoke: Callable[[Mapping[str, str]], None] = lambda credentials: None,
        doors: Doors | None = None,
        read_memory: Callable[[], memory.Reading] = memory.read,
        meters: Meters | None = None,
    ) -> None:
        """At most `budget` environments exist at once; one that is idle for `idle_seconds` ends.

        `spares` initialised environments of each version with SnapStart wait to be restored.
        `credentials` gives each its keys, which are given to `revoke` when it has ended.
        `doors` lead functions to this server's AWS API.
        `variables` opens a function's own environment variables whenever an environment starts.
        """
        self._clock = clock
        self._maker = Maker(driver, runtimes, clock, logs, credentials, variables or no_variables, revoke, doors)
        self._budget = budget
        self._idle_seconds = idle_seconds
        self._leases = leases or Leases()
        self._read_memory = read_memory
        self.meters = meters or Meters(clock)
        self._fleets: dict[str, Fleet] = {}  # by the identity of the function version
        self.held = Held(self, self._fleets, budget)
        self.spares = Spares(self, spares)
        self._slots: dict[str, Slot] = {}
        self._resting: dict[Slot, None] = {}  # idle and stale ones, longest first
        self._turns = Turns()  # of the functions with invocations that wait
        self._creating: Counter[str] = Counter()  # sandboxes being made, by runtime
        self._rechecking = False
        self._stopping = False
        self._reaper: asyncio.Task[None] | None = None
        self._ending: dict[asyncio.Task[None], frozenset[str]] = {}  # with the code and layers that they still hold
        self._watchers: list[Callable[[], None]] = []
        self._numbers = 0
        self._templates = 0  # they serve nobody, so they take no place

    async def start(self) -> None:
        self._reaper = asyncio.get_running_loop().create_task(self._reap())

    async def stop(self) -> None:
        """End every environment."""
        self._stopping = True
        if self._reaper is not None:
            self._reaper.cancel()
        tasks = [slot.task for slot in self._slots.values() if slot.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        ends = (environment.destroy() for environment in self.environments())
        await asyncio.gather(*ends, *self._ending, return_exceptions=True)
        self._slots.clear()
        self._fleets.clear()

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Run it to its end. Raises AwsError when the platform refuses; a function's failure is an Outcome."""
        key = invocation.function.key
        fleet = self.held.free(invocation.function)
        shared = False
        if fleet is None:
            try:
                shared = self._leases.take(key)
            except AwsError:
                self.meters.throttled(invocation)
                raise
            fleet = self.fleet(invocation.function, invocation.tenant)
        else:
            fleet.taken += 1
        held = fleet if fleet.kept else None
        levels = self.meters.began(invocation, shared)
        outcome: Outcome | None = None
        try:
            slot = fleet.ready() if not fleet.waiting else None
            if slot is not None:
                self._dispatch(slot, invocation)
            else:
                self._queue(fleet, invocation)
                if not self._restores(fleet):
                    self._provide((fleet.identity,))
            outcome = await invocation.done
            return outcome
        except asyncio.CancelledError:
            self._forget(invocation)
            raise
        finally:
            spilled = held is None and self.held.has(invocation.function)
            self.meters.ended(invocation, levels, outcome, held is not None, spilled)
            if held is not None:
                held.taken -= 1
            else:
                self._leases.give_back(key, shared)

    def _forget(self, invocation: Invocation) -> None:
        """Nobody waits for its answer any more."""
        function = invocation.function
        for name in (identity(function, invocation.tenant), provisioned_identity(function)):
            fleet = self._fleets.get(name)
            if fleet is not None and invocation in fleet.waiting:
                fleet.waiting.remove(invocation)
                self.settle(fleet)

    def retire(self, key: FunctionKey, serving: Iterable[Function]) -> None:
        """End the environments of `key` that run none of `serving`; those at work end after their answer."""
        keep = {identity(function) for function in serving}
        for fleet in list(self._fleets.values()):
            if fleet.function.key == key and identity(fleet.function) not in keep and not fleet.making:
                fleet.gone = True
                self.held.shrink(fleet, 0)
                for slot in fleet.every():
                    self.retire_slot(slot)

    def retire_slot(self, slot: Slot) -> None:
        if slot.environment is not None and slot.task is None and slot.standing is not Standing.BUSY:
            self._end(slot)
        else:
            slot.retired = True

    def digests(self) -> set[str]:
        """The code and layers that environments run, or wait to run: they must stay until those have ended."""
        return set().union(*(fleet.function.digests for fleet in self._fleets.values()), *self._ending.values())

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call back whenever an environment has ended and given up what it held."""
        self._watchers.append(callback)

    def waiting(self) -> dict[FunctionKey, int]:
        """How many invocations of each function wait for an environment."""
        found: Counter[FunctionKey] = Counter()
        for fleet in self._fleets.values():
            if fleet.waiting:
                found[fleet.function.key] += len(fleet.waiting)
        return found

    @property
    def budget(self) -> int:
        """The most environments at once."""
        return self._budget

    def environments(self) -> list[Environment]:
        """What runs now, for status pages."""
        return [slot.environment for slot in self._slots.values() if slot.environment is not None]

    # What waits

    def fleet(self, function: Function, tenant: str | None = None) -> Fleet:
        """The ordinary environments of a version, or those of one of its tenants."""
        name = identity(function, tenant)
        fleet = self._fleets.get(name)
        if fleet is None:
            fleet = self._fleets[name] = Fleet(name, function)
        return fleet

    def _queue(self, fleet: Fleet, invocation: Invocation, *, first: bool = False) -> None:
        if first:
            fleet.waiting.appendleft(invocation)
        else:
            fleet.waiting.append(invocation)
        self._turns.add(fleet.account, fleet.identity)

    def _next_waiting(self, fleet: Fleet) -> Invocation | None:
        if not fleet.waiting:
            return None
        invocation = fleet.waiting.popleft()
        self.settle(fleet)
        return invocation

    def settle(self, fleet: Fleet) -> None:
        """Forget about a function that nothing waits for, and wholly about one that has no environment either."""
        if not fleet.waiting:
            self._turns.remove(fleet.account, fleet.identity)
            if not fleet.size and not fleet.kept and not fleet.making:
                self._fleets.pop(fleet.identity, None)

    # Decide, then act

    def _provide(self, functions: Iterable[str] | None = None) -> None:
        """Start environments for what waits: for `functions`, or for all when there is new room for any of them."""
        if self._stopping or not self._turns:
            return
        now = self._clock.monotonic()
        fleets = [self._fleets[name] for name in (self._turns if functions is None else functions)]
        for action in plan(
            (fleet.demand(now) for fleet in fleets),
            room=self._room,
            creations={fleet.function.runtime: CREATIONS - self._creating[fleet.function.runtime] for fleet in fleets},
            idle=(slot.id for slot in itertools.chain(self._resting, self._snapshots()) if not slot.fleet.waiting),
        ):
            if isinstance(action, Evict):
                self._end(self._slots[action.id])
            else:
                fleet = self._fleets[action.function]
                self.begin(fleet)
                self._turns.served(fleet.account, fleet.identity)
        if not self._rechecking and any(fleet.waiting and fleet.slots[Standing.FINISHING] for fleet in fleets):
            self._rechecking = True  # a runtime that has answered may stay away
            asyncio.get_running_loop().call_later(FINISHING_GRACE, self._recheck)

    def _recheck(self) -> None:
        self._rechecking = False
        self._provide()

    def _gives_way(self, fleet: Fleet) -> bool:
        """Whether an environment of `fleet` that has come to rest should make room for another function."""
        room = self._room
        if room > 0 or fleet.kept:
            return False
        now = self._clock.monotonic()
        for name in self._turns:
            other = self._fleets[name]
            if other is not fleet and other.demand(now).short > 0:
                return gives_way(fleet.size, other.size, room)
        return False

    def _dispatch(self, slot: Slot, invocation: Invocation) -> None:
        environment = slot.environment
        assert environment is not None
        slot.since = self._clock.monotonic()
        if environment.state is State.STALE:
            self._run(slot, self._revive(slot, environment, invocation))
        else:
            environment.begin(invocation)
            environment.invoke(invocation)

    def _run(self, slot: Slot, work: Coroutine[Any, Any, None]) -> None:
        """Have the init phase done, the first or a repeated one."""
        self._move(slot, slot.standing if slot.environment is None else Standing.STARTING)
        slot.task = asyncio.get_running_loop().create_task(work)

    def _move(self, slot: Slot, standing: Standing) -> None:
        slot.fleet.move(slot, standing)
        self._resting.pop(slot, None)
        if standing in (Standing.IDLE, Standing.STALE) and not slot.fleet.kept:
            self._resting[slot] = None

    def begin(self, fleet: Fleet, *, founds: bool = False) -> Slot:
        self._numbers += 1
        now = self._clock.monotonic()
        slot = Slot(f"slot-{self._numbers}", fleet, fleet.function, since=now, born=now, founds=founds)
        self._slots[slot.id] = slot
        fleet.add(slot)
        self._creating[fleet.function.runtime] += 1
        self._run(slot, self._start(slot))
        return slot

    async def _start(self, slot: Slot) -> None:
        """Bring a new environment up. What goes wrong is the answer of the oldest waiting invocation."""
        function = slot.function
        error: AwsError | None = None
        failure: Outcome | None = None
        try:
            failure = await self._bring_up(slot)
            if failure is None and slot.founds:
                await self._found(slot)
        except MountError as problem:
            message = f"The function couldn't mount the file system with the specified configuration: {problem}"
            error = AwsError("EFSMountFailureException", message, Type="User")
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
        slot.failure = error or failure
        if error is None and failure is None:
            self._started(slot)
            return  # otherwise the environment has parked and taken what waits
        if slot.fleet.kept:
            slot.fleet.failures += 1
            self._end(slot)
            return
        if slot.forked or slot.founds:
            self._not_forked(slot)
            return
        invocation = self._next_waiting(slot.fleet)
        if error is not None:
            self._end(slot)
            if invocation is not None and not invocation.done.done():
                invocation.done.set_exception(error)
        elif invocation is not None and slot.environment is not None:
            self._run(slot, self._revive(slot, slot.environment, invocation))
        else:
            self._end(slot)
        self._provide()

    def _started(self, slot: Slot) -> None:
        """The init phase has succeeded; what has happened to the environment since then is looked at now."""
        environment = slot.environment
        if slot.id not in self._slots or environment is None:
            return
        if environment.init_took is not None:
            self.meters.initialised(slot.function.key, slot.function.version, environment.init_took)
        slot.fleet.fork_failures = 0
        if slot.retired and slot.standing in (Standing.IDLE, Standing.SNAPSHOT, Standing.TEMPLATE):
            self._end(slot)
        elif environment.state is State.STALE:
            self._changed(slot, environment)
        elif slot.standing is Standing.SNAPSHOT and slot.fleet.waiting:
            self.restore_slot(slot)
        elif slot.standing is Standing.SNAPSHOT:
            self.spares.refill(slot.fleet)
        elif slot.standing is Standing.TEMPLATE:
            self._provide()
            if not slot.fleet.making:
                self.spares.refill(slot.fleet)

    async def _found(self, slot: Slot) -> None:
        """What others are to be forked from has been initialised: make it so, if it can be."""
        fleet = slot.fleet
        assert slot.environment is not None
        fleet.forkable = False
        if slot.standing is not Standing.TEMPLATE:
            return  # neither it nor its sandbox offers to
        problem = await slot.environment.become_template()
        if problem is not None:
            _log.info("environments of %s are initialised one by one: %s", slot.function.arn, problem)
        elif slot.id in self._slots:
            fleet.forkable, fleet.template = True, slot
            self._templates += 1

    def _not_forked(self, slot: Slot) -> None:
        """Something is wrong with the fork, or with its template: what waits gets another environment."""
        fleet = slot.fleet
        self._end(slot)
        fleet.fork_failures += 1
        if fleet.fork_failures >= FORK_TRIES and fleet.template is not None:
            fleet.forkable = False
            self._end(fleet.template)
            self.spares.refill(fleet)
        self._provide()

    async def _bring_up(self, slot: Slot) -> Outcome | None:
        """How the init phase failed, if it did. A sandbox that dies before it has begun is replaced once."""
        slot.environment = await self._make(slot)
        self._move(slot, Standing.STARTING)
        try:
            return await slot.environment.start()
        except MountError:  # another sandbox would not help
            raise
        except SandboxError as problem:
            _log.warning("a sandbox for %s is gone: %s", slot.function.arn, problem)
        lost, slot.environment = slot.environment, None
        await lost.destroy()
        self._creating[slot.function.runtime] += 1
        slot.environment = await self._make(slot)
        return await slot.environment.start()

    async def _make(self, slot: Slot) -> Environment:
        def acquired() -> None:
            self._creating[slot.function.runtime] -= 1
            if self._turns:
                asyncio.get_running_loop().call_soon(self._provide)  # the next may be made

        template = slot.fleet.template
        slot.forked = template is not None
        return await self._maker.make(
            slot.function,
            _initialization(slot.fleet),
            acquired=acquired,
            template=template.environment if template is not None else None,
            forks=slot.founds,
            changed=lambda environment: self._changed(slot, environment),
        )

    async def _revive(self, slot: Slot, environment: Environment, invocation: Invocation) -> None:
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
        if slot.id in self._slots:
            self._rest(slot, Standing.STALE)

    def _replace(self, slot: Slot, environment: Environment, invocation: Invocation, problem: SandboxError) -> None:
        """The sandbox is gone (its init may have run out of memory): let another environment take the invocation."""
        _log.warning("the sandbox of %s is gone: %s", slot.function.arn, problem)
        if self._clock.time() < invocation.deadline_epoch:
            environment.give_up()
            self._queue(slot.fleet, invocation, first=True)
        else:
            environment.fail(invocation, timed_out(invocation))
        self._end(slot)
        self._provide()

    def _changed(self, slot: Slot, environment: Environment) -> None:
        """An environment has changed its state."""
        if slot.id not in self._slots or environment.state is State.DEAD:
            return
        slot.since = self._clock.monotonic()
        if environment.state is State.IDLE and environment.pending is not None:
            environment.invoke(environment.pending)  # the invocation whose init phase has just been repeated
        elif environment.state is State.STALE and slot.task is None and slot.fleet.kept:
            self._end(slot)  # a fresh one takes its place
        elif environment.state is State.STALE and slot.standing in (Standing.SNAPSHOT, Standing.TEMPLATE):
            self._end(slot)
            self.spares.refill(slot.fleet)
        elif environment.state is State.STALE and slot.task is None and slot.forked:
            self._end(slot)  # it has no second start
            self._provide()
        elif environment.state is State.IDLE or (environment.state is State.STALE and slot.task is None):
            self._rest(slot, _STANDINGS[environment.state])
        elif environment.state is State.SNAPSHOT and slot.retired:
            self._end(slot)
        elif environment.state is not State.STALE:
            self._move(slot, _STANDINGS[environment.state])

    def _rest(self, slot: Slot, standing: Standing) -> None:
        """The environment could take an invocation: the next of its function, unless its place is needed more."""
        fleet = slot.fleet
        if fleet.waiting and not slot.expired and not self._gives_way(fleet):
            self._move(slot, standing)
            if (invocation := self._next_waiting(fleet)) is not None:
                self._dispatch(slot, invocation)
        elif fleet.waiting or slot.retired:
            self._end(slot)
            self._provide()
        else:
            self._move(slot, standing)
            if fleet.kept:
                self.held.fill(fleet)
            elif self._room <= 0:
                self._provide()  # it may make room

    # Snapshots

    def _snapshots(self) -> Iterable[Slot]:
        """Environments that wait to be restored."""
        return (slot for fleet in self._fleets.values() for slot in fleet.slots[Standing.SNAPSHOT])

    def _founders(self) -> Iterable[Slot]:
        return (fleet.template for fleet in self._fleets.values() if fleet.template is not None)

    def _restores(self, fleet: Fleet) -> bool:
        """Whether an environment that waits with a snapshot takes what has just been queued."""
        return fleet.demand(self._clock.monotonic()).short > 0 and self.spares.use(fleet)

    def restore_slot(self, slot: Slot) -> None:
        self._run(slot, self._restore(slot))

    async def _restore(self, slot: Slot) -> None:
        """Go on from the snapshot. What goes wrong is the answer of the oldest waiting invocation."""
        assert slot.environment is not None
        try:
            failure = await slot.environment.restore()
            error = None if failure is None else refusal(failure)
        except SandboxError as problem:
            _log.error("an environment of %s could not be restored: %s", slot.function.arn, problem)
            error = AwsError("ServiceException", f"An execution environment could not be restored: {problem}")
        finally:
            slot.task = None
        self.spares.refill(slot.fleet)
        if error is None:
            return
        invocation = self._next_waiting(slot.fleet)
        self._end(slot)
        if invocation is not None and not invocation.done.done():
            invocation.done.set_exception(error)
        self._provide()

    @property
    def _room(self) -> int:
        """How many more environments there may be."""
        return self._budget - len(self._slots) + self._templates

    # What provisioned environments and spares need

    def room(self) -> bool:
        """Whether one more environment may be; an idle one of a function that nobody waits for is ended for it."""
        if self._room <= 0:
            candidates = itertools.chain(self._resting, self._snapshots())
            victim = next((slot for slot in candidates if not slot.fleet.waiting and not slot.fleet.making), None)
            if victim is None:
                return False
            self._end(victim)
        return not self._stopping

    def may_create(self, runtime: str) -> bool:
        return self._creating[runtime] < CREATIONS

    def spill(self, fleet: Fleet) -> None:
        """Provisioned environments have been lost: what waits for them goes to others."""
        ordinary = self.fleet(fleet.function)
        while (invocation := self._next_waiting(fleet)) is not None:
            self._queue(ordinary, invocation)
        self._provide((ordinary.identity,))

    # The ends

    def _end(self, slot: Slot) -> None:
        if self._slots.pop(slot.id, None) is None:
            return
        self._resting.pop(slot, None)
        slot.fleet.remove(slot)
        if slot.fleet.template is slot:
            slot.fleet.template = None
            self._templates -= 1
        if slot.fleet.kept and not self._stopping:
            self.held.lost(slot.fleet)
        self.settle(slot.fleet)
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
            self._end_surplus()
            self._end_expired()
            self._relieve()
            self.held.tend()
            self.spares.tend(list(self._fleets.values()))

    def _end_surplus(self) -> None:
        oldest = self._clock.monotonic() - self._idle_seconds
        for slot in list(itertools.takewhile(lambda slot: slot.since < oldest, self._resting)):
            self._end(slot)

    def _end_expired(self) -> None:
        """Let others take the place of environments whose credentials come to their end."""
        oldest = self._clock.monotonic() - EXPIRY
        for slot in list(itertools.takewhile(lambda slot: slot.born < oldest, self._slots.values())):
            fleet = slot.fleet
            if slot.expired or snap_started(slot.function):
                continue
            if fleet.kept and (fleet.initialised < fleet.kept or any(other.expired for other in fleet.every())):
                continue  # of those that are provisioned, one after the other
            slot.expired = True
            self.retire_slot(slot)

    def _relieve(self) -> None:
        """End idle environments, then those that wait to be restored, when the machine runs short of memory."""
        reading = self._read_memory()
        if not eviction.pressed(reading):
            return
        candidates = [
            eviction.Candidate(slot.id, slot.fleet.identity, slot.environment.peak_memory())
            for slot in itertools.chain(self._resting, self._snapshots(), self._founders())
            if slot.environment is not None and not slot.fleet.making
        ]
        for name in eviction.victims(candidates, reading):
            self._end(self._slots[name])


def _initialization(fleet: Fleet) -> str:
    """What AWS_LAMBDA_INITIALIZATION_TYPE says."""
    if fleet.kept:
        return "provisioned-concurrency"
    return SNAP_START if snap_started(fleet.function) else "on-demand"


def new_trace() -> str:
    """A trace header for a request that brought none."""
    text = secrets.token_hex(24)
    return f"Root=1-{text[:8]}-{text[8:32]};Parent={text[32:48]};Sampled=0"
