"""What functions print: lines put together from a pipe, handed to whoever keeps them per log group."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from lambent.base.clock import Clock

KEPT_EVENTS = 10_000  # per log group
KEPT_GROUP = 2 << 20  # characters of one log group
KEPT_ALL = 32 << 20  # characters of all log groups together
FRAME_LIMIT = 1 << 20  # bytes of one framed message
LINE_LIMIT = 262_144  # bytes: CloudWatch's limit of one event; longer lines are cut into several

_FRAME_MARK = b"\xa5\x5a\x00"  # AWS's framing: mark and level (4 bytes), length (4), microseconds (8), message
_FRAME_HEAD = 16


class Logs(Protocol):
    """Keeps what functions print: the log service, or a LogBook."""

    def writer(self, account: str, region: str, group: str, stream: str) -> Callable[[str], None]:
        """A function that appends one event to `stream`, on the loop, and does not wait for a disk."""


class LogEvent(NamedTuple):
    sequence: int  # grows by one with every event of this server
    timestamp: int  # milliseconds since the epoch
    stream: str
    message: str


class _Group:
    """The newest events of one log group."""

    __slots__ = ("events", "size")

    def __init__(self) -> None:
        self.events: deque[LogEvent] = deque()
        self.size = 0  # characters


class LogBook:
    """The newest events of every log group, in memory and bounded: the group that was silent longest goes first."""

    def __init__(
        self, clock: Clock, *, events: int = KEPT_EVENTS, group: int = KEPT_GROUP, everything: int = KEPT_ALL
    ) -> None:
        """Keeps up to `events` events and `group` characters of each group, `everything` characters in all."""
        self._clock = clock
        self._most_events = events
        self._most_of_group = group
        self._most = everything
        self._groups: OrderedDict[tuple[str, str, str], _Group] = OrderedDict()
        self._size = 0
        self._sequence = 0

    def writer(self, account: str, region: str, group: str, stream: str) -> Callable[[str], None]:
        """A function that appends one event to `stream`."""
        key = (account, region, group)

        def write(message: str) -> None:
            self._append(key, stream, message)

        return write

    def _append(self, key: tuple[str, str, str], stream: str, message: str) -> None:
        self._sequence += 1
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group()
        else:
            self._groups.move_to_end(key)
        group.events.append(LogEvent(self._sequence, int(self._clock.time() * 1000), stream, message))
        group.size += len(message)
        self._size += len(message)
        while len(group.events) > self._most_events or (group.size > self._most_of_group and len(group.events) > 1):
            gone = len(group.events.popleft().message)
            group.size -= gone
            self._size -= gone
        while self._size > self._most and len(self._groups) > 1:
            self._size -= self._groups.popitem(last=False)[1].size

    def read(self, account: str, region: str, group: str, after: int = 0, limit: int = 1000) -> list[LogEvent]:
        """Up to `limit` events with a sequence above `after`, oldest first; without `after` the newest ones."""
        found = self._groups.get((account, region, group))
        if found is None:
            return []
        if not after:
            return list(found.events)[-limit:]
        return [event for event in found.events if event.sequence > after][:limit]


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
            length = int.from_bytes(buffer[4:8], "big")
            if length > FRAME_LIMIT:  # no frame of the client: a function that plays with the format
                self._buffer = buffer[_FRAME_HEAD:]
                return _text(buffer[:_FRAME_HEAD])
            end = _FRAME_HEAD + length
            if len(buffer) < end:
                return None
            self._buffer = buffer[end:]
            text = _text(buffer[_FRAME_HEAD:end])
            return text if text.endswith("\n") else text + "\n"  # some clients frame JSON without it
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
