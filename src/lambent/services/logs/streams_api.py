"""The operations on log streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lambent.services.logs import errors
from lambent.services.logs.blocks import Block
from lambent.services.logs.pages import demand, meant, own, page
from lambent.services.logs.records import GroupKey, Stream
from lambent.services.logs.shelf import Shelf
from lambent.services.logs.store import LogStore
from lambent.wire.operations import Context, Operations, Parameters

Answer = Mapping[str, Any]


class Streams:
    def __init__(self, store: LogStore) -> None:
        self._store = store

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "CreateLogStream": self.create,
            "DescribeLogStreams": self.describe,
            "DeleteLogStream": self.delete,
        }.items():
            operations.register("logs", operation, handler)

    async def create(self, context: Context, parameters: Parameters) -> Answer:
        key, name = own(context.caller, parameters["logGroupName"]), parameters["logStreamName"]
        now = self._store.now

        def work(shelf: Shelf) -> None:
            group = demand(shelf, key)
            if name in group.streams:
                raise errors.stream_exists()
            shelf.append(group, Block(now, made={name: now}), durable=True)

        await self._store.run(work)
        return {}

    async def describe(self, context: Context, parameters: Parameters) -> Answer:
        key = meant(context.caller, parameters)
        prefix = parameters.get("logStreamNamePrefix")
        by_time = parameters.get("orderBy") == "LastEventTime"
        if by_time and prefix is not None:
            raise errors.invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")

        def work(shelf: Shelf) -> list[tuple[str, Stream]]:
            streams = demand(shelf, key).streams.items()
            return [(name, replace(one)) for name, one in streams if prefix is None or name.startswith(prefix)]

        def place(one: tuple[str, Stream]) -> Any:
            return (one[1].last or one[1].created, one[0]) if by_time else one[0]

        shown, token = page(
            await self._store.run(work),
            place,
            parameters.get("limit", 50),
            parameters.get("nextToken"),
            descending=parameters.get("descending", False),
        )
        return {"logStreams": [_shown(key, name, stream) for name, stream in shown], **token}

    async def delete(self, context: Context, parameters: Parameters) -> Answer:
        key, name = own(context.caller, parameters["logGroupName"]), parameters["logStreamName"]
        now, sequence = self._store.now, self._store.number(1)

        def work(shelf: Shelf) -> None:
            group = demand(shelf, key)
            if name not in group.streams:
                raise errors.no_stream()
            shelf.append(group, Block(now, deleted={name: sequence}), durable=True)

        await self._store.run(work)
        return {}


def _shown(key: GroupKey, name: str, stream: Stream) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "logStreamName": name,
        "creationTime": stream.created,
        "arn": f"{key.arn}:log-stream:{name}",
        "storedBytes": 0,  # as AWS has answered since 2019
    }
    if stream.last is not None:
        shown |= {
            "firstEventTimestamp": stream.first,
            "lastEventTimestamp": stream.last,
            "lastIngestionTime": stream.ingested,
            "uploadSequenceToken": str(stream.ingested),
        }
    return shown
