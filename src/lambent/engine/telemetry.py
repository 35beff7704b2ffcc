"""The telemetry of one execution environment: its events, and the extensions that have subscribed to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from lambent.base.clock import Clock
from lambent.engine.extensions import Refused
from lambent.engine.platform_records import stamp
from lambent.engine.telemetry_buffer import Allowance, Batch, Buffer, Buffering
from lambent.engine.telemetry_delivery import Connect, Delivery, Destination, sender

KEPT = 8 << 20  # bytes that the subscribers of one environment may hold back together
KEPT_ALL = 128 << 20  # bytes of all environments of a server
BACKLOG = 262_144  # bytes of events before an extension has subscribed
BACKLOG_EVENTS = 1000

PLATFORM, FUNCTION, EXTENSION = "platform", "function", "extension"
TELEMETRY_API, LOGS_API = "2022-07-01", "2020-08-15"
NAMES = {TELEMETRY_API: "Telemetry", LOGS_API: "Logs"}
_FALLEN_BEHIND = "Consumer seems to have fallen behind as it has not acknowledged receipt of logs."
_LOGS_KINDS = frozenset(
    f"platform.{kind}" for kind in ("start", "end", "report", "fault", "extension", "logsSubscription", "logsDropped")
)
_ONLY_LOGS = frozenset({"platform.end", "platform.fault", "platform.logsSubscription"})
_STRING_RECORDS = frozenset({"2022-07-01", "2020-08-15", "2021-03-18"})  # schemas whose log records are always text

Record = Mapping[str, Any] | str


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one extension has asked for."""

    api: str  # TELEMETRY_API or LOGS_API
    schema: str  # "2022-12-13"
    types: tuple[str, ...]  # of platform, function and extension
    destination: Destination
    buffering: Buffering

    def wants(self, kind: str) -> bool:
        """Whether events of `kind` ("platform.start", "function") belong to it."""
        if kind.partition(".")[0] not in self.types:
            return False
        if not kind.startswith("platform."):
            return True
        if self.api == TELEMETRY_API:
            return kind not in _ONLY_LOGS
        return kind in _LOGS_KINDS or (kind == "platform.runtimeDone" and self.schema == "2021-03-18")


@dataclass(frozen=True, slots=True)
class _Event:
    time: str
    kind: str
    record: Record
    parsed: Any = None  # of a log line in the JSON format: what newer schemas hold in place of the text

    def encode(self, schema: str) -> bytes:
        record = self.record if self.parsed is None or schema in _STRING_RECORDS else self.parsed
        return orjson.dumps({"time": self.time, "type": self.kind, "record": record}, option=orjson.OPT_NON_STR_KEYS)


class Telemetry:
    """Takes events at any time, at next to no cost while nobody has subscribed; delivers them in the background."""

    def __init__(self, clock: Clock, connect: Connect, *, parse: bool, allowance: Allowance | None = None) -> None:
        """`parse`: log lines are JSON, as the function's log format says. `allowance` is shared by a server."""
        self._clock = clock
        self._connect = connect
        self._parse = parse
        self._allowance = Allowance(KEPT, allowance)
        self._subscribers: dict[str, tuple[Subscription, Delivery]] = {}
        self._gone: list[Delivery] = []
        self._backlog: list[_Event] | None = None
        self._backlog_size = 0
        self.active = False
        """Whether anybody listens, or may yet ask for what happens now."""

    @property
    def open(self) -> bool:
        """Whether extensions may subscribe: during the init phase."""
        return self._backlog is not None

    def begin(self) -> None:
        """An init phase begins, with no subscriber."""
        self._forget()
        self._backlog, self._backlog_size = [], 0
        self.active = True

    def _forget(self) -> None:
        self._gone += [delivery for _subscription, delivery in self._subscribers.values()]
        self._subscribers = {}

    def close(self) -> None:
        """The init phase is over: no more subscriptions."""
        self._backlog = None
        self.active = bool(self._subscribers)

    def subscribe(self, name: str, subscription: Subscription) -> bool:
        """The extension `name` gets what has happened in this init phase and what will. A newer wish replaces it.

        False when nothing is new. Refused when the init phase is over, and for who has used the other API already.
        """
        api = NAMES[subscription.api]
        if self._backlog is None:
            raise Refused(f"{api}.SubscriptionClosed", f"{api} API subscription is closed already")
        former = self._subscribers.get(name)
        if former is not None:
            if former[0] == subscription:
                return False
            if former[0].api != subscription.api:
                raise Refused(f"{api}.SubscriptionClosed", "The extension has subscribed using the other API already")
            self._gone.append(former[1])
        buffer = Buffer(subscription.buffering, self._allowance)
        delivery = Delivery(
            buffer,
            sender(subscription.destination, self._connect),
            lambda batch: self._dropped(subscription, batch),
            self._clock.monotonic,
        )
        self._subscribers[name] = (subscription, delivery)
        for event in self._backlog:
            if subscription.wants(event.kind):
                delivery.push(event.encode(subscription.schema))
        return True

    def emit(self, kind: str, record: Record) -> None:
        """An event of the platform, or a line of a log (`function`, `extension`). For when `active`."""
        event = _Event(self._now(), kind, record, self._parsed(kind, record))
        if self._backlog is not None and self._backlog_size < BACKLOG and len(self._backlog) < BACKLOG_EVENTS:
            self._backlog.append(event)
            self._backlog_size += len(record)
        encoded: dict[str, bytes] = {}
        for subscription, delivery in self._subscribers.values():
            if subscription.wants(kind):
                if subscription.schema not in encoded:
                    encoded[subscription.schema] = event.encode(subscription.schema)
                delivery.push(encoded[subscription.schema])

    def _parsed(self, kind: str, record: Record) -> Any:
        if not self._parse or not isinstance(record, str) or kind == "platform.fault":
            return None
        try:
            parsed = orjson.loads(record)
        except orjson.JSONDecodeError:
            return None
        return parsed if isinstance(parsed, dict) else None

    def _now(self) -> str:
        return stamp(self._clock.now())

    def _dropped(self, subscription: Subscription, batch: Batch) -> bytes:
        record = {
            "droppedBytes": batch.dropped_bytes,
            "droppedRecords": batch.dropped_records,
            "reason": _FALLEN_BEHIND,
        }
        return _Event(self._now(), "platform.logsDropped", record).encode(subscription.schema)

    def _each(self, act: Callable[[Delivery], None]) -> None:
        for _subscription, delivery in self._subscribers.values():
            act(delivery)

    def pause(self) -> None:
        """The environment is frozen."""
        self._each(Delivery.pause)

    def resume(self) -> None:
        self._each(Delivery.resume)

    def flush(self) -> None:
        """Send everything now: the environment is about to end, or a stream has."""
        self._each(Delivery.flush)

    async def stop(self) -> None:
        """Drop all subscribers and what they have not got."""
        self._forget()
        self.close()
        gone, self._gone = self._gone, []
        for delivery in gone:
            await delivery.stop()
