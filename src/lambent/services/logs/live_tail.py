"""StartLiveTail: events as they are taken, in an update each second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from lambent.services.logs import errors, patterns
from lambent.services.logs.blocks import Block
from lambent.services.logs.pages import demand, of_arn
from lambent.services.logs.records import GroupKey, GroupRecord
from lambent.services.logs.shelf import Shelf
from lambent.services.logs.store import LogStore
from lambent.wire.operations import Context, Operations, Parameters

_UPDATE_SECONDS = 1.0
_MOST_EVENTS = 500  # of one update; of more, these are shown, and `sampled` says so
_MOST_CHARACTERS = 4 << 20  # of one update
_LONGEST = 3 * 3600  # seconds of a session
_MOST_SESSIONS = 50


class LiveTails:
    def __init__(self, store: LogStore) -> None:
        self._store = store
        self._open = 0

    def register(self, operations: Operations) -> None:
        operations.register("logs", "StartLiveTail", self.start)

    async def start(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        names, prefixes = parameters.get("logStreamNames"), parameters.get("logStreamNamePrefixes")
        if names and prefixes:
            raise errors.invalid("Log stream names and log stream name prefixes cannot both be specified.")
        identifiers = parameters["logGroupIdentifiers"]
        if (names or prefixes) and len(identifiers) > 1:
            raise errors.invalid("Log streams can only be specified for a single log group.")
        keys = []
        for identifier in identifiers:
            key = of_arn(identifier)
            if key is None:
                raise errors.invalid(f"The logGroupIdentifier {identifier} must be the ARN of a log group.")
            if (key.account, key.region) != (context.caller.account, context.caller.region):
                raise errors.no_group()
            keys.append(key)

        def check(shelf: Shelf) -> None:
            for key in keys:
                demand(shelf, key)

        await self._store.run(check)
        if self._open >= _MOST_SESSIONS:
            raise errors.limit(f"At most {_MOST_SESSIONS} live tail sessions can be open at once.")
        told = {
            "requestId": context.request_id,
            "sessionId": context.request_id,
            "logGroupIdentifiers": identifiers,
            "logStreamNames": names or [],
            "logStreamNamePrefixes": prefixes or [],
            "logEventFilterPattern": parameters.get("logEventFilterPattern", ""),
        }
        session = _Session(self._store, keys, names or (), prefixes or (), told)
        return {"responseStream": session.events(self._counted)}

    def _counted(self, change: int) -> None:
        self._open += change


class _Session:
    """A tap that keeps what the next update shows."""

    def __init__(
        self,
        store: LogStore,
        keys: Sequence[GroupKey],
        names: Sequence[str],
        prefixes: Sequence[str],
        told: Mapping[str, Any],
    ) -> None:
        self._store = store
        self._keys = frozenset(keys)
        self._names = frozenset(names)
        self._prefixes = tuple(prefixes)
        self._told = told
        self._matches = patterns.compile(told["logEventFilterPattern"])
        self._waiting: list[dict[str, Any]] = []
        self._characters = 0
        self._sampled = False

    def take(self, key: GroupKey, record: GroupRecord, block: Block) -> None:
        if key not in self._keys:
            return
        for stream, lines in block.lines.items():
            if not self._shows(stream):
                continue
            for timestamp, _sequence, message in lines:
                if len(self._waiting) >= _MOST_EVENTS or self._characters > _MOST_CHARACTERS:
                    self._sampled = True
                    return
                if self._matches(message):
                    self._characters += len(message)
                    self._waiting.append(
                        {
                            "logStreamName": stream,
                            "logGroupIdentifier": f"{key.account}:{key.name}",
                            "message": message,
                            "timestamp": timestamp,
                            "ingestionTime": block.at,
                        }
                    )

    def _shows(self, stream: str) -> bool:
        if self._names:
            return stream in self._names
        return not self._prefixes or stream.startswith(self._prefixes)

    async def events(self, counted: Any) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        loop = asyncio.get_running_loop()
        end = loop.time() + _LONGEST
        counted(1)
        self._store.taps.add(self)
        try:
            yield "sessionStart", self._told
            while loop.time() < end:
                await asyncio.sleep(_UPDATE_SECONDS)
                shown, self._waiting, self._characters = self._waiting, [], 0
                sampled, self._sampled = self._sampled, False
                yield "sessionUpdate", {"sessionMetadata": {"sampled": sampled}, "sessionResults": shown}
        finally:
            self._store.taps.remove(self)
            counted(-1)
