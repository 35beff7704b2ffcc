"""The log service as a whole."""

from __future__ import annotations

from lambent.services.logs.data import Publish
from lambent.services.logs.embedded_metrics import EmbeddedMetrics
from lambent.services.logs.events_api import Events
from lambent.services.logs.groups_api import Groups
from lambent.services.logs.live_tail import LiveTails
from lambent.services.logs.metric_filters import MetricFilters
from lambent.services.logs.store import LogStore
from lambent.services.logs.streams_api import Streams
from lambent.services.logs.subscriptions import Subscriptions
from lambent.wire.operations import Operations


def register(store: LogStore, operations: Operations, publish: Publish) -> Subscriptions:
    """`publish` takes the metrics that events hold. The subscriptions are to be stopped before the store."""
    for part in (Groups, Streams, Events, LiveTails):
        part(store).register(operations)
    MetricFilters(store, publish).register(operations)
    store.taps.add(EmbeddedMetrics(store, publish))
    subscriptions = Subscriptions(store, operations)
    subscriptions.register(operations)
    return subscriptions
