"""What functions print: lines put together from a pipe, handed to whoever keeps them per log group."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
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

    def writer(self, account: str, region: str, group: str, stream: str) -> Writer:
        """Appends events to `stream`, on the loop, and does not wait for a disk."""


class Writer(Protocol):
    def __call__(self, message: str) -> None:
        """Append one event."""

    def many(self, messages: Sequence[str]) -> None:
        """Append several, at the price of one and a little."""


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

    def writer(self, account: str, region: str, group: str, stream: str) -> Writer:
        return _BookWriter(self, (account, region, group), stream)

    def append(self, key: tuple[str, str, str], stream: str, message: str) -> None:
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


class _BookWriter:
    def __init__(self, book: LogBook, key: tuple[str, str, str], stream: str) -> None:
        self._book = book
        self._key = key
        self._stream = stream

    def __call__(self, message: str) -> None:
        self._book.append(self._key, self._stream, message)

    def many(self, messages: Sequence[str]) -> None:
        for message in messages:
            self(message)


class LineAssembler:
    """Cuts the bytes of a runtime's output into log messages: lines of text, and AWS's framed messages."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[str]:
        """The messages that `data` completes. Text keeps its newline."""
        buffer = self._buffer + data if self._buffer else data
        if len(buffer) <= LINE_LIMIT and _FRAME_MARK not in buffer:  # the usual case: lines, none of them too long
            end = buffer.rfind(b"\n") + 1
            self._buffer = buffer[end:] if end < len(buffer) else b""
            return [line + "\n" for line in _text(buffer[: end - 1]).split("\n")] if end else []
        found, at = [], 0
        while at < len(buffer) and (end := self._end(buffer, at)):
            found.append(_message(buffer, at, end))
            at = end
        self._buffer = buffer[at:]
        return found

    def flush(self) -> str | None:
        """What is left of a line that had no end yet."""
        if not self._buffer or self._buffer.startswith(_FRAME_MARK):
            return None
        rest, self._buffer = self._buffer, b""
        return _text(rest)

    @staticmethod
    def _end(buffer: bytes, at: int) -> int:
        """Where the message that begins at `at` ends; 0 when its end has not come yet."""
        if buffer.startswith(_FRAME_MARK, at):
            if len(buffer) < at + _FRAME_HEAD:
                return 0
            length = int.from_bytes(buffer[at + 4 : at + 8], "big")
            end = at + _FRAME_HEAD + (length if length <= FRAME_LIMIT else 0)
            return end if len(buffer) >= end else 0
        most = at + LINE_LIMIT
        newline = buffer.find(b"\n", at, most)
        mark = buffer.find(_FRAME_MARK, at, newline if newline >= 0 else most)
        if mark > at:
            return mark
        if newline >= 0:
            return newline + 1
        return most if len(buffer) >= most else 0


def _message(buffer: bytes, at: int, end: int) -> str:
    framed = buffer.startswith(_FRAME_MARK, at)
    if not framed or int.from_bytes(buffer[at + 4 : at + 8], "big") > FRAME_LIMIT:
        return _text(buffer[at:end])  # text, or no frame of the client: a function that plays with the format
    text = _text(buffer[at + _FRAME_HEAD : end])
    return text if text.endswith("\n") else text + "\n"  # some clients frame JSON without it


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
