"""The metrics of a data directory: taken in memory, written every few seconds, in a database of their own.

A row is one metric's values of one second, minute, five minutes or hour. What waits in memory is lost when the server
is killed: up to `FLUSH_SECONDS`. Reading writes it first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import orjson

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database, DatabaseError, Migration
from lambent.base.sketch import Sketch
from lambent.services.cloudwatch import points, upkeep
from lambent.services.cloudwatch.records import Dimensions, Metric, is_added_up, shorter

FLUSH_SECONDS = 10.0
MINUTE = 60
_MOST_WAITING = 50_000  # points in memory; what comes on top is lost
_KNOWN = 50_000  # numbers of series that are kept in memory
_UPKEEP_SECONDS = 600.0
LISTED = 14 * 86_400  # seconds that a metric is listed after its last value

_log = logging.getLogger("lambent.metrics")

MIGRATIONS = (
    Migration(
        "cloudwatch",
        1,
        "metrics and their points",
        (
            "CREATE TABLE series (id INTEGER PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL,"
            " namespace TEXT NOT NULL, name TEXT NOT NULL, dimensions TEXT NOT NULL, unit TEXT NOT NULL,"
            " last INTEGER NOT NULL, UNIQUE (account, region, namespace, name, dimensions, unit))",
            "CREATE TABLE points (series INTEGER NOT NULL, start INTEGER NOT NULL, count REAL NOT NULL,"
            " total REAL NOT NULL, least REAL NOT NULL, most REAL NOT NULL, spread BLOB NOT NULL,"
            " PRIMARY KEY (series, start)) WITHOUT ROWID",
            "CREATE TABLE upkeep (span INTEGER PRIMARY KEY, until INTEGER NOT NULL)",
        ),
    ),
)

Point = tuple[Metric, int, Sketch]
"""(metric, second that it begins with, values)"""


class MetricStore:
    """Between `start` and `stop`; belongs to one event loop."""

    def __init__(self, db: Database, clock: Clock, bound: int) -> None:
        """`db` has MIGRATIONS and nothing else; `bound` is in bytes."""
        self.clock = clock
        self._db = db
        self._bound = bound
        self._waiting: dict[tuple[Metric, int], Sketch] = {}
        self._lost = 0
        self._known: dict[Metric, tuple[int, int]] = {}  # number and newest value, as the database has them
        self._sources: list[Callable[[], Iterable[Point]]] = []
        self._lock = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep_writing()), loop.create_task(self._keep_house())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(DatabaseError):
            await self.flush()

    def collect(self, source: Callable[[], Iterable[Point]]) -> None:
        """Ask `source` for what it has counted whenever something is written or read."""
        self._sources.append(source)

    def put(self, metric: Metric, start: int, values: Sketch) -> None:
        """Add `values` to what lies at `start`."""
        found = self._waiting.get((metric, start))
        if found is not None:
            found.merge(values)
        elif len(self._waiting) < _MOST_WAITING:
            self._waiting[metric, start] = values
        else:
            self._lost += 1

    async def flush(self) -> None:
        """Write what waits."""
        async with self._lock:
            for source in self._sources:
                for point in source():
                    self.put(*point)
            if self._lost:
                _log.error("%d values of metrics are lost: more than %d at once", self._lost, _MOST_WAITING)
                self._lost = 0
            if not self._waiting:
                return
            batch, self._waiting = self._waiting, {}
            if len(self._known) > _KNOWN:
                self._known.clear()
            try:
                await self._db.write(lambda connection: self._write(connection, batch))
            except DatabaseError:
                self._known.clear()
                for (metric, start), values in batch.items():
                    self.put(metric, start, values)
                raise

    def _write(self, connection: Connection, batch: dict[tuple[Metric, int], Sketch]) -> None:
        for (metric, start), values in batch.items():
            points.add(connection, self._number(connection, metric, start), start, values)

    def _number(self, connection: Connection, metric: Metric, start: int) -> int:
        known = self._known.get(metric)
        if known is not None and start < known[1] + MINUTE:
            return known[0]
        [[number, last]] = connection.execute(
            "INSERT INTO series (account, region, namespace, name, dimensions, unit, last) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (account, region, namespace, name, dimensions, unit)"
            " DO UPDATE SET last = max(last, excluded.last) RETURNING id, last",
            (*metric[:4], orjson.dumps(metric.dimensions).decode(), metric.unit, start),
        )
        self._known[metric] = (number, last)
        return int(number)

    # Reading

    async def read(self, metric: Metric, start: int, end: int) -> list[tuple[str, int, Sketch]]:
        """(unit, time, values) with `start` <= time < `end`, in all units; of a metric that is added up, all parts."""

        def work(connection: Connection) -> list[tuple[str, int, Sketch]]:
            return [
                (unit, at, values)
                for number, unit in _parts(connection, metric)
                for at, values in points.between(connection, number, start, end)
            ]

        return await self._db.read(work)

    async def listed(
        self, account: str, region: str, namespace: str | None, name: str | None, since: int
    ) -> list[Metric]:
        """Every metric that has had a value since then, under all dimensions that it is seen under."""
        query = "SELECT namespace, name, dimensions FROM series WHERE account = ? AND region = ? AND last >= ?"
        values: list[str | int] = [account, region, since]
        for column, wanted in (("namespace", namespace), ("name", name)):
            if wanted is not None:
                query += f" AND {column} = ?"
                values.append(wanted)
        rows = await self._db.read(lambda connection: connection.execute(query, values))
        return list(dict.fromkeys(_shown(account, region, rows)))

    # Keeping house

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self.flush()
            except DatabaseError as error:
                _log.error("metrics could not be written and are tried again: %s", error)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_UPKEEP_SECONDS)
            try:
                await self.tidy()
            except DatabaseError as error:
                _log.error("old metrics could not be put together: %s", error)

    async def tidy(self) -> None:
        """Put old points together, drop what is too old or too much."""
        await upkeep.run(self._db, int(self.clock.time()), self._bound)
        async with self._lock:  # no write may count on a series that goes
            await self._db.write(upkeep.forget)
            self._known.clear()


def _parts(connection: Connection, metric: Metric) -> list[tuple[int, str]]:
    """The number and the unit of every series that is `metric`, or a part of it."""
    query = "SELECT id, unit, dimensions FROM series WHERE account = ? AND region = ? AND namespace = ? AND name = ?"
    values = list(metric[:4])
    if is_added_up(metric.namespace, metric.name):
        rows = connection.execute(query, values)
        return [(number, unit) for number, unit, text in rows if metric.dimensions in shorter(_dimensions(text))]
    values.append(orjson.dumps(metric.dimensions).decode())
    return [(number, unit) for number, unit, _text in connection.execute(f"{query} AND dimensions = ?", values)]


def _shown(account: str, region: str, rows: Iterable[Sequence[str]]) -> Iterator[Metric]:
    for namespace, name, text in rows:
        dimensions = _dimensions(text)
        for seen in shorter(dimensions) if is_added_up(namespace, name) else (dimensions,):
            yield Metric(account, region, namespace, name, seen)


def _dimensions(text: str) -> Dimensions:
    return tuple((name, value) for name, value in orjson.loads(text))
