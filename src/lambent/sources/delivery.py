"""One try of an asynchronous event, and what is written after it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database
from lambent.control.records import LATEST, Function, FunctionKey
from lambent.control.store import FunctionStore
from lambent.engine.invocation import Invocation, Outcome
from lambent.sources import destinations, event_store, schedule
from lambent.sources.event_store import Event
from lambent.sources.schedule import Condition, End, History, Result, Retry, Rules
from lambent.wire.errors import AwsError

_log = logging.getLogger("lambent.async")

_LEAST_AGE = 60.0  # seconds: no event invoke config can say less
RECORD_LIMIT = 1_048_576  # bytes of an event, which a record for a function is

Invoke = Callable[[Invocation], Awaitable[Outcome]]
Note = Callable[[FunctionKey, str | None, str, float], None]
"""(function, qualifier, CloudWatch's name of what happened, its value)"""


def unnoted(key: FunctionKey, qualifier: str | None, metric: str, value: float) -> None:
    pass


class Aliases(Protocol):
    def route(self, key: FunctionKey, name: str) -> str | None:
        """The version that takes the next invocation of an alias; None when there is no such alias."""


class Limits(Protocol):
    def reserved(self, key: FunctionKey) -> int | None:
        """How many invocations of the function may run at once; None when nothing is reserved."""


class Configs(Protocol):
    """The event invoke configs."""

    def applying(self, connection: Connection, key: FunctionKey, qualifier: str | None) -> Mapping[str, Any]:
        """Inside a transaction: the one of the function, version or alias that was invoked; {} when it has none."""


@dataclass(frozen=True, slots=True)
class Try:
    """What a try came to."""

    result: Result
    function: Function | None = None  # the version that was meant
    outcome: Outcome | None = None
    problem: str = ""
    gone: bool = False  # no later try would find a function that takes the event


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What was written after a try."""

    due: float | None = None  # when the event is tried again
    follower: Event | None = None  # the event that takes its record to a function
    message: str | None = None  # what an operator should know
    counted: tuple[str, ...] = ()  # metrics of AWS/Lambda that go up by one


class Delivery:
    """Takes events to functions. Belongs to one event loop."""

    def __init__(
        self,
        db: Database,
        store: FunctionStore,
        aliases: Aliases,
        configs: Configs,
        limits: Limits,
        invoke: Invoke,
        clock: Clock,
        note: Note = unnoted,
    ) -> None:
        self._db = db
        self._store = store
        self._aliases = aliases
        self._configs = configs
        self._limits = limits
        self._invoke = invoke
        self._clock = clock
        self._note = note

    async def deliver(self, event: Event) -> Aftermath:
        """Try once. The event has ended, its record on its way, or its next try is written."""
        attempt = Try(Result.REFUSED) if await self._too_old(event) else await self._try(event)
        aftermath = await self._db.write(lambda connection: self._settle(connection, event, attempt))
        if aftermath.message is not None:
            _log.warning("%s", aftermath.message)
        for metric in aftermath.counted:
            self._note(event.key, event.qualifier, metric, 1.0)
        return aftermath

    async def _too_old(self, event: Event) -> bool:
        now = self._clock.time()
        if now - event.history.accepted <= _LEAST_AGE:
            return False
        config = await self._db.read(lambda connection: self._configs.applying(connection, event.key, event.qualifier))
        return schedule.expired(event.history, _rules(config), now)

    async def _try(self, event: Event) -> Try:
        version = event.qualifier or LATEST
        version = self._aliases.route(event.key, version) or version
        function = self._store.serving(event.key, version)
        if function is None:
            known = await self._store.get(event.key, version)
            problem = "it cannot be invoked now" if known else "there is no such function, version or alias any more"
            return Try(Result.REFUSED, known, problem=problem, gone=known is None)
        if self._limits.reserved(event.key) == 0:
            return Try(Result.FORBIDDEN, function)
        if function.per_tenant and event.tenant is None:  # the record of an event that was nobody's
            return Try(Result.REFUSED, function, problem="the function runs for tenants only", gone=True)
        tenant = event.tenant if function.per_tenant else None
        invoked = event.key.arn(event.qualifier)
        age = max(0.0, self._clock.time() - event.history.accepted)
        self._note(event.key, event.qualifier, "AsyncEventAge", age * 1000)
        invocation = Invocation(event.request_id, function, event.payload, invoked, event.trace, tenant=tenant)
        try:
            outcome = await self._invoke(invocation)
        except AwsError as error:
            return Try(Result.REFUSED, function, problem=str(error))
        failed = outcome.function_error is not None
        return Try(Result.FAILED if failed else Result.RETURNED, function, outcome)

    # Inside the transaction after a try

    def _settle(self, connection: Connection, event: Event, attempt: Try) -> Aftermath:
        config = self._configs.applying(connection, event.key, event.qualifier)
        if attempt.gone:
            known = event_store.remove(connection, event)
            problem = f"{_named(event)} was dropped: {attempt.problem}"
            return Aftermath(message=problem, counted=("AsyncEventsDropped",)) if known else Aftermath()
        step = schedule.after(event.history, attempt.result, _rules(config), self._clock.time())
        if isinstance(step, Retry):
            event_store.put_off(connection, event, step.due, step.history)
            return Aftermath(step.due)
        if not event_store.remove(connection, event):
            return Aftermath()
        return self._tell(connection, event, attempt, step, destinations.destination(config, step.condition))

    def _tell(self, connection: Connection, event: Event, attempt: Try, end: End, arn: str | None) -> Aftermath:
        """Send the record of an event that has ended on its way, or say why that cannot be."""
        problems, counted = [], []
        if end.condition is not Condition.SUCCESS:
            counted.append("AsyncEventsDropped")
            why = f": {attempt.problem}" if attempt.problem else ""
            problems.append(f"{_named(event)} has failed ({end.condition.value}) after {end.runs} runs{why}")
        follower = None
        if arn is not None:
            version = attempt.function.version if attempt.function is not None else LATEST
            content = destinations.record(event, end, attempt.outcome, version, self._clock.now())
            named = destinations.function_named(arn)
            if named is None:
                counted.append("DestinationDeliveryFailures")
                problems.append(f"the record of {_named(event)} was not sent to {arn}: {destinations.not_there(arn)}")
            elif len(content) > RECORD_LIMIT:
                counted.append("DestinationDeliveryFailures")
                size = f"it has {len(content)} bytes, and an event {RECORD_LIMIT} at most"
                problems.append(f"the record of {_named(event)} was not sent to {arn}: {size}")
            else:
                accepted = History(self._clock.time())
                follower = Event(self._clock.uuid(), *named, content, event.trace, event.tenant, accepted)
                event_store.insert(connection, follower)
        queue = self._dead_letters(event, attempt)
        if queue and end.condition is not Condition.SUCCESS:
            counted.append("DeadLetterErrors")
            problems.append(f"{_named(event)} was not sent to {queue}: {destinations.not_there(queue)}")
        return Aftermath(follower=follower, message="; ".join(problems) or None, counted=tuple(counted))

    def _dead_letters(self, event: Event, attempt: Try) -> str | None:
        function = attempt.function or self._store.serving(event.key)
        config = function.extras.get("DeadLetterConfig", {}) if function is not None else {}
        return config.get("TargetArn") or None


def _rules(config: Mapping[str, Any]) -> Rules:
    usual = Rules()
    return Rules(config.get("MaximumRetryAttempts", usual.retries), config.get("MaximumEventAgeInSeconds", usual.age))


def _named(event: Event) -> str:
    return f"the event {event.request_id} for {event.key.arn(event.qualifier)}"
