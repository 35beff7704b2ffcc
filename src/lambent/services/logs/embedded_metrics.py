"""The embedded metric format: log events that say which of their members are metrics.

Source: "Specification: Embedded metric format" of the CloudWatch guide. What does not keep to it is a log event like
any other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from lambent.services.logs.blocks import Block
from lambent.services.logs.data import Datum, Publish
from lambent.services.logs.records import GroupKey, GroupRecord
from lambent.services.logs.store import LogStore

_MARK = '"_aws"'
_MOST_METRICS = 100  # of one directive
_MOST_VALUES = 100  # of one metric
_MOST_DIMENSIONS = 30  # of one metric
_MOST_DIRECTIVES = 100
_LARGEST = 2.0**360


class EmbeddedMetrics:
    """A tap."""

    def __init__(self, store: LogStore, publish: Publish) -> None:
        self._store = store
        self._publish = publish

    def take(self, key: GroupKey, record: GroupRecord, block: Block) -> None:
        found = [
            datum
            for lines in block.lines.values()
            for at, _sequence, message in lines
            if _MARK in message
            for datum in read(key, message, at)
        ]
        if found:
            self._store.on_loop(lambda: self._publish(found))


def read(key: GroupKey, message: str, at: int) -> Iterator[Datum]:
    """The metrics of an event that was taken `at` this millisecond."""
    try:
        event = orjson.loads(message)
    except orjson.JSONDecodeError:
        return
    about = event.get("_aws") if isinstance(event, dict) else None
    if not isinstance(about, dict) or not isinstance(about.get("CloudWatchMetrics"), list):
        return
    stamp = about.get("Timestamp")
    when = int(stamp) if isinstance(stamp, int | float) and math.isfinite(stamp) and 0 < stamp < 1e14 else at
    for directive in about["CloudWatchMetrics"][:_MOST_DIRECTIVES]:
        if isinstance(directive, dict):
            yield from _directive(key, event, directive, when)


def _directive(key: GroupKey, event: Mapping[str, Any], directive: Mapping[str, Any], at: int) -> Iterator[Datum]:
    namespace, metrics = directive.get("Namespace"), directive.get("Metrics")
    if not isinstance(namespace, str) or not 0 < len(namespace) <= 255 or namespace.startswith("AWS/"):
        return
    sets = directive.get("Dimensions")
    dimensions = [_dimensions(event, one) for one in sets] if isinstance(sets, list) and sets else [()]
    for metric in metrics[:_MOST_METRICS] if isinstance(metrics, list) else ():
        name = metric.get("Name") if isinstance(metric, dict) else None
        if not isinstance(name, str) or not 0 < len(name) <= 1024:
            continue
        values = _values(event.get(name))
        unit = metric.get("Unit", "None")
        resolution = 1 if metric.get("StorageResolution") == 1 else 60
        for one in dimensions:
            if values and one is not None and isinstance(unit, str):
                yield Datum(key.account, key.region, namespace, name, one, unit, at, resolution, values)


def _dimensions(event: Mapping[str, Any], names: Any) -> tuple[tuple[str, str], ...] | None:
    """None for a set that the event does not fill."""
    if not isinstance(names, list) or len(names) > _MOST_DIMENSIONS or not all(isinstance(one, str) for one in names):
        return None
    found = []
    for name in sorted(set(names)):
        value = event.get(name)
        if isinstance(value, bool | int | float):
            value = orjson.dumps(value).decode()
        if not isinstance(value, str) or not 0 < len(value) <= 1024 or not 0 < len(name) <= 255:
            return None
        found.append((name, value))
    return tuple(found)


def _values(given: Any) -> tuple[float, ...]:
    listed = given if isinstance(given, list) else [given]
    numbers = [one for one in listed[:_MOST_VALUES] if isinstance(one, int | float) and not isinstance(one, bool)]
    return tuple(float(one) for one in numbers if abs(one) <= _LARGEST)
