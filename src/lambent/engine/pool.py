"""Which execution environment takes an invocation: decided by a pure `plan` over what waits and what there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lambent.engine.environment import State

FINISHING_GRACE = 0.02  # seconds that a runtime which has answered may take to ask for its next event


@dataclass(frozen=True, slots=True)
class View:
    """An environment as the plan sees it."""

    id: str
    function: str  # identity of the function version it runs
    state: State
    since: float  # monotonic seconds of its last change of state


@dataclass(frozen=True, slots=True)
class Start:
    """Make a new environment for `function`."""

    function: str


@dataclass(frozen=True, slots=True)
class Assign:
    """Give the next waiting invocation of its function to environment `id`."""

    id: str


@dataclass(frozen=True, slots=True)
class Evict:
    """End environment `id` to make room."""

    id: str


Action = Assign | Start | Evict


def plan(waiting: Sequence[str], environments: Sequence[View], budget: int, now: float) -> list[Action]:
    """What to do for the invocations in `waiting` (function identities, oldest first).

    Idle environments take them, the most recently used first, so that surplus ones grow old. An environment that is
    starting, or has just answered, is worth waiting for. Otherwise a new one starts, within `budget` environments in
    all; when that is used up, the longest-idle environment of a function that nobody waits for makes room.
    """
    actions: list[Action] = []
    idle: dict[str, list[View]] = {}
    coming: dict[str, int] = {}
    for view in environments:
        if view.state in (State.IDLE, State.STALE):
            idle.setdefault(view.function, []).append(view)
        elif view.state is State.STARTING or (view.state is State.FINISHING and now - view.since < FINISHING_GRACE):
            coming[view.function] = coming.get(view.function, 0) + 1
    for views in idle.values():
        views.sort(key=lambda view: (view.state is State.IDLE, view.since))
    room = budget - sum(view.state is not State.DEAD for view in environments)
    wanted = set(waiting)
    spare = [view for function, views in idle.items() if function not in wanted for view in views]
    spare.sort(key=lambda view: view.since, reverse=True)
    for function in waiting:
        if idle.get(function):
            actions.append(Assign(idle[function].pop().id))
        elif coming.get(function, 0) > 0:
            coming[function] -= 1
        elif room > 0:
            room -= 1
            actions.append(Start(function))
        elif spare:
            actions.append(Evict(spare.pop().id))
            actions.append(Start(function))
    return actions


def surplus(environments: Sequence[View], idle_seconds: float, now: float) -> list[str]:
    """The environments that have been idle for longer than `idle_seconds`."""
    rest = (State.IDLE, State.STALE)
    return [view.id for view in environments if view.state in rest and now - view.since > idle_seconds]
