"""Where an execution environment can stand, and from where to where it can go."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    STARTING = "starting"  # the init phase
    SNAPSHOT = "snapshot"  # initialised; /restore/next is parked
    TEMPLATE = "template"  # initialised; others are forked from it, and it never goes on itself
    RESTORING = "restoring"  # the restore phase
    IDLE = "idle"  # /next is parked
    BUSY = "busy"  # an event is with the runtime
    FINISHING = "finishing"  # answered; the runtime or an extension has not come back for the next event
    SHUTDOWN = "shutdown"  # the runtime and its extensions are being ended
    STALE = "stale"  # the runtime is gone or has overstayed; the sandbox can have a fresh one
    DEAD = "dead"


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.STARTING: frozenset({State.SNAPSHOT, State.TEMPLATE, State.IDLE, State.SHUTDOWN, State.STALE, State.DEAD}),
    State.SNAPSHOT: frozenset({State.RESTORING, State.SHUTDOWN, State.STALE, State.DEAD}),
    State.TEMPLATE: frozenset({State.SNAPSHOT, State.STALE, State.DEAD}),
    State.RESTORING: frozenset({State.IDLE, State.SHUTDOWN, State.STALE, State.DEAD}),
    State.IDLE: frozenset({State.BUSY, State.SHUTDOWN, State.STALE, State.DEAD}),
    State.BUSY: frozenset({State.FINISHING, State.SHUTDOWN, State.STALE, State.DEAD}),
    State.FINISHING: frozenset({State.IDLE, State.SHUTDOWN, State.STALE, State.DEAD}),
    State.SHUTDOWN: frozenset({State.STALE, State.DEAD}),
    State.STALE: frozenset({State.STARTING, State.DEAD}),
    State.DEAD: frozenset(),
}
