"""Initialised environments that wait frozen for the first invocation of a version with SnapStart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

from lambent.base import memory
from lambent.control.records import LATEST, Function
from lambent.engine.drivers import sizing
from lambent.engine.fleet import Fleet, Slot, Standing
from lambent.engine.invocation import Outcome
from lambent.wire.errors import AwsError

_log = logging.getLogger("lambent.spares")

REFILL_SECONDS = 0.05  # after one has been used: what it was used for comes first
MOST = 16  # forks of a template that wait, whatever was taken
_COMING = (Standing.CREATING, Standing.STARTING)


class Yard(Protocol):
    """Where environments are made and ended: the invoker."""

    def fleet(self, function: Function) -> Fleet: ...
    def room(self) -> bool: ...
    def may_create(self, runtime: str) -> bool: ...
    def begin(self, fleet: Fleet, *, founds: bool = False) -> Slot: ...
    def restore_slot(self, slot: Slot) -> None: ...
    def retire_slot(self, slot: Slot) -> None: ...
    def settle(self, fleet: Fleet) -> None: ...


def snap_started(function: Function) -> bool:
    """Whether its environments go on from a snapshot; $LATEST never does."""
    return function.snap_start != "None" and function.version != LATEST


class Spares:
    def __init__(self, yard: Yard, count: int) -> None:
        """`count` environments of each version wait."""
        self._yard = yard
        self._count = count

    async def make(self, function: Function) -> Outcome | AwsError | None:
        """Run the init phase once and keep the environment; how it failed, None when it waits.

        Until `keep` or `drop` the environment stays, whether the version is served or not.
        """
        fleet = self._yard.fleet(function)
        fleet.making = True
        if not self._yard.room():
            fleet.making = False
            raise RuntimeError(f"there is no room for an environment of {function.arn} (max_environments)")
        first = await self._begin(fleet, founds=fleet.forkable)
        if first.failure is not None and first.founds and not fleet.forkable:
            first = await self._begin(fleet)  # it came to nothing as a template only
        if first.failure is None and fleet.template is not None:
            await self._begin(fleet)  # what comes of it is seen when it is needed
        return first.failure

    async def _begin(self, fleet: Fleet, *, founds: bool = False) -> Slot:
        slot = self._yard.begin(fleet, founds=founds)
        assert slot.task is not None
        await asyncio.shield(slot.task)
        return slot

    def keep(self, function: Function) -> None:
        """The version is served from now on: have as many wait as are wanted."""
        fleet = self._yard.fleet(function)
        fleet.making = False
        self.fill(fleet)

    def drop(self, function: Function) -> None:
        """The version cannot be served, or is gone."""
        fleet = self._yard.fleet(function)
        fleet.making = False
        fleet.gone = True
        for slot in fleet.every():
            self._yard.retire_slot(slot)
        self._yard.settle(fleet)

    def use(self, fleet: Fleet) -> bool:
        """Have a waiting one go on for an invocation that waits; False when there is none."""
        slots = fleet.slots[Standing.SNAPSHOT]
        if not slots:
            return False
        fleet.recent.note(asyncio.get_running_loop().time())
        self._yard.restore_slot(next(iter(slots)))
        return True

    def refill(self, fleet: Fleet) -> None:
        """One may have been used or lost: soon have another in its place."""
        asyncio.get_running_loop().call_later(REFILL_SECONDS, self.fill, fleet)

    def fill(self, fleet: Fleet) -> None:
        """Have as many wait as are wanted, while the version is there."""
        if fleet.gone:
            return
        if fleet.template is None and fleet.forkable:
            if not any(slot.founds for standing in _COMING for slot in fleet.slots[standing]) and self._yard.room():
                self._yard.begin(fleet, founds=True)
            return
        waiting = sum(len(fleet.slots[standing]) for standing in (*_COMING, Standing.SNAPSHOT))
        runtime = fleet.function.runtime
        while waiting < self._wanted(fleet) and self._yard.may_create(runtime) and self._yard.room():
            self._yard.begin(fleet)
            waiting += 1

    def _wanted(self, fleet: Fleet) -> int:
        """How many should wait: where they are cheap, as many as a busy second of the last minute took."""
        if fleet.template is None:
            return self._count
        peak = fleet.recent.peak(asyncio.get_running_loop().time())
        return sizing.target(self._count, min(peak, MOST), memory.read().available if peak > self._count else 0)

    def tend(self, fleets: Iterable[Fleet]) -> None:
        """From time to time: demand may have been forgotten, and what waits for it waits in vain."""
        for fleet in fleets:
            waiting = fleet.slots[Standing.SNAPSHOT]
            if len(waiting) > self._count and not fleet.making:
                for slot in list(waiting)[self._wanted(fleet) :]:
                    self._yard.retire_slot(slot)
