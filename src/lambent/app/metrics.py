"""What the engine counts, as CloudWatch's metrics of AWS/Lambda."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack

from lambent.app.state import State
from lambent.base.clock import Clock
from lambent.base.db import SqliteDatabase, migrate
from lambent.base.sketch import Sketch
from lambent.config import Config
from lambent.engine.invoker import Invoker
from lambent.engine.meters import Count
from lambent.services.cloudwatch import service
from lambent.services.cloudwatch.metrics_api import NEWEST, OLDEST
from lambent.services.cloudwatch.records import ADDED_UP, LAMBDA, Dimensions, Metric
from lambent.services.cloudwatch.store import MIGRATIONS, MetricStore, Point
from lambent.services.logs.data import Datum, Publish
from lambent.wire.operations import Operations

_PEAKS = {"all": "ConcurrentExecutions", "unreserved": "UnreservedConcurrentExecutions"}


async def start_metrics(
    config: Config, clock: Clock, state: State, operations: Operations, closing: AsyncExitStack
) -> MetricStore:
    """A database of its own: what is written there makes no durable event wait. DatabaseError."""
    db = SqliteDatabase(state.data / "metrics.db")
    closing.push_async_callback(db.close)
    await migrate(db, MIGRATIONS)
    store = MetricStore(db, clock, config.metrics_size << 20)
    await store.start()
    closing.push_async_callback(store.stop)
    service.register(store, operations)
    return store


def publisher(store: MetricStore) -> Publish:
    """Takes the metrics that log events hold to the metric service; those of times that it does not take are left."""

    def publish(data: Sequence[Datum]) -> None:
        now = store.clock.time()
        for one in data:
            second = one.at / 1000
            if now - OLDEST <= second <= now + NEWEST:
                metric = Metric(one.account, one.region, one.namespace, one.name, one.dimensions, one.unit)
                values = Sketch.of((value, 1) for value in one.values)
                store.put(metric, int(second // one.resolution * one.resolution), values)

    return publish


class Lambda:
    """The points that are new, whenever the store asks."""

    def __init__(self, invoker: Invoker, clock: Clock) -> None:
        self._invoker = invoker
        self._clock = clock

    def points(self) -> Iterator[Point]:
        meters, now = self._invoker.meters, int(self._clock.time() // 60 * 60)
        for count in meters.take():
            yield from _counted(count)
        for (kind, account, region, *name), most in meters.peaks().items():
            dimensions: Dimensions = (("FunctionName", name[0]),) if name else ()
            metric = Metric(account, region, LAMBDA, _PEAKS.get(kind, _PEAKS["all"]), dimensions, "Count")
            yield metric, now, Sketch.of([(most, 1)])
        for function, taken, kept in self._invoker.held.use():
            key = function.key
            its = (("FunctionName", key.name), ("Resource", f"{key.name}:{function.version}"))
            for metric_name, value, unit in (
                ("ProvisionedConcurrentExecutions", float(taken), "Count"),
                ("ProvisionedConcurrencyUtilization", taken / kept if kept else 0.0, "None"),
            ):
                yield Metric(key.account, key.region, LAMBDA, metric_name, its, unit), now, Sketch.of([(value, 1)])


def _counted(count: Count) -> Iterator[Point]:
    """Errors and throttles are 0 or 1 of each invocation, so that their average is a rate."""
    key, tally = count.key, count.tally
    _name, _, qualifier = count.resource.partition(":")
    dimensions: Dimensions = (("FunctionName", key.name), ("Resource", count.resource))
    if count.version and qualifier and not qualifier.isdigit() and not qualifier.startswith("$"):
        dimensions = (("ExecutedVersion", count.version), *dimensions)
    done = tally.invocations
    found = {
        "Invocations": Sketch.of([(1, done)]),
        "Errors": Sketch.of([(0, done - tally.errors), (1, tally.errors)]),
        "Throttles": Sketch.of([(0, done), (1, tally.throttles)]),
        "Duration": tally.duration,
        "ProvisionedConcurrencyInvocations": Sketch.of([(1, tally.provisioned)]),
        "ProvisionedConcurrencySpilloverInvocations": Sketch.of([(1, tally.spilled)]),
        **tally.others,
    }
    for name, values in found.items():
        if values.count:
            metric = Metric(key.account, key.region, LAMBDA, name, dimensions, ADDED_UP[name])
            yield metric, count.minute * 60, values
