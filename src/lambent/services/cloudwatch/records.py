"""What the metric service knows: metrics, and what of them lies at one moment."""

from __future__ import annotations

from typing import NamedTuple

LAMBDA = "AWS/Lambda"
Dimensions = tuple[tuple[str, str], ...]
"""(name, value), in the order of the names."""


class Metric(NamedTuple):
    account: str
    region: str
    namespace: str
    name: str
    dimensions: Dimensions = ()
    unit: str = "None"


# Metrics of AWS/Lambda that are kept once, under all of their dimensions, and added up for the shorter ones.
ADDED_UP = {
    "Invocations": "Count",
    "Errors": "Count",
    "Throttles": "Count",
    "Duration": "Milliseconds",
    "ProvisionedConcurrencyInvocations": "Count",
    "ProvisionedConcurrencySpilloverInvocations": "Count",
    "AsyncEventsReceived": "Count",
    "AsyncEventAge": "Milliseconds",
    "AsyncEventsDropped": "Count",
    "DeadLetterErrors": "Count",
    "DestinationDeliveryFailures": "Count",
}


_SEEN = ((), ("FunctionName",), ("FunctionName", "Resource"), ("ExecutedVersion", "FunctionName", "Resource"))


def is_added_up(namespace: str, name: str) -> bool:
    return namespace == LAMBDA and name in ADDED_UP


def shorter(dimensions: Dimensions) -> tuple[Dimensions, ...]:
    """Under which dimensions a metric that is added up is seen, its own included."""
    known = dict(dimensions)
    seen = [names for names in _SEEN if all(name in known for name in names)]
    return tuple(tuple((name, known[name]) for name in names) for names in seen)
