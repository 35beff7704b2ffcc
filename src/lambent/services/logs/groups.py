"""A log group on disk: a directory with what was asked for it, and its segments."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import orjson

from lambent.base.files import sync_directory, write_durably
from lambent.services.logs.blocks import Block
from lambent.services.logs.query import Source
from lambent.services.logs.records import GroupKey, GroupRecord, GroupView, Stream
from lambent.services.logs.segments import SUFFIX, Segment

GONE = ".gone-"  # before the name of a directory whose group was deleted
_RECORD = "group.json"
_DAY = 86_400_000  # milliseconds
_STREAMS = 256  # of a segment: each is remembered while the segment is appended to


def directory_of(key: GroupKey) -> str:
    """Names may be longer than a file's: the directory has their digest."""
    return hashlib.sha256("\n".join(key).encode()).hexdigest()[:32]


class Group:
    """Belongs to the one thread that writes."""

    __slots__ = ("_next", "_streams", "_touched", "_used", "key", "path", "record", "segments")

    def __init__(self, path: Path, key: GroupKey, record: GroupRecord) -> None:
        self.path = path
        self.key = key
        self.record = record
        self.segments: list[Segment] = []  # the last one is appended to
        self._streams: dict[str, Stream] | None = None  # all segments' together, while they are asked for
        self._used = False  # since the last rest
        self._touched = False
        self._next = 0  # the lowest number that a new segment may have: they are named by the millisecond they begin in

    @classmethod
    def make(cls, path: Path, key: GroupKey, record: GroupRecord) -> Group:
        group = cls(path, key, record)
        path.mkdir(mode=0o700)
        group.change(record)
        sync_directory(path.parent)
        return group

    @classmethod
    def load(cls, path: Path) -> Group:
        """OSError, ValueError, TypeError or KeyError when the directory is no group's."""
        value = orjson.loads((path / _RECORD).read_bytes())
        group = cls(path, GroupKey(*value["key"]), GroupRecord(**value["record"]))
        if path.name != directory_of(group.key):
            raise ValueError("it has the name of another group")
        paths = sorted(path.glob("*" + SUFFIX), key=lambda one: int(one.stem))
        group.segments = [Segment.load(one) for one in paths]
        group._next = group.segments[-1].number + 1 if paths else 0
        return group

    @property
    def streams(self) -> Mapping[str, Stream]:
        """OSError when an index cannot be read."""
        self._used = True
        if self._streams is None:
            self._streams = self._sum_up()
        return self._streams

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self.segments)

    @property
    def sequence(self) -> int:
        return max((segment.sequence for segment in self.segments), default=0)

    @property
    def view(self) -> GroupView:
        return GroupView(self.key, self.record, self.size)

    def horizon(self, now: int) -> int:
        """Events that are older than this many milliseconds since the epoch have expired."""
        return 0 if self.record.retention is None else now - self.record.retention * _DAY

    def change(self, record: GroupRecord) -> None:
        value = {"key": list(self.key), "record": asdict(record)}
        write_durably(self.path / _RECORD, orjson.dumps(value))
        self.record = record

    def append(self, block: Block, segment_size: int, *, durable: bool = False) -> None:
        """OSError when the disk takes no more."""
        if not self.segments or self._is_full(self.segments[-1], segment_size, block.at):
            if self.segments:
                self.segments[-1].seal(release=True)
            self._next = max(self._next, block.at)
            self.segments.append(Segment(self.path, self._next))
            self._next += 1
        current = self.segments[-1]
        current.append(block, durable=durable)
        self._touched = True
        if self._streams is None:
            return
        for name in block.deleted:
            self._streams.pop(name, None)
        for name in (*block.made, *block.lines):
            known = current.contents.streams.get(name)
            if known is not None:
                self._streams.setdefault(name, Stream(known.created)).take(known)

    def _is_full(self, segment: Segment, size: int, now: int) -> bool:
        streams = segment.contents.streams
        return segment.size >= size or now - segment.number > _DAY or len(streams) >= _STREAMS

    def rest(self) -> None:
        """Keep no more in memory than has been used since the last time. OSError when an index cannot be written."""
        if self.segments and not self._touched:
            self.segments[-1].seal()
        if not self._used:
            self._streams = None
        self._touched = self._used = False
        for segment in self.segments:
            segment.rest()

    def expired(self, now: int) -> int:
        """How many of the oldest segments hold nothing that is still to be seen."""
        horizon, count = self.horizon(now), 0
        while count < len(self.segments) and self.segments[count].last < horizon:
            count += 1
        return count

    def drop(self, count: int, now: int) -> None:
        """Remove the oldest segments. Streams that were asked for stay, without events."""
        gone, self.segments = self.segments[:count], self.segments[count:]
        asked = {name: stream.created for name, stream in self._sum_up(gone).items() if stream.asked_for}
        self._streams = None
        if lost := {name: created for name, created in asked.items() if name not in self.streams}:
            self.append(Block(now, made=lost), 1 << 62)
        for segment in gone:
            segment.remove()

    def seal(self) -> None:
        for segment in self.segments:
            segment.seal()

    def remove(self) -> None:
        """Gone at once: what a crash leaves of it is removed at the next start."""
        gone = self.path.with_name(GONE + self.path.name)
        self.path.rename(gone)
        sync_directory(self.path.parent)
        shutil.rmtree(gone, ignore_errors=True)

    def source(self, streams: Iterable[str] | None, now: int) -> Source:
        """What a reader in another thread needs to see the events of `streams` (None: of all) as they are now."""
        chosen = None if streams is None else frozenset(streams)
        stretches = [
            (segment.path, stretch.start, stretch.end, stretch.first, stretch.last, stretch.sequence)
            for segment in self.segments
            for stretch in segment.contents.stretches
            if stretch.first <= stretch.last and (chosen is None or not chosen.isdisjoint(stretch.streams))
        ]
        deleted: dict[str, int] = {}
        for segment in self.segments:
            deleted |= segment.contents.deleted
        return Source(stretches, chosen, deleted, self.horizon(now))

    def _sum_up(self, before: Iterable[Segment] = ()) -> dict[str, Stream]:
        streams: dict[str, Stream] = {}
        for segment in (*before, *self.segments):
            for name in segment.contents.deleted:
                streams.pop(name, None)
            for name, stream in segment.contents.streams.items():
                streams.setdefault(name, Stream(stream.created)).take(stream)
        return streams
