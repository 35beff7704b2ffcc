"""The log service as a whole."""

from __future__ import annotations

from lambent.services.logs.events_api import Events
from lambent.services.logs.groups_api import Groups
from lambent.services.logs.store import LogStore
from lambent.services.logs.streams_api import Streams
from lambent.wire.operations import Operations


def register(store: LogStore, operations: Operations) -> None:
    for part in (Groups, Streams, Events):
        part(store).register(operations)
