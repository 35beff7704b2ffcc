"""PutMetricData and ListMetrics."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from lambent.base.sketch import Sketch
from lambent.services.cloudwatch import errors
from lambent.services.cloudwatch.records import Dimensions, Metric
from lambent.services.cloudwatch.store import LISTED, MINUTE, MetricStore
from lambent.wire.operations import Context, Operations, Parameters

_PAGE = 500
_MOST_DATA = 1_000  # metrics of one request
_MOST_VALUES = 150  # of one metric in one request
_MOST_DIMENSIONS = 30
_LARGEST = 2.0**360
OLDEST, NEWEST = 14 * 86_400, 2 * 3_600  # seconds before and behind now
_RECENT = 3 * 3_600

Answer = Mapping[str, Any]


class Metrics:
    def __init__(self, store: MetricStore) -> None:
        self._store = store

    def register(self, operations: Operations) -> None:
        operations.register("cloudwatch", "PutMetricData", self.put)
        operations.register("cloudwatch", "ListMetrics", self.list)

    async def put(self, context: Context, parameters: Parameters) -> Answer:
        """All of it or none; shown at once, on the disk within seconds."""
        namespace = parameters["Namespace"]
        if namespace.startswith("AWS/"):
            raise errors.invalid("The value AWS/ for parameter Namespace is invalid.")
        data = [*parameters.get("MetricData", [])]
        for entity in parameters.get("EntityMetricData", []):
            data += entity.get("MetricData", [])
        if not data:
            raise errors.invalid("The parameter MetricData is required.")
        if len(data) > _MOST_DATA:
            raise errors.invalid(f"The collection MetricData must not have a size greater than {_MOST_DATA}.")
        now = self._store.clock.time()
        taken = [_read(context, namespace, one, now) for one in data]
        for metric, start, values in taken:
            self._store.put(metric, start, values)
        return {}

    async def list(self, context: Context, parameters: Parameters) -> Answer:
        caller, filters = context.caller, parameters.get("Dimensions", [])
        active = parameters.get("RecentlyActive")
        since = int(self._store.clock.time()) - (_RECENT if active is not None else LISTED)
        name = parameters.get("MetricName")
        await self._store.flush()
        found = await self._store.listed(caller.account, caller.region, parameters.get("Namespace"), name, since)
        fitting = sorted(one[2:5] for one in found if _has(one.dimensions, filters))
        if (token := parameters.get("NextToken")) is not None:
            place = _place(token)
            fitting = [one for one in fitting if one > place]
        shown = fitting[:_PAGE]
        answer: dict[str, Any] = {
            "Metrics": [
                {
                    "Namespace": namespace,
                    "MetricName": metric,
                    "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
                }
                for namespace, metric, dimensions in shown
            ]
        }
        if len(fitting) > _PAGE:
            answer["NextToken"] = base64.urlsafe_b64encode(orjson.dumps(shown[-1])).decode()
        if parameters.get("IncludeLinkedAccounts"):
            answer["OwningAccounts"] = [caller.account] * len(shown)
        return answer


def dimensions_of(parameters: Mapping[str, Any]) -> Dimensions:
    """InvalidParameterValueException for more than a metric can have, or one twice."""
    given = [(one["Name"], one["Value"]) for one in parameters.get("Dimensions", [])]
    if len(given) > _MOST_DIMENSIONS:
        raise errors.invalid(f"The collection Dimensions must not have a size greater than {_MOST_DIMENSIONS}.")
    if len({name for name, _value in given}) < len(given):
        raise errors.invalid("The parameter Dimensions has a dimension twice.")
    return tuple(sorted(given))


def _read(context: Context, namespace: str, one: Mapping[str, Any], now: float) -> tuple[Metric, int, Sketch]:
    caller, at = context.caller, now
    if (timestamp := one.get("Timestamp")) is not None:
        at = timestamp.timestamp()
        if not now - OLDEST <= at <= now + NEWEST:
            raise errors.invalid(
                "The value for parameter Timestamp must be at most two weeks in the past and two hours in the future."
            )
    resolution = one.get("StorageResolution", MINUTE)
    if resolution not in (1, MINUTE):
        raise errors.invalid("The parameter StorageResolution must be 1 or 60.")
    metric = Metric(
        caller.account, caller.region, namespace, one["MetricName"], dimensions_of(one), one.get("Unit", "None")
    )
    return metric, int(at // resolution * resolution), _values(one)


def _values(one: Mapping[str, Any]) -> Sketch:
    name = one["MetricName"]
    given = [key for key in ("Value", "Values", "StatisticValues") if key in one]
    if not given:
        raise errors.combination(f"The metric {name} must have one of the parameters Value, Values, StatisticValues.")
    if len(given) > 1:
        raise errors.combination(f"The parameters {' and '.join(given)} are mutually exclusive.")
    if "StatisticValues" in one:
        found = one["StatisticValues"]
        numbers = [found[key] for key in ("SampleCount", "Sum", "Minimum", "Maximum")]
        count, total, least, most = map(_number, numbers)
        if count <= 0 or least > most:
            raise errors.invalid(f"The StatisticValues of {name} cannot be those of any values.")
        return Sketch.summary(count, total, least, most)
    values = one["Values"] if "Values" in one else [one["Value"]]
    counts = one.get("Counts", [1.0] * len(values))
    if not values or len(values) > _MOST_VALUES:
        raise errors.invalid(f"The collection Values must have a size from 1 to {_MOST_VALUES}.")
    if len(counts) != len(values):
        raise errors.combination("The parameters Values and Counts must be of the same size.")
    if any(_number(times) < 0 for times in counts) or not any(counts):
        raise errors.invalid(f"The Counts of {name} must not be negative, and one of them more than 0.")
    return Sketch.of((_number(value), times) for value, times in zip(values, counts, strict=True))


def _number(value: float) -> float:
    if not math.isfinite(value) or abs(value) > _LARGEST:
        raise errors.invalid(f"The value {value} cannot be stored: it must be a number between -2^360 and 2^360.")
    return float(value)


def _has(dimensions: Dimensions, filters: Sequence[Mapping[str, str]]) -> bool:
    known = dict(dimensions)
    return all(one["Name"] in known and ("Value" not in one or known[one["Name"]] == one["Value"]) for one in filters)


def _place(token: str) -> tuple[str, str, Dimensions]:
    try:
        namespace, name, dimensions = orjson.loads(base64.b64decode(token, altchars=b"-_", validate=True))
        return str(namespace), str(name), tuple((str(key), str(value)) for key, value in dimensions)
    except (binascii.Error, ValueError, TypeError):
        raise errors.bad_token() from None
