"""The metric service as a whole."""

from __future__ import annotations

from lambent.services.cloudwatch.data_api import Data
from lambent.services.cloudwatch.metrics_api import Metrics
from lambent.services.cloudwatch.statistics_api import Statistics
from lambent.services.cloudwatch.store import MetricStore
from lambent.wire.operations import Operations


def register(store: MetricStore, operations: Operations) -> None:
    for part in (Metrics, Statistics, Data):
        part(store).register(operations)
