"""What waits for one subscriber of the Telemetry or Logs API: when a batch is due, and what is dropped. Pure.

Source: "Configuring memory usage and buffering" in AWS's developer guide.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

RECORD_LIMIT = 2  # times `max_bytes` and `max_items` that may wait while a batch is on its way


@dataclass(frozen=True, slots=True)
class Buffering:
    """When a batch is sent: whichever comes first."""

    max_items: int = 10_000
    max_bytes: int = 262_144
    timeout: float = 1.0  # seconds


class Allowance:
    """Bytes that may be held at once, by one holder and by all that share the same parent."""

    __slots__ = ("_left", "_parent")

    def __init__(self, limit: int, parent: Allowance | None = None) -> None:
        self._left = limit
        self._parent = parent

    def take(self, size: int) -> bool:
        """False when so many bytes are not to be had."""
        if size > self._left or (self._parent is not None and not self._parent.take(size)):
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        self._left += size
        if self._parent is not None:
            self._parent.give_back(size)


@dataclass(frozen=True, slots=True)
class Batch:
    records: Sequence[bytes]  # encoded events, oldest first
    size: int  # bytes of the records
    dropped_records: int = 0  # before these
    dropped_bytes: int = 0


class Buffer:
    """Bounded: a record that finds no room is dropped and counted."""

    def __init__(self, buffering: Buffering, allowance: Allowance) -> None:
        self._buffering = buffering
        self._allowance = allowance
        self._records: deque[tuple[bytes, float]] = deque()
        self._size = 0
        self._dropped_records = 0
        self._dropped_bytes = 0

    def add(self, record: bytes, now: float) -> bool:
        """Keep `record`, which came `now` (monotonic seconds); False when it was dropped."""
        size = len(record)
        full = (
            len(self._records) >= RECORD_LIMIT * self._buffering.max_items
            or self._size + size > RECORD_LIMIT * self._buffering.max_bytes
        )
        if full or not self._allowance.take(size):
            self._dropped_records += 1
            self._dropped_bytes += size
            return False
        self._records.append((record, now))
        self._size += size
        return True

    def __len__(self) -> int:
        """How many records wait."""
        return len(self._records)

    def due(self) -> float | None:
        """When the next batch is to be sent (monotonic seconds, perhaps past); None while there is nothing."""
        if not self._records:
            return None
        if self._size >= self._buffering.max_bytes or len(self._records) >= self._buffering.max_items:
            return 0.0
        return self._records[0][1] + self._buffering.timeout

    def take(self) -> Batch | None:
        """The next batch, at least one record long. `release` gives its room back once it has been sent."""
        if not self._records:
            return None
        records: list[bytes] = []
        size = 0
        while self._records and len(records) < self._buffering.max_items:
            following = len(self._records[0][0])
            if records and size + following > self._buffering.max_bytes:
                break
            records.append(self._records.popleft()[0])
            size += following
        self._size -= size
        batch = Batch(records, size, self._dropped_records, self._dropped_bytes)
        self._dropped_records = self._dropped_bytes = 0
        return batch

    def release(self, batch: Batch) -> None:
        self._allowance.give_back(batch.size)

    def clear(self) -> None:
        self._allowance.give_back(self._size)
        self._records.clear()
        self._size = 0
