"""Reading events in the order of their times, without holding more than is needed."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lambent.services.logs.records import Event, Place
from lambent.services.logs.segments import read

_Stretch = tuple[Path, int, int, int, int, int]
"""(file, start, end, oldest timestamp, newest timestamp, highest sequence)"""
LAST = 1 << 62


@dataclass(frozen=True, slots=True)
class Range:
    """Events with `start` <= timestamp < `end`, behind `after` and before `before`."""

    start: int = 0
    end: int = LAST
    after: Place | None = None
    before: Place | None = None


class Source:
    """The events of a group at one moment. Each read opens the files anew."""

    def __init__(
        self, stretches: list[_Stretch], streams: frozenset[str] | None, deleted: dict[str, int], horizon: int
    ) -> None:
        self._stretches = stretches
        self._streams = streams
        self._deleted = deleted
        self._horizon = horizon

    def since(self, sequence: int) -> Iterator[Event]:
        """What arrived behind `sequence`, in the order of arrival as far as files go."""
        for path, start, end, _first, _last, highest in self._stretches:
            if highest > sequence:
                found = [e for e in read(path, start, end) if e.sequence > sequence and self._shows(e)]
                yield from sorted(found, key=lambda event: event.sequence)

    def arrived_last(self, count: int) -> list[Event]:
        """The `count` events that arrived last, oldest first."""
        found: list[Event] = []
        for path, start, end, *_rest in reversed(self._stretches):
            found += sorted(filter(self._shows, read(path, start, end)), key=lambda event: -event.sequence)
            if len(found) >= count:
                break
        return sorted(found[:count], key=lambda event: event.sequence)

    def scan(self, wanted: Range, *, backwards: bool = False) -> Iterator[Event | int]:
        """Events in order, and between them how many bytes were just read to find them."""
        start = max(wanted.start, self._horizon, wanted.after.timestamp if wanted.after else 0)
        end = min(wanted.end, wanted.before.timestamp + 1 if wanted.before else LAST)
        sign = -1 if backwards else 1
        waiting = [one for one in self._stretches if one[4] >= start and one[3] < end]
        waiting.sort(key=lambda one: one[4] if backwards else -one[3])  # the next one to open is last
        ready: list[tuple[int, int, Event]] = []
        while waiting or ready:
            if waiting:
                edge = sign * (waiting[-1][4] if backwards else waiting[-1][3])
                while ready and ready[0][0] < edge:
                    yield heapq.heappop(ready)[2]
                path, offset, stop, *_rest = waiting.pop()
                for event in read(path, offset, stop):
                    if start <= event.timestamp < end and self._shows(event) and _within(event, wanted):
                        heapq.heappush(ready, (sign * event.timestamp, sign * event.sequence, event))
                yield stop - offset
            else:
                yield heapq.heappop(ready)[2]

    def _shows(self, event: Event) -> bool:
        if self._streams is not None and event.stream not in self._streams:
            return False
        return event.sequence > self._deleted.get(event.stream, -1) and event.timestamp >= self._horizon


def _within(event: Event, wanted: Range) -> bool:
    place = event.place
    return (wanted.after is None or place > wanted.after) and (wanted.before is None or place < wanted.before)
