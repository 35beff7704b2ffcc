"""One metric's values of a second, a minute, five minutes or an hour, as rows."""

from __future__ import annotations

from lambent.base.db import Connection
from lambent.base.sketch import Sketch


def between(connection: Connection, number: int, start: int, end: int) -> list[tuple[int, Sketch]]:
    """Those of a series with `start` <= time < `end`, in order."""
    query = (
        "SELECT start, count, total, least, most, spread FROM points"
        " WHERE series = ? AND start >= ? AND start < ? ORDER BY start"
    )
    return [(at, Sketch.decode(*values)) for at, *values in connection.execute(query, (number, start, end))]


def put(connection: Connection, number: int, start: int, values: Sketch) -> None:
    """In the place of what lies at `start`."""
    connection.execute(
        "INSERT OR REPLACE INTO points (series, start, count, total, least, most, spread) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (number, start, values.count, values.sum, values.least, values.most, values.encode()),
    )


def add(connection: Connection, number: int, start: int, values: Sketch) -> None:
    """To what lies at `start`."""
    merged = Sketch()
    for _start, found in between(connection, number, start, start + 1):
        merged = found
    merged.merge(values)
    put(connection, number, start, merged)


def remove(connection: Connection, number: int, start: int, end: int) -> None:
    connection.execute("DELETE FROM points WHERE series = ? AND start >= ? AND start < ?", (number, start, end))
