"""One file of a log group: blocks, one behind the other, and what is known of them without reading."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from lambent.base.files import write_all, write_durably
from lambent.services.logs.blocks import Block, decode
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


class Segment:
    """Appended to while it is the group's newest, then read until it is removed."""

    def __init__(self, path: Path) -> None:
        """A new segment; the file is made by the first append. `path` ends in SUFFIX, its stem is its number."""
        self.path = path
        self.size = 0
        self.stretches: list[Stretch] = []
        self.streams: dict[str, Stream] = {}
        self.deleted: dict[str, int] = {}
        self.last = 0  # the newest timestamp, of events and of the blocks themselves
        self.sequence = 0
        self._sealed = False

    @property
    def number(self) -> int:
        return int(self.path.stem)

    @classmethod
    def load(cls, path: Path) -> Segment:
        """One that an earlier server left. Without an index it is read whole, and a torn end is cut off."""
        segment = cls(path)
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            segment._read_index(orjson.loads(path.with_suffix(_INDEX).read_bytes()))
            return segment
        segment = cls(path)
        data = path.read_bytes()
        for end, block in decode(data):
            segment._note(block, end)
        if segment.size < len(data):
            os.truncate(path, segment.size)
        return segment

    def append(self, block: Block, *, durable: bool) -> None:
        """OSError, and then nothing was added."""
        data = block.encode()
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

    def seal(self) -> None:
        """Nothing will be appended: write the index that spares the next start from reading it."""
        if self._sealed or not self.size:
            return
        index = {
            "size": self.size,
            "last": self.last,
            "sequence": self.sequence,
            "deleted": self.deleted,
            "streams": {name: asdict(stream) for name, stream in self.streams.items()},
            "stretches": [{**asdict(stretch), "streams": sorted(stretch.streams)} for stretch in self.stretches],
        }
        write_durably(self.path.with_suffix(_INDEX), orjson.dumps(index))
        self._sealed = True

    def remove(self) -> None:
        for path in (self.path.with_suffix(_INDEX), self.path):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    def _note(self, block: Block, end: int) -> None:
        stamps = [line[0] for lines in block.lines.values() for line in lines]
        sequence = max((lines[-1][1] for lines in block.lines.values() if lines), default=0)
        stretch = self._stretch(end - self.size)
        if stamps:
            stretch.first, stretch.last = min(stretch.first, min(stamps)), max(stretch.last, max(stamps))
        stretch.end = self.size = end
        stretch.sequence = max(stretch.sequence, sequence)
        stretch.streams.update(block.lines)
        self.last = max(self.last, block.at, *stamps)
        self.sequence = max(self.sequence, sequence, *block.deleted.values(), 0)
        for name, cut in block.deleted.items():
            self.streams.pop(name, None)
            self.deleted[name] = cut
        for name, created in block.made.items():
            self._know(name, Stream(created, asked_for=True))
        for name, lines in block.lines.items():
            times = [line[0] for line in lines]
            if times:
                self._know(name, Stream(block.at, min(times), max(times), block.at))

    def _know(self, name: str, stream: Stream) -> None:
        if name in self.streams:
            self.streams[name].take(stream)
        else:
            self.streams[name] = stream

    def _stretch(self, length: int) -> Stretch:
        """The one that the next `length` bytes belong to."""
        if not self.stretches or self.stretches[-1].end - self.stretches[-1].start + length > _STRETCH:
            self.stretches.append(Stretch(self.size, self.size, 1 << 62, 0, 0, set()))
        return self.stretches[-1]

    def _read_index(self, index: dict[str, Any]) -> None:
        if index["size"] != self.path.stat().st_size:
            raise ValueError("the index is of another file")
        self.size, self.last, self.sequence = index["size"], index["last"], index["sequence"]
        self.deleted = index["deleted"]
        self.streams = {name: Stream(**stream) for name, stream in index["streams"].items()}
        self.stretches = [Stretch(**{**stretch, "streams": set(stretch["streams"])}) for stretch in index["stretches"]]
        self._sealed = True


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
