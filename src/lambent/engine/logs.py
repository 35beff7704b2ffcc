"""What functions print: lines put together from a pipe, kept in memory per log group until a log service takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lambent.base.clock import Clock

KEPT = 10_000  # events per log group
LINE_LIMIT = 262_144  # bytes: CloudWatch's limit of one event; longer lines are cut into several

_FRAME_MARK = b"\xa5\x5a\x00"  # AWS's framing: mark and level (4 bytes), length (4), microseconds (8), message
_FRAME_HEAD = 16


@dataclass(frozen=True, slots=True)
class LogEvent:
    sequence: int  # grows by one with every event of this server
    timestamp: int  # milliseconds since the epoch
    stream: str
    message: str


class LogBook:
    """The newest events of every log group, in memory and bounded."""

    def __init__(self, clock: Clock, kept: int = KEPT) -> None:
        self._clock = clock
        self._kept = kept
        self._groups: dict[tuple[str, str, str], deque[LogEvent]] = {}
        self._sequence = 0

    def writer(self, account: str, region: str, group: str, stream: str) -> Callable[[str], None]:
        """A function that appends one event to `stream`."""
        key = (account, region, group)

        def write(message: str) -> None:
            self._sequence += 1
            events = self._groups.get(key)
            if events is None:
                events = self._groups[key] = deque(maxlen=self._kept)
            events.append(LogEvent(self._sequence, int(self._clock.time() * 1000), stream, message))

        return write

    def read(self, account: str, region: str, group: str, after: int = 0, limit: int = 1000) -> list[LogEvent]:
        """Up to `limit` events with a sequence above `after`, oldest first; without `after` the newest ones."""
        events = self._groups.get((account, region, group), ())
        if not after:
            return list(events)[-limit:]
        return [event for event in events if event.sequence > after][:limit]


class LineAssembler:
    """Cuts the bytes of a runtime's output into log messages: lines of text, and AWS's framed messages."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """The messages that `data` completes. Text keeps its newline."""
        self._buffer = self._buffer + data if self._buffer else data
        while self._buffer:
            message = self._take()
            if message is None:
                return
            yield message

    def flush(self) -> str | None:
        """What is left of a line that had no end yet."""
        if not self._buffer or self._buffer.startswith(_FRAME_MARK):
            return None
        rest, self._buffer = self._buffer, b""
        return _text(rest)

    def _take(self) -> str | None:
        buffer = self._buffer
        if buffer.startswith(_FRAME_MARK):
            if len(buffer) < _FRAME_HEAD:
                return None
            end = _FRAME_HEAD + int.from_bytes(buffer[4:8], "big")
            if len(buffer) < end:
                return None
            self._buffer = buffer[end:]
            return _text(buffer[_FRAME_HEAD:end])
        newline = buffer.find(b"\n", 0, LINE_LIMIT)
        mark = buffer.find(_FRAME_MARK, 0, newline if newline >= 0 else LINE_LIMIT)
        if mark > 0:
            end = mark
        elif newline >= 0:
            end = newline + 1
        elif len(buffer) >= LINE_LIMIT:
            end = LINE_LIMIT
        else:
            return None
        self._buffer = buffer[end:]
        return _text(buffer[:end])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
