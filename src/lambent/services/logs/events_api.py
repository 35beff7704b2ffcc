"""The operations on log events: putting, reading a stream, searching a group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lambent.services.logs import errors, patterns
from lambent.services.logs.blocks import Block
from lambent.services.logs.extraction import extracted
from lambent.services.logs.intake import accept
from lambent.services.logs.pages import demand, meant, own
from lambent.services.logs.query import LAST, Range, Source
from lambent.services.logs.records import Event, GroupKey, Place
from lambent.services.logs.shelf import Shelf
from lambent.services.logs.store import LogStore
from lambent.wire.operations import Context, Operations, Parameters

_MOST_EVENTS = 10_000  # of one page
_MOST_BYTES = 1 << 20  # of the messages of one page
_MOST_READ = 32 << 20  # bytes of the files for one page: a search goes on at the next one
_MOST_TESTED = 50_000  # events that one page of a search looks at

Answer = Mapping[str, Any]


class Events:
    def __init__(self, store: LogStore) -> None:
        self._store = store

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "PutLogEvents": self.put,
            "GetLogEvents": self.get,
            "FilterLogEvents": self.filter,
            "TestMetricFilter": self.test_filter,
        }.items():
            operations.register("logs", operation, handler)

    async def put(self, context: Context, parameters: Parameters) -> Answer:
        """Answered when the events are on the disk. Sequence tokens are not asked for, as on AWS."""
        key, stream = own(context.caller, parameters["logGroupName"]), parameters["logStreamName"]
        events, now = parameters["logEvents"], self._store.now
        first = self._store.number(len(events))

        def work(shelf: Shelf) -> dict[str, int]:
            group = demand(shelf, key)
            if stream not in group.streams:
                raise errors.no_stream()
            taken, rejected = accept(events, now, group.horizon(now))
            if taken:
                lines = [(event["timestamp"], first + at, event["message"]) for at, event in enumerate(taken)]
                shelf.append(group, Block(now, {stream: lines}), durable=True)
            return rejected

        rejected = await self._store.run(work)
        answer: dict[str, Any] = {"nextSequenceToken": f"{first + len(events):056d}"}
        return answer | ({"rejectedLogEventsInfo": rejected} if rejected else {})

    async def get(self, context: Context, parameters: Parameters) -> Answer:
        key, stream = meant(context.caller, parameters), parameters["logStreamName"]
        start, end = parameters.get("startTime", 0), parameters.get("endTime", LAST)
        token, most = parameters.get("nextToken"), parameters.get("limit", _MOST_EVENTS)
        direction, place = ("f" if parameters.get("startFromHead") else "b"), None
        if token is not None:
            direction, place = _read_token(token)
        backwards = direction == "b"
        limits = Range(start, end, before=place) if backwards else Range(start, end, after=place)
        source = await self._source(key, [stream], demanded=True)
        events = await asyncio.to_thread(_page, source, limits, most, backwards)
        return {"events": [_shown(event) for event in events], **_tokens(events, direction, place, token, start)}

    async def filter(self, context: Context, parameters: Parameters) -> Answer:
        key = meant(context.caller, parameters)
        names, prefix = parameters.get("logStreamNames"), parameters.get("logStreamNamePrefix")
        if names is not None and prefix is not None:
            raise errors.invalid("Log stream names and log stream name prefix cannot both be specified.")
        matches = patterns.compile(parameters.get("filterPattern", ""))
        backwards = parameters.get("startFromHead") is False
        place = None
        if (token := parameters.get("nextToken")) is not None and (place := Place.of(token)) is None:
            raise errors.bad_token()
        start, end = parameters.get("startTime", 0), parameters.get("endTime", LAST - 1) + 1  # `endTime` is included
        limits = Range(start, end, before=place) if backwards else Range(start, end, after=place)
        source = await self._source(key, names, prefix)
        most = parameters.get("limit", _MOST_EVENTS)
        events, reached = await asyncio.to_thread(_search, source, limits, most, matches, backwards)
        answer: dict[str, Any] = {
            "events": [
                {**_shown(event), "logStreamName": event.stream, "eventId": str(event.place)} for event in events
            ],
            "searchedLogStreams": [],  # as AWS has answered since 2019
        }
        return answer | ({"nextToken": str(reached)} if reached is not None else {})

    async def test_filter(self, context: Context, parameters: Parameters) -> Answer:
        matches = patterns.compile(parameters["filterPattern"])
        messages: list[str] = parameters["logEventMessages"]
        found = await asyncio.to_thread(lambda: [number for number, one in enumerate(messages, 1) if matches(one)])
        return {
            "matches": [
                {
                    "eventNumber": number,
                    "eventMessage": messages[number - 1],
                    "extractedValues": extracted(parameters["filterPattern"], messages[number - 1]),
                }
                for number in found
            ]
        }

    async def _source(
        self, key: GroupKey, names: Iterable[str] | None, prefix: str | None = None, *, demanded: bool = False
    ) -> Source:
        now = self._store.now

        def work(shelf: Shelf) -> Source:
            group = demand(shelf, key)
            chosen = shelf.streams(key, names, prefix)
            if (demanded or names is not None) and any(name not in group.streams for name in chosen or ()):
                raise errors.no_stream()
            return group.source(chosen, now)

        return await self._store.run(work)


def _page(source: Source, limits: Range, most: int, backwards: bool) -> list[Event]:
    """In the order of time, also when the newest are wanted."""
    found: list[Event] = []
    size = 0
    for event in source.scan(limits, backwards=backwards):
        if isinstance(event, int):
            continue
        size += len(event.message) + 26  # AWS counts 26 bytes for what is not the message
        if found and size > _MOST_BYTES:
            break
        found.append(event)
        if len(found) >= most:
            break
    return found[::-1] if backwards else found


def _search(
    source: Source, limits: Range, most: int, matches: Callable[[str], bool], backwards: bool
) -> tuple[list[Event], Place | None]:
    """What matches, and how far the search came; None: to the end."""
    found: list[Event] = []
    size = seen = tested = 0
    for event in source.scan(limits, backwards=backwards):
        if isinstance(event, int):
            seen += event
            continue
        tested += 1
        if matches(event.message):
            found.append(event)
            size += len(event.message) + 26
        if len(found) >= most or size >= _MOST_BYTES or seen >= _MOST_READ or tested >= _MOST_TESTED:
            return found, event.place
    return found, None


def _shown(event: Event) -> dict[str, Any]:
    return {"timestamp": event.timestamp, "message": event.message, "ingestionTime": event.ingested}


def _read_token(token: str) -> tuple[str, Place]:
    direction, _, rest = token.partition("/")
    place = Place.of(rest.removesuffix("/s"))
    if direction not in ("f", "b") or not rest.endswith("/s") or place is None:
        raise errors.bad_token()
    return direction, place


def _tokens(events: list[Event], direction: str, place: Place | None, token: str | None, start: int) -> dict[str, str]:
    """Where nothing was found in a direction, its token is the one that was sent: that is how a client sees the end."""
    if events:
        first, last = events[0].place, events[-1].place
    elif place is None:
        first = last = Place(start, 0)
    elif direction == "f":
        first, last = Place(place.timestamp, place.sequence + 1), place
    else:
        first, last = place, Place(place.timestamp, max(place.sequence - 1, 0))
    tokens = {"nextForwardToken": f"f/{last}/s", "nextBackwardToken": f"b/{first}/s"}
    if not events and token is not None:
        tokens["nextForwardToken" if direction == "f" else "nextBackwardToken"] = token
    return tokens
