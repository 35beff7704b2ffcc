"""What the log service knows: groups, streams, events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_ID_DIGITS = (20, 36)  # of an event id: its timestamp, its sequence


class GroupKey(NamedTuple):
    account: str
    region: str
    name: str

    @property
    def arn(self) -> str:
        """As log groups are named in policies and tags: without the `:*`."""
        return f"arn:aws:logs:{self.region}:{self.account}:log-group:{self.name}"


class Place(NamedTuple):
    """Where an event stands in the order of its group: by time, and by arrival where times are the same."""

    timestamp: int  # milliseconds since the epoch
    sequence: int

    def __str__(self) -> str:
        """56 digits, as AWS's event ids have: they sort as places do."""
        return f"{self.timestamp:0{_ID_DIGITS[0]}d}{self.sequence:0{_ID_DIGITS[1]}d}"

    @classmethod
    def of(cls, digits: str) -> Place | None:
        """The place that `str` made these 56 digits of; None for anything else."""
        if len(digits) != sum(_ID_DIGITS) or not digits.isascii() or not digits.isdigit():
            return None
        return cls(int(digits[: _ID_DIGITS[0]]), int(digits[_ID_DIGITS[0] :]))


class Event(NamedTuple):
    timestamp: int  # milliseconds since the epoch
    sequence: int  # grows by one with every event of this server, across restarts too
    stream: str
    ingested: int  # milliseconds since the epoch
    message: str

    @property
    def place(self) -> Place:
        return Place(self.timestamp, self.sequence)


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """What was asked for a group; lies in its `group.json`."""

    created: int  # milliseconds since the epoch
    log_class: str = "STANDARD"
    retention: int | None = None  # days; None: as long as there is room
    protected: bool = False  # from deletion
    tags: Mapping[str, str] = field(default_factory=dict)
    subscriptions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # filters, by name
    metric_filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GroupView:
    key: GroupKey
    record: GroupRecord
    size: int  # bytes on disk


@dataclass(slots=True)
class Stream:
    """What is known of a stream without reading its events. Times in milliseconds since the epoch."""

    created: int
    first: int | None = None  # the oldest event
    last: int | None = None
    ingested: int | None = None
    asked_for: bool = False  # made by CreateLogStream: it outlives its events

    def take(self, other: Stream) -> None:
        """Add what another segment knows of the same stream."""
        self.created = min(self.created, other.created)
        self.asked_for = self.asked_for or other.asked_for
        for name, choose in (("first", min), ("last", max), ("ingested", max)):
            found = [value for value in (getattr(self, name), getattr(other, name)) if value is not None]
            setattr(self, name, choose(found) if found else None)
