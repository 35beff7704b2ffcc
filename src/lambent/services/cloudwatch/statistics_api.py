"""GetMetricStatistics: one metric, one list of points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambent.services.cloudwatch import errors, statistics
from lambent.services.cloudwatch.metrics_api import dimensions_of
from lambent.services.cloudwatch.periods import moment, span
from lambent.services.cloudwatch.records import Metric
from lambent.services.cloudwatch.store import MetricStore
from lambent.wire.operations import Context, Operations, Parameters

_MOST_POINTS = 1_440


class Statistics:
    def __init__(self, store: MetricStore) -> None:
        self._store = store

    def register(self, operations: Operations) -> None:
        operations.register("cloudwatch", "GetMetricStatistics", self.get)

    async def get(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        plain, extended = parameters.get("Statistics", []), parameters.get("ExtendedStatistics", [])
        if not plain and not extended:
            raise errors.combination("At least one of the parameters Statistics and ExtendedStatistics must be given.")
        now = self._store.clock.time()
        wanted = span(parameters["StartTime"], parameters["EndTime"], parameters["Period"], now)
        if wanted.count > _MOST_POINTS:
            raise errors.combination(
                f"You have requested up to {wanted.count} datapoints, which exceeds the limit of {_MOST_POINTS}."
                " You may reduce the datapoints requested by increasing Period, or decreasing the time range."
            )
        functions = {name: statistics.parse(name) for name in (*plain, *extended)}
        unit, caller = parameters.get("Unit"), context.caller
        metric = Metric(
            caller.account,
            caller.region,
            parameters["Namespace"],
            parameters["MetricName"],
            dimensions_of(parameters),
        )
        await self._store.flush()
        found = await self._store.read(metric, wanted.start, wanted.end)
        by_unit: dict[str, list[Any]] = {}
        for one, at, values in found:
            if unit is None or one == unit:
                by_unit.setdefault(one, []).append((at, values))
        points: list[Mapping[str, Any]] = []
        for one, values_of in by_unit.items():
            for start, values in wanted.sort(values_of).items():
                point: dict[str, Any] = {"Timestamp": moment(start), "Unit": one}
                point |= {name: functions[name](values) for name in plain}
                if extended:
                    point["ExtendedStatistics"] = {name: functions[name](values) for name in extended}
                points.append(point)
        return {"Label": parameters["MetricName"], "Datapoints": points}
