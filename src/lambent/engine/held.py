"""The execution environments that are kept initialised: provisioned concurrency's mechanism."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from lambent.control.records import Function, FunctionKey
from lambent.engine.failures import platform_error
from lambent.engine.fleet import Fleet, Slot, Standing, identity
from lambent.engine.invocation import Outcome
from lambent.engine.sandbox import SandboxError

INIT_TRIES = 6  # before AWS gives up on provisioned environments


class Yard(Protocol):
    """Where environments are made and ended: the invoker."""

    def room(self) -> bool: ...
    def may_create(self, runtime: str) -> bool: ...
    def begin(self, fleet: Fleet) -> Slot: ...
    def retire_slot(self, slot: Slot) -> None: ...
    def spill(self, fleet: Fleet) -> None: ...


class Held:
    """Fleets of their own beside the ordinary ones of the same version; never idle for too long, never evicted."""

    def __init__(self, yard: Yard, fleets: dict[str, Fleet], budget: int) -> None:
        """`fleets` are all of the invoker's, by identity."""
        self._yard = yard
        self._fleets = fleets
        self._budget = budget
        self._held: dict[str, Fleet] = {}

    async def hold(self, function: Function, count: int) -> Outcome | None:
        """Have `count` environments of a version initialised and keep them so until `release`; None when they are.

        What comes back otherwise says that the init phase failed INIT_TRIES times in a row. Raises SandboxError when
        there is no room for so many.
        """
        name = provisioned_identity(function)
        others = sum(fleet.kept for other, fleet in self._held.items() if other != name)
        if others + count > self._budget:
            problem = f"this server runs at most {self._budget} execution environments (max_environments)"
            raise SandboxError(f"{problem}, and {others} of them are provisioned already")
        fleet = self._fleets.setdefault(name, Fleet(name, function))
        self._held[name] = fleet
        fleet.kept, fleet.failures = count, 0
        fleet.ready_or_broken.clear()
        self.fill(fleet)
        await fleet.ready_or_broken.wait()
        return platform_error("", "Runtime.Unknown", "the init phase failed") if _broken(fleet) else None

    def release(self, key: FunctionKey, wanted: Mapping[str, int]) -> None:
        """Keep only as many environments of each version as are `wanted`; those at work end after their answer."""
        for fleet in list(self._held.values()):
            if fleet.function.key == key:
                self.shrink(fleet, wanted.get(fleet.function.version, 0))

    def counts(self, key: FunctionKey) -> Mapping[str, int]:
        """How many environments of each version are initialised."""
        fleets = (fleet for fleet in self._held.values() if fleet.function.key == key)
        return {fleet.function.version: fleet.initialised for fleet in fleets}

    def free(self, function: Function) -> Fleet | None:
        """The environments of a version, if one of them is free."""
        if not self._held:
            return None
        fleet = self._held.get(provisioned_identity(function))
        return fleet if fleet is not None and fleet.taken < fleet.initialised else None

    def has(self, function: Function) -> bool:
        """Whether environments are kept for the version."""
        return bool(self._held) and provisioned_identity(function) in self._held

    def use(self) -> Iterator[tuple[Function, int, int]]:
        """Of every version that has some: how many are at work, and how many are kept."""
        return ((fleet.function, fleet.taken, fleet.kept) for fleet in self._held.values())

    def fill(self, fleet: Fleet) -> None:
        """Make what is missing, a few at a time; this is called again whenever one of them is there or has failed."""
        if fleet.initialised >= fleet.kept:
            fleet.failures = 0
            fleet.ready_or_broken.set()
        elif _broken(fleet):
            fleet.ready_or_broken.set()
        else:
            runtime = fleet.function.runtime
            while fleet.size < fleet.kept and self._yard.may_create(runtime) and self._yard.room():
                self._yard.begin(fleet)

    def lost(self, fleet: Fleet) -> None:
        """One of its environments is gone."""
        if fleet.waiting:
            self._yard.spill(fleet)
        self.fill(fleet)

    def shrink(self, fleet: Fleet, count: int) -> None:
        """Keep at most `count`."""
        fleet.kept = min(fleet.kept, count)
        if not fleet.kept:
            self._held.pop(fleet.identity, None)
            fleet.ready_or_broken.set()
            if not fleet.size and not fleet.waiting:
                self._fleets.pop(fleet.identity, None)
        surplus = max(0, fleet.size - fleet.kept)
        for slot in list(dict.fromkeys((*fleet.slots[Standing.IDLE], *fleet.every())))[:surplus]:
            self._yard.retire_slot(slot)

    def tend(self) -> None:
        """From time to time: what could not be made when it was wanted may be possible now."""
        for fleet in list(self._held.values()):
            self.shrink(fleet, fleet.kept)
            self.fill(fleet)


def provisioned_identity(function: Function) -> str:
    """Names the provisioned environments of a version, beside its others."""
    return f"{identity(function)}+provisioned"


def _broken(fleet: Fleet) -> bool:
    return fleet.failures >= INIT_TRIES
