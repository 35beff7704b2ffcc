"""Asynchronous events as the database keeps them, from before they are acknowledged until they have ended."""

# ruff: noqa: S608  only constants are put together; every value is a parameter

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lambent.base.db import Connection, Migration
from lambent.control.records import FunctionKey
from lambent.sources.schedule import History

MIGRATIONS = (
    Migration(
        "async_events",
        1,
        "async_events",
        (
            "CREATE TABLE async_events (request_id TEXT PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL,"
            " name TEXT NOT NULL, qualifier TEXT, payload TEXT NOT NULL, trace TEXT NOT NULL,"
            " tenant TEXT, accepted DOUBLE PRECISION NOT NULL, due DOUBLE PRECISION NOT NULL, errors INTEGER NOT NULL,"
            " refusals INTEGER NOT NULL)",
            "CREATE INDEX async_events_by_function ON async_events (account, region, name, due, request_id)",
        ),
    ),
)

_FUNCTION = "account = ? AND region = ? AND name = ?"
_COLUMNS = "request_id, account, region, name, qualifier, payload, trace, tenant, accepted, errors, refusals"


@dataclass(frozen=True, slots=True)
class Event:
    """One event on its way to a function."""

    request_id: str  # the same at every try
    key: FunctionKey
    qualifier: str | None  # as given: what an alias means is decided at each try
    payload: bytes  # JSON
    trace: str  # the X-Amzn-Trace-Id header
    tenant: str | None  # for whom it is
    history: History


def insert(connection: Connection, event: Event) -> None:
    """Due at once."""
    key, history = event.key, event.history
    names = (event.request_id, key.account, key.region, key.name, event.qualifier)
    values = (*names, event.payload.decode(), event.trace, event.tenant)
    connection.execute(
        f"INSERT INTO async_events ({_COLUMNS}, due) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, history.accepted, history.errors, history.refusals, history.accepted),
    )


def heads(connection: Connection) -> dict[FunctionKey, float]:
    """Of each function that has events: when the first is due."""
    query = "SELECT account, region, name, MIN(due) FROM async_events GROUP BY account, region, name"
    return {FunctionKey(account, region, name): due for account, region, name, due in connection.execute(query)}


def take(
    connection: Connection, key: FunctionKey, count: int, now: float, besides: Collection[str]
) -> tuple[list[Event], float | None]:
    """Up to `count` events that are due, in that order, and when the one after them is. Leaves those of `besides`."""
    query = f"SELECT request_id, due FROM async_events WHERE {_FUNCTION} ORDER BY due, request_id LIMIT ?"
    rows = connection.execute(query, (key.account, key.region, key.name, count + len(besides) + 1))
    waiting = [(name, due) for name, due in rows if name not in besides]
    ready = [name for name, due in waiting[:count] if due <= now]
    following = waiting[len(ready)][1] if len(waiting) > len(ready) else None
    return [_find(connection, name) for name in ready], following


def _find(connection: Connection, request_id: str) -> Event:
    query = f"SELECT {_COLUMNS} FROM async_events WHERE request_id = ?"
    [(_, account, region, name, qualifier, payload, trace, tenant, *history)] = connection.execute(query, (request_id,))
    key = FunctionKey(account, region, name)
    return Event(request_id, key, qualifier, payload.encode(), trace, tenant, History(*history))


def put_off(connection: Connection, event: Event, due: float, history: History) -> None:
    query = "UPDATE async_events SET due = ?, errors = ?, refusals = ? WHERE request_id = ?"
    connection.execute(query, (due, history.errors, history.refusals, event.request_id))


def remove(connection: Connection, event: Event) -> bool:
    """False when it had gone with its function."""
    query = "DELETE FROM async_events WHERE request_id = ? RETURNING request_id"
    return bool(connection.execute(query, (event.request_id,)))


def let_go(connection: Connection, key: FunctionKey, qualifier: str | None) -> None:
    """A function goes with its events; those for a version or an alias find out at their next try."""
    if qualifier is None:
        connection.execute(f"DELETE FROM async_events WHERE {_FUNCTION}", (key.account, key.region, key.name))
