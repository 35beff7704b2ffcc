"""Which functions get new execution environments, and which environments make room: pure decisions, no mechanism."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FINISHING_GRACE = 0.02  # seconds that a runtime which has answered may take to ask for its next event


@dataclass(frozen=True, slots=True)
class Demand:
    """What one function version lacks."""

    function: str  # identity of the function version
    account: str  # account and region: those take turns first
    runtime: str
    short: int  # invocations that wait and that no environment on its way will take


@dataclass(frozen=True, slots=True)
class Start:
    """Make a new environment for `function`."""

    function: str


@dataclass(frozen=True, slots=True)
class Evict:
    """End the idle environment `id` to make room."""

    id: str


Action = Start | Evict


def plan(demands: Iterable[Demand], *, room: int, creations: Mapping[str, int], idle: Iterable[str]) -> list[Action]:
    """Which environments to start now, in fair turns: one for each account, within an account one for each function.

    `demands` come in the order of their turns. `room` is how many environments there may still be; when it is used
    up, the environments in `idle` (of functions that nobody waits for, longest idle first) make room. `creations` is
    how many sandboxes of each runtime may be made at the same time from now on: a machine that makes hundreds at
    once finishes none of them soon, and what is made last may no longer be needed by then.
    """
    actions: list[Action] = []
    left = dict(creations)
    victims = iter(idle)
    for demand in turns(demands):
        if left.get(demand.runtime, 0) <= 0:
            continue
        if room <= 0:
            victim = next(victims, None)
            if victim is None:
                break
            actions.append(Evict(victim))
            room += 1
        actions.append(Start(demand.function))
        room -= 1
        left[demand.runtime] -= 1
        if not any(value > 0 for value in left.values()):
            break
    return actions


def turns(demands: Iterable[Demand]) -> Iterable[Demand]:
    """Each demand as often as it is short: accounts alternate, and so do the functions of an account."""
    accounts: dict[str, deque[tuple[Demand, int]]] = {}
    for demand in demands:
        if demand.short > 0:
            accounts.setdefault(demand.account, deque()).append((demand, demand.short))
    queue = deque(accounts.values())
    while queue:
        functions = queue.popleft()
        demand, short = functions.popleft()
        yield demand
        if short > 1:
            functions.append((demand, short - 1))
        if functions:
            queue.append(functions)


def gives_way(environments: int, others: int, room: int) -> bool:
    """Whether a function with that many `environments` gives one up for a function that is short and has `others`."""
    return room <= 0 and environments > others + 1
