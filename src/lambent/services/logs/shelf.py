"""All log groups of a data directory. Every method belongs to the one thread that writes."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from lambent.services.logs.blocks import Block, Line
from lambent.services.logs.groups import GONE, Group, directory_of
from lambent.services.logs.records import GroupKey, GroupRecord
from lambent.services.logs.taps import Taps

_SEGMENT = 8 << 20  # bytes
_SEGMENTS = 8  # that the bound holds at least
_MOST_LINES = 1_000  # of one block
_ROOM = 0.95  # of the bound: how far it is cut down to

_log = logging.getLogger("lambent.logs")


class Shelf:
    def __init__(self, directory: Path, bound: int, taps: Taps | None = None) -> None:
        """`bound` is in bytes: what all segments together may take. `taps` see what has been written."""
        self._taps = taps or Taps()
        self._directory = directory
        self._bound = bound
        self._segment = max(1, min(_SEGMENT, bound // _SEGMENTS))
        self.groups: dict[GroupKey, Group] = {}
        self._size = 0

    def open(self) -> int:
        """Find what an earlier server left. Returns the highest sequence of an event."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        for path in sorted(self._directory.iterdir()):
            if path.name.startswith(GONE):
                shutil.rmtree(path, ignore_errors=True)
                continue
            try:
                group = Group.load(path)
            except FileNotFoundError:  # was being made or removed
                shutil.rmtree(path, ignore_errors=True)
            except (OSError, ValueError, TypeError, KeyError) as error:
                _log.error("the log group in %s cannot be read and is left alone: %r", path, error)
            else:
                self.groups[group.key] = group
        self._size = sum(group.size for group in self.groups.values())
        return max((group.sequence for group in self.groups.values()), default=0)

    def close(self) -> None:
        for group in self.groups.values():
            with contextlib.suppress(OSError):
                group.seal()

    def make(self, key: GroupKey, record: GroupRecord) -> Group:
        path = self._directory / directory_of(key)
        if path.exists():  # unreadable, or half removed
            path.rename(path.with_name(f"unreadable-{record.created}-{path.name}"))
        group = self.groups[key] = Group.make(path, key, record)
        return group

    def remove(self, key: GroupKey) -> None:
        group = self.groups.pop(key)
        self._size -= group.size
        group.remove()

    def append(self, group: Group, block: Block, *, durable: bool = False) -> None:
        """OSError when the disk takes no more."""
        before = group.size
        group.append(block, self._segment, durable=durable)
        self._size += group.size - before
        if self._size > self._bound:
            self._make_room(block.at)
        if block.lines:
            self._taps.take(group.key, group.record, block)

    def write(self, batch: Mapping[GroupKey, Mapping[str, Sequence[Line]]], at: int) -> None:
        """What functions printed, by group and stream. Groups that are not there are made."""
        for key, lines in batch.items():
            for part in _parts(lines):
                try:
                    group = self.groups.get(key) or self.make(key, GroupRecord(at))
                    self.append(group, Block(at, part))
                except OSError as error:
                    lost = sum(map(len, part.values()))
                    _log.error("%d lines of %s are lost: %s", lost, key.name, error.strerror or error)

    def expire(self, now: int) -> None:
        """Remove the segments of which every event is beyond its group's retention."""
        for group in self.groups.values():
            if count := group.expired(now):
                self._drop(group, count, now)

    def rest(self) -> None:
        """Let go of what is on disk and nobody uses: memory does not grow with groups and streams."""
        for group in self.groups.values():
            with contextlib.suppress(OSError):  # no room for an index: it stays in memory
                group.rest()

    def streams(self, key: GroupKey, names: Iterable[str] | None, prefix: str | None) -> list[str] | None:
        """Which streams are meant; None: all."""
        if names is not None:
            return list(names)
        return None if prefix is None else [name for name in self.groups[key].streams if name.startswith(prefix)]

    def _make_room(self, now: int) -> None:
        """The group that takes most gives its oldest: who prints much cannot push out what others have."""
        while self._size > self._bound * _ROOM:
            largest = max(self.groups.values(), key=lambda group: group.size)
            before = self._size
            self._drop(largest, 1, now)
            if self._size >= before:
                return

    def _drop(self, group: Group, count: int, now: int) -> None:
        before = group.size
        group.drop(count, now)
        self._size += group.size - before


def _parts(lines: Mapping[str, Sequence[Line]]) -> Iterator[Mapping[str, Sequence[Line]]]:
    """Of bounded size: while a block is encoded nothing else of the server runs, and who reads it reads all of it."""
    if sum(map(len, lines.values())) <= _MOST_LINES:
        yield lines
        return
    for stream, its in lines.items():
        for start in range(0, len(its), _MOST_LINES):
            yield {stream: its[start : start + _MOST_LINES]}
