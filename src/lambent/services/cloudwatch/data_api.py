"""GetMetricData: many metrics and expressions over them, in pages."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from lambent.services.cloudwatch import errors, metric_math, statistics
from lambent.services.cloudwatch.metric_math import Scope, Series, Value
from lambent.services.cloudwatch.metrics_api import dimensions_of
from lambent.services.cloudwatch.periods import Span, moment, span
from lambent.services.cloudwatch.records import Metric
from lambent.services.cloudwatch.store import MetricStore
from lambent.wire.operations import Context, Operations, Parameters

_MOST_QUERIES = 500
_MOST_POINTS = 100_800
_USUAL_PERIOD = 300  # of an expression that speaks of no metric


@dataclass(slots=True)
class _Query:
    """One of the request's, and what came of it."""

    id: str
    label: str
    shown: bool
    span: Span
    expression: str | None = None
    node: metric_math.Node | None = None
    value: Value | None = None
    computing: bool = False
    series: Series = field(default_factory=dict)


class Data:
    def __init__(self, store: MetricStore) -> None:
        self._store = store

    def register(self, operations: Operations) -> None:
        operations.register("cloudwatch", "GetMetricData", self.get)

    async def get(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        asked: Sequence[Mapping[str, Any]] = parameters["MetricDataQueries"]
        if len(asked) > _MOST_QUERIES:
            raise errors.validation(f"A request can have at most {_MOST_QUERIES} queries.")
        if len({one["Id"] for one in asked}) < len(asked):
            raise errors.validation("The values for parameter Id in MetricDataQueries must be unique.")
        place = _place(parameters.get("NextToken"))
        now = self._store.clock.time()

        def spanned(period: int) -> Span:
            return span(parameters["StartTime"], parameters["EndTime"], period, now)

        await self._store.flush()
        queries: dict[str, _Query] = {}
        for one in asked:
            queries[one["Id"]] = await self._query(context, one, spanned)
        period = min((query.span.period for query in queries.values() if query.node is None), default=_USUAL_PERIOD)
        for query in queries.values():
            if query.node is not None:
                query.span = spanned(next(one for one in asked if one["Id"] == query.id).get("Period", period))
        results = [result for query in queries.values() if query.shown for result in _results(query, queries)]
        descending = parameters.get("ScanBy", "TimestampDescending") == "TimestampDescending"
        return _page(results, descending, place, min(parameters.get("MaxDatapoints", _MOST_POINTS), _MOST_POINTS))

    async def _query(self, context: Context, one: Mapping[str, Any], spanned: Callable[[int], Span]) -> _Query:
        expression, wanted, shown = one.get("Expression"), one.get("MetricStat"), one.get("ReturnData", True)
        if (expression is None) == (wanted is None):
            raise errors.validation(
                f"The query {one['Id']} must have either the parameter Expression or the parameter MetricStat."
            )
        if expression is not None:
            node = metric_math.compile(expression)
            period = spanned(one.get("Period", _USUAL_PERIOD))
            return _Query(one["Id"], one.get("Label", one["Id"]), shown, period, expression, node)
        assert wanted is not None
        named, caller, unit = wanted["Metric"], context.caller, wanted.get("Unit")
        for name in ("Namespace", "MetricName"):
            if name not in named:
                raise errors.validation(f"The query {one['Id']} has no {name}.")
        statistic = statistics.parse(wanted["Stat"])
        metric = Metric(caller.account, caller.region, named["Namespace"], named["MetricName"], dimensions_of(named))
        times = spanned(wanted["Period"])
        if times.count > _MOST_POINTS:
            raise errors.validation(f"The query {one['Id']} asks for more than {_MOST_POINTS} datapoints.")
        found = await self._store.read(metric, times.start, times.end)
        sorted_ = times.sort((at, values) for its_unit, at, values in found if unit in (None, its_unit))
        query = _Query(one["Id"], one.get("Label", metric.name), shown, times)
        query.series = {at: statistic(values) for at, values in sorted_.items()}
        return query


def _results(query: _Query, queries: Mapping[str, _Query]) -> list[tuple[_Query, Series]]:
    value = _evaluate(query, queries)
    if isinstance(value, list):
        return [(query, one) for one in value]
    return [(query, value if isinstance(value, dict) else dict.fromkeys(query.span.times, value))]


def _evaluate(query: _Query, queries: Mapping[str, _Query]) -> Value:
    if query.node is None:
        return query.series
    if query.value is None:
        if query.computing:
            raise errors.validation(f"The expression of {query.id} leads back to itself.")
        query.computing = True

        def lookup(name: str) -> Value:
            if name not in queries:
                raise errors.validation(f"Error in expression '{query.expression}': unknown id {name}.")
            return _evaluate(queries[name], queries)

        def metrics(text: str) -> list[Series]:
            return [one.series for one in queries.values() if one.node is None and text in one.id]

        try:
            query.value = query.node(Scope(lookup, metrics, query.span.period, query.span.times))
        except RecursionError:
            raise errors.validation("Expressions lead from one to another too often.") from None
    return query.value


def _page(
    results: Sequence[tuple[_Query, Series]], descending: bool, place: tuple[int, int], most: int
) -> Mapping[str, Any]:
    """Up to `most` points behind `place`: (result, how many of its points were shown)."""
    shown: list[Mapping[str, Any]] = []
    token: dict[str, str] = {}
    for number, (query, series) in enumerate(results):
        if number < place[0]:
            continue
        skipped = place[1] if number == place[0] else 0
        points = [(at, series[at]) for at in sorted(series, reverse=descending) if math.isfinite(series[at])][skipped:]
        part = points[:most]
        most -= len(part)
        complete = len(part) == len(points)
        shown.append(
            {
                "Id": query.id,
                "Label": query.label,
                "Timestamps": [moment(at) for at, _value in part],
                "Values": [value for _at, value in part],
                "StatusCode": "Complete" if complete else "PartialData",
            }
        )
        if not complete or (most == 0 and number + 1 < len(results)):
            following = (number, skipped + len(part)) if not complete else (number + 1, 0)
            token = {"NextToken": base64.b64encode(orjson.dumps(following)).decode()}
            break
    return {"MetricDataResults": shown, "Messages": [], **token}


def _place(token: str | None) -> tuple[int, int]:
    if token is None:
        return (0, 0)
    try:
        number, points = orjson.loads(base64.b64decode(token, validate=True))
    except (binascii.Error, ValueError, TypeError):
        raise errors.bad_token() from None
    if not isinstance(number, int) or not isinstance(points, int):
        raise errors.bad_token()
    return number, points
