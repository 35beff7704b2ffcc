"""How long points are kept, and how finely: as CloudWatch does, and within a bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from lambent.base.db import Connection, Database
from lambent.base.sketch import Sketch
from lambent.services.cloudwatch import points

_HOUR, _DAY = 3_600, 86_400
LEVELS = ((60, 3 * _HOUR), (300, 15 * _DAY), (3600, 63 * _DAY))
"""(seconds that one point spans, once it is so old)"""
LONGEST = 455 * _DAY
_AT_ONCE = 200  # series of one transaction: others write in between
_ROOM = 0.9  # of the bound: how far it is cut down to
_CUT = 0.1  # of the time that the points of a namespace span, at once
_MOST_CUTS = 100
_RECORD = "INSERT OR REPLACE INTO upkeep (span, until) VALUES (?, ?)"


async def run(db: Database, now: int, bound: int) -> None:
    numbers = [number for (number,) in await db.read(lambda c: c.execute("SELECT id FROM series ORDER BY id"))]
    for span, age in LEVELS:
        until = (now - age) // span * span
        done = await db.read(lambda c, span=span: c.execute("SELECT until FROM upkeep WHERE span = ?", (span,)))  # type: ignore[misc]
        since = done[0][0] if done else 0
        if since < until:
            await _each(db, numbers, _joining(span, since, until))
            await db.write(lambda c, row=(span, until): c.execute(_RECORD, row))  # type: ignore[misc]
    await _each(db, numbers, _dropping(now - LONGEST))
    for _cut in range(_MOST_CUTS):
        if await db.read(_size) <= bound * (_ROOM if _cut else 1):
            break
        await db.write(_make_room)


def forget(connection: Connection) -> None:
    """The metrics that no point is left of."""
    connection.execute("DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM points WHERE series = id)")


async def _each(db: Database, numbers: Sequence[int], work: Callable[[Connection, int], None]) -> None:
    def several(connection: Connection, some: Sequence[int]) -> None:
        for number in some:
            work(connection, number)

    for at in range(0, len(numbers), _AT_ONCE):
        some = numbers[at : at + _AT_ONCE]
        await db.write(partial(several, some=some))


def _joining(span: int, since: int, until: int) -> Callable[[Connection, int], None]:
    """Put the points of a series between these times together, one for each `span` seconds."""

    def work(connection: Connection, number: int) -> None:
        found = points.between(connection, number, since, until)
        if all(start % span == 0 for start, _values in found):
            return
        joined: dict[int, Sketch] = {}
        for start, values in found:
            joined.setdefault(start // span * span, Sketch()).merge(values)
        points.remove(connection, number, since, until)
        for start, values in joined.items():
            points.put(connection, number, start, values)

    return work


def _dropping(until: int) -> Callable[[Connection, int], None]:
    def work(connection: Connection, number: int) -> None:
        points.remove(connection, number, 0, until)

    return work


def _size(connection: Connection) -> int:
    """Bytes that are in use; what was deleted is used again."""
    [[pages]] = connection.execute("PRAGMA page_count")
    [[free]] = connection.execute("PRAGMA freelist_count")
    [[size]] = connection.execute("PRAGMA page_size")
    return int((pages - free) * size)


def _make_room(connection: Connection) -> None:
    """The namespace that takes most gives its oldest: who puts much pushes out nobody else's."""
    rows = connection.execute(
        "SELECT account, region, namespace, min(start), max(start) FROM points JOIN series ON series.id = points.series"
        " GROUP BY account, region, namespace ORDER BY count(*) DESC LIMIT 1"
    )
    for account, region, namespace, first, last in rows:
        connection.execute(
            "DELETE FROM points WHERE start <= ? AND series IN"
            " (SELECT id FROM series WHERE account = ? AND region = ? AND namespace = ?)",
            (first + int((last - first) * _CUT), account, region, namespace),
        )
