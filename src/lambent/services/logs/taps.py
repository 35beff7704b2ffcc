"""What happens to events when they are taken, beside being kept: live tails, subscriptions, metrics.

All of it in the thread that writes, once the events are in their file. Whoever takes part is told on the loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from lambent.services.logs import patterns
from lambent.services.logs.blocks import Block, Line
from lambent.services.logs.patterns import Matcher
from lambent.services.logs.records import GroupKey, GroupRecord
from lambent.wire.errors import AwsError

_log = logging.getLogger("lambent.logs")
_KEPT = 1000  # patterns that are kept compiled


class Tap(Protocol):
    """Sees every block of events."""

    def take(self, key: GroupKey, record: GroupRecord, block: Block) -> None:
        """Must be quick, and must not raise for what the events hold."""


class Matched(NamedTuple):
    """Events of one stream that a pattern has let through."""

    stream: str
    lines: Sequence[Line]


class Taps:
    def __init__(self) -> None:
        self._taps: tuple[Tap, ...] = ()

    def add(self, tap: Tap) -> None:
        self._taps = (*self._taps, tap)

    def remove(self, tap: Tap) -> None:
        self._taps = tuple(one for one in self._taps if one is not tap)

    def take(self, key: GroupKey, record: GroupRecord, block: Block) -> None:
        """Never raises: the events are kept whatever becomes of this."""
        for tap in self._taps:
            try:
                tap.take(key, record, block)
            except Exception:
                _log.exception("what follows from events of %s failed", key.name)


class Patterns:
    """Filter patterns that are stored, compiled when they are first needed. Belongs to one thread."""

    def __init__(self) -> None:
        self._compiled: dict[str, Matcher] = {}

    def matcher(self, pattern: str) -> Matcher:
        found = self._compiled.get(pattern)
        if found is None:
            if len(self._compiled) >= _KEPT:
                self._compiled.clear()
            try:
                found = patterns.compile(pattern)
            except AwsError:  # it was accepted once: an older version knew it
                found = _nothing
            self._compiled[pattern] = found
        return found

    def matched(self, pattern: str, lines: Mapping[str, Sequence[Line]]) -> list[Matched]:
        """By stream, without streams of which nothing matches."""
        if not pattern.strip():
            return [Matched(stream, found) for stream, found in lines.items() if found]
        matches = self.matcher(pattern)
        found = [Matched(stream, [line for line in its if matches(line[2])]) for stream, its in lines.items()]
        return [one for one in found if one.lines]


def _nothing(message: str) -> bool:
    return False


OnLoop = Callable[[Callable[[], None]], None]
"""Has something done on the event loop, from the thread."""
