"""The execution environments of one function version, by where they stand, and the invocations that wait for them."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto

from lambent.control.records import LATEST, Function
from lambent.engine.drivers.sizing import Recent
from lambent.engine.environment import Environment
from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.pool import FINISHING_GRACE, Demand
from lambent.wire.errors import AwsError


class Standing(Enum):
    """Where an environment stands in the eyes of who hands out work."""

    __hash__ = object.__hash__  # Enum's own is Python code, and these are keys on every invocation's path

    CREATING = auto()  # its sandbox is being made
    STARTING = auto()  # an init phase, the first or a repeated one
    TEMPLATE = auto()  # initialised, and forked from
    SNAPSHOT = auto()  # initialised, waits to be restored
    IDLE = auto()
    BUSY = auto()
    FINISHING = auto()  # answered; will ask for the next event at once, usually
    STALE = auto()  # the sandbox is there, its runtime is not


INITIALISED = (Standing.IDLE, Standing.BUSY, Standing.FINISHING)


@dataclass(slots=True, eq=False)
class Slot:
    """An environment, or the place of one that is being made."""

    id: str
    fleet: Fleet
    function: Function
    since: float  # monotonic seconds of its last change
    born: float  # monotonic seconds of its creation
    standing: Standing = Standing.CREATING
    environment: Environment | None = None
    task: asyncio.Task[None] | None = None  # what makes, starts or restarts it
    founds: bool = False  # it is to be the template of its fleet
    forked: bool = False  # its sandbox is a fork of that template
    retired: bool = False  # to be ended when it next comes to rest
    expired: bool = False  # and even though invocations wait: its credentials are old
    failure: Outcome | AwsError | None = None  # how its first init phase failed


@dataclass(slots=True, eq=False)
class Fleet:
    """No method scans the environments: hundreds of them cost an invocation no more than one."""

    identity: str
    function: Function
    waiting: deque[Invocation] = field(default_factory=deque)
    slots: dict[Standing, dict[Slot, None]] = field(default_factory=lambda: {standing: {} for standing in Standing})
    size: int = 0
    kept: int = 0  # environments that are provisioned: initialised before anybody asks, and never ended for room
    making: bool = False  # a snapshot is being made of a version that is not served yet
    gone: bool = False  # the version is not served any more
    template: Slot | None = None  # what environments are forked from
    forkable: bool = True  # as far as is known
    fork_failures: int = 0  # in a row
    recent: Recent = field(default_factory=Recent)  # restores
    taken: int = 0  # invocations that run in provisioned environments
    failures: int = 0  # init phases of provisioned environments that have failed in a row
    ready_or_broken: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when as many environments as are `kept` are initialised, or cannot be."""

    @property
    def initialised(self) -> int:
        return sum(len(self.slots[standing]) for standing in INITIALISED)

    @property
    def account(self) -> str:
        return f"{self.function.key.account}/{self.function.key.region}"

    def add(self, slot: Slot) -> None:
        self.slots[slot.standing][slot] = None
        self.size += 1

    def move(self, slot: Slot, standing: Standing) -> None:
        del self.slots[slot.standing][slot]
        slot.standing = standing
        self.slots[standing][slot] = None

    def remove(self, slot: Slot) -> None:
        del self.slots[slot.standing][slot]
        self.size -= 1

    def every(self) -> list[Slot]:
        return [slot for slots in self.slots.values() for slot in slots]

    def ready(self) -> Slot | None:
        """The most recently used idle environment, so that surplus ones grow old; else one with its runtime gone."""
        for standing in (Standing.IDLE, Standing.STALE):
            if slots := self.slots[standing]:
                return next(reversed(slots))
        return None

    def finishing(self, now: float) -> int:
        """Environments that have just answered: worth waiting for."""
        slots = self.slots[Standing.FINISHING]
        return sum(now - slot.since < FINISHING_GRACE for slot in slots) if slots else 0

    def demand(self, now: float) -> Demand:
        on_their_way = len(self.slots[Standing.CREATING]) + len(self.slots[Standing.STARTING]) + self.finishing(now)
        short = max(0, len(self.waiting) - on_their_way)
        return Demand(self.identity, self.account, self.function.runtime, short)


def identity(function: Function, tenant: str | None = None) -> str:
    """Tells one version of a function, as it stood after its last update, from every other.

    A published version never changes, whatever its revision is, and its number is never used again. Each `tenant` has
    environments of its own; no id of a tenant has a "#".
    """
    version = function.arn
    if function.version == LATEST:
        version = f"{version}@{function.version}@{function.revision_id}"
    return version if tenant is None else f"{version}#{tenant}"
