"""Metric filters: events that a pattern lets through become metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lambent.services.logs import errors, extraction
from lambent.services.logs.blocks import Block, Line
from lambent.services.logs.data import Datum, Publish
from lambent.services.logs.filters import METRICS, Filter, Filters
from lambent.services.logs.records import GroupKey, GroupRecord
from lambent.services.logs.store import LogStore
from lambent.services.logs.taps import Patterns
from lambent.wire.errors import not_built
from lambent.wire.operations import Context, Operations, Parameters

_MOST = 100  # filters of a group
_LARGEST = 2.0**360
_FIELD = "$"  # what a value or a dimension begins with that is taken from the event


class MetricFilters:
    """The operations, and the tap."""

    def __init__(self, store: LogStore, publish: Publish) -> None:
        self._store = store
        self._publish = publish
        self._filters = Filters(store, METRICS, _MOST)
        self._patterns = Patterns()

    def register(self, operations: Operations) -> None:
        operations.register("logs", "PutMetricFilter", self.put)
        operations.register("logs", "DescribeMetricFilters", self.describe)
        operations.register("logs", "DeleteMetricFilter", self.delete)
        self._store.taps.add(self)

    async def put(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        for one in parameters["metricTransformations"]:
            _check(parameters["filterPattern"], one)
        if parameters.get("emitSystemFieldDimensions"):
            raise not_built("system fields as dimensions of metric filters")
        await self._filters.put(context.caller, parameters, ("metricTransformations",))
        return {}

    async def describe(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name, namespace = parameters.get("metricName"), parameters.get("metricNamespace")
        if (name is None) != (namespace is None):
            raise errors.invalid("The parameters metricName and metricNamespace must be given together.")

        def fits(one: Filter) -> bool:
            return name is None or any(
                (to["metricName"], to["metricNamespace"]) == (name, namespace) for to in one["metricTransformations"]
            )

        shown, token = await self._filters.describe(context.caller, parameters, fits)
        return {"metricFilters": shown, **token}

    async def delete(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        await self._filters.delete(context.caller, parameters, "The specified metric filter does not exist.")
        return {}

    def take(self, key: GroupKey, record: GroupRecord, block: Block) -> None:
        for one in record.metric_filters.values():
            matched = self._patterns.matched(one["filterPattern"], block.lines)
            lines = [line for found in matched for line in found.lines]
            some = any(block.lines.values())
            found = [
                datum for to in one["metricTransformations"] for datum in _data(key, one, to, lines, block.at, some)
            ]
            if found:
                self._store.on_loop(lambda found=found: self._publish(found))  # type: ignore[misc]


def _check(pattern: str, to: Mapping[str, Any]) -> None:
    if to["metricNamespace"].startswith("AWS/"):
        raise errors.invalid("Invalid metric transformation: the namespace must not start with AWS/.")
    if "defaultValue" in to and to.get("dimensions"):
        raise errors.invalid(
            "Invalid metric transformation: dimensions and default value are mutually exclusive properties."
        )
    if len(to.get("dimensions", {})) > 3:
        raise errors.invalid("Invalid metric transformation: a metric can have at most 3 dimensions.")
    value = to["metricValue"]
    if not value.startswith(_FIELD) and _number(value) is None:
        raise errors.invalid("Invalid metric transformation: metricValue must be a number or a field of the pattern.")
    for field in (value, *to.get("dimensions", {}).values()):
        if field.startswith(_FIELD):
            extraction.field(pattern, field)


def _data(
    key: GroupKey, one: Filter, to: Mapping[str, Any], lines: Sequence[Line], at: int, some: bool
) -> Iterator[Datum]:
    unit, place = to.get("unit", "None"), (key.account, key.region, to["metricNamespace"], to["metricName"])
    if not lines:
        if some and "defaultValue" in to:
            yield Datum(*place, (), unit, at, 60, (float(to["defaultValue"]),))
        return
    pattern = one["filterPattern"]
    value = _reader(pattern, to["metricValue"])
    dimensions = {name: _reader(pattern, field) for name, field in to.get("dimensions", {}).items()}
    for stamp, _sequence, message in lines:
        number = _number(value(message))
        its = {name: read(message) for name, read in dimensions.items()}
        if number is None or any(text is None or text == "" for text in its.values()):
            continue
        pairs = tuple(sorted((name, str(text)[:1024]) for name, text in its.items()))
        yield Datum(*place, pairs, unit, stamp, 60, (number,))


def _reader(pattern: str, text: str) -> Callable[[str], Any]:
    return extraction.field(pattern, text) if text.startswith(_FIELD) else lambda message: text


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) <= _LARGEST else None
