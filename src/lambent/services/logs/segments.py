"""One file of a log group: blocks, one behind the other, and what is known of them without reading."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from pathlib import Path

import orjson

from lambent.base.files import write_all
from lambent.services.logs.blocks import Block, Line, decode
from lambent.services.logs.records import Event, Stream

SUFFIX = ".log"
_INDEX = ".index"
_STRETCH = 64 << 10  # bytes of neighbouring blocks that are read at once


@dataclass(slots=True)
class Stretch:
    """Neighbouring blocks: what a read takes at once."""

    start: int  # offset
    end: int
    first: int  # the oldest timestamp, and the newest; first > last where there are no events
    last: int
    sequence: int  # the highest
    streams: set[str]


@dataclass(slots=True)
class Contents:
    """What can be asked of a segment without reading its events."""

    stretches: list[Stretch] = field(default_factory=list)
    streams: dict[str, Stream] = field(default_factory=dict)
    deleted: dict[str, int] = field(default_factory=dict)  # stream → the last sequence that went with it


class Segment:
    """Appended to while it is the group's newest, then read until it is removed.

    Its contents are in memory while they are used; when it is sealed, they lie in its index too.
    """

    __slots__ = ("_contents", "_directory", "_sealed", "_used", "last", "number", "sequence", "size")

    def __init__(self, directory: Path, number: int) -> None:
        """A new segment; the file is made by the first append."""
        self._directory = directory  # the group's
        self.number = number
        self.size = 0
        self.last = 0  # the newest timestamp, of events and of the blocks themselves
        self.sequence = 0
        self._contents: Contents | None = Contents()
        self._sealed = False
        self._used = True

    @property
    def path(self) -> Path:
        return self._directory / f"{self.number}{SUFFIX}"

    @property
    def contents(self) -> Contents:
        """OSError when they are neither in memory nor on disk."""
        self._used = True
        if self._contents is None:
            self._contents = self._read_contents()
        return self._contents

    @classmethod
    def load(cls, path: Path) -> Segment:
        """One that an earlier server left. Without an index it is read whole, and a torn end is cut off."""
        segment = cls(path.parent, int(path.stem))
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            index = orjson.loads(path.with_suffix(_INDEX).read_bytes())
            if index["size"] == path.stat().st_size:
                segment.size, segment.last, segment.sequence = index["size"], index["last"], index["sequence"]
                segment._contents, segment._sealed = None, True
                return segment
        data = path.read_bytes()
        for end, block in decode(data):
            segment._note(block, end)
        if segment.size < len(data):
            os.truncate(path, segment.size)
        return segment

    def append(self, block: Block, *, durable: bool) -> None:
        """OSError, and then nothing was added."""
        data = block.encode()
        _contents = self.contents  # as they are before: an index tells of the file that it was written for
        with open(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb", buffering=0) as file:
            file.seek(self.size)
            try:
                write_all(file, data)
                if durable:
                    os.fdatasync(file.fileno())
            except OSError:
                file.truncate(self.size)
                raise
        self._sealed = False
        self._note(block, self.size + len(data))

    def seal(self, *, release: bool = False) -> None:
        """Write the index, which spares the next start from reading the segment and this one from remembering it.

        Not synced: one that a power cut has damaged is noticed, and the segment is read.
        """
        if self._sealed or not self.size:
            return
        contents = self.contents
        index = {
            "size": self.size,
            "last": self.last,
            "sequence": self.sequence,
            "deleted": contents.deleted,
            "streams": {name: asdict(stream) for name, stream in contents.streams.items()},
            "stretches": [{**asdict(stretch), "streams": sorted(stretch.streams)} for stretch in contents.stretches],
        }
        path = self.path.with_suffix(_INDEX)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(orjson.dumps(index))
        self._sealed = True
        if release:
            self._contents = None

    def rest(self) -> None:
        """Let go of contents that are on disk too and have not been used since the last time."""
        if self._sealed and not self._used:
            self._contents = None
        self._used = False

    def remove(self) -> None:
        for path in (self.path.with_suffix(_INDEX), self.path):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    def _note(self, block: Block, end: int) -> None:
        contents = self.contents
        spans = {name: _span(lines) for name, lines in block.lines.items() if lines}
        stamps = [stamp for span in spans.values() for stamp in span]
        sequence = max((lines[-1][1] for lines in block.lines.values() if lines), default=0)
        stretch = self._stretch(contents.stretches, end - self.size)
        if stamps:
            stretch.first, stretch.last = min(stretch.first, min(stamps)), max(stretch.last, max(stamps))
        stretch.end = self.size = end
        stretch.sequence = max(stretch.sequence, sequence)
        stretch.streams.update(block.lines)
        self.last = max(self.last, block.at, *stamps)
        self.sequence = max(self.sequence, sequence, *block.deleted.values(), 0)
        for name, cut in block.deleted.items():
            contents.streams.pop(name, None)
            contents.deleted[name] = cut
        for name, created in block.made.items():
            _know(contents.streams, name, Stream(created, asked_for=True))
        for name, (first, last) in spans.items():
            _know(contents.streams, name, Stream(block.at, first, last, block.at))

    def _stretch(self, stretches: list[Stretch], length: int) -> Stretch:
        """The one that the next `length` bytes belong to."""
        if not stretches or stretches[-1].end - stretches[-1].start + length > _STRETCH:
            stretches.append(Stretch(self.size, self.size, 1 << 62, 0, 0, set()))
        return stretches[-1]

    def _read_contents(self) -> Contents:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            index = orjson.loads(self.path.with_suffix(_INDEX).read_bytes())
            if index["size"] == self.size:
                return Contents(
                    [Stretch(**{**stretch, "streams": set(stretch["streams"])}) for stretch in index["stretches"]],
                    {name: Stream(**stream) for name, stream in index["streams"].items()},
                    index["deleted"],
                )
        again = Segment(self._directory, self.number)
        for end, block in decode(self.path.read_bytes()):
            again._note(block, end)
        return again.contents


def _span(lines: Sequence[Line]) -> tuple[int, int]:
    """The oldest and the newest timestamp."""
    stamps = list(map(itemgetter(0), lines))
    return min(stamps), max(stamps)


def _know(streams: dict[str, Stream], name: str, stream: Stream) -> None:
    if name in streams:
        streams[name].take(stream)
    else:
        streams[name] = stream


def read(path: Path, start: int, end: int) -> Iterator[Event]:
    """The events of a stretch; none where the file has been removed since."""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read(end - start)
    except FileNotFoundError:
        return
    for _end, block in decode(data):
        yield from block.events()
