"""Blocks: what one flush adds to a group, as bytes of a segment file.

A block is a line `<length> <crc32>` in hexadecimal, and a line of JSON. It is whole when length and checksum say so:
what a crash left behind it is cut off.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from lambent.services.logs.records import Event

HEAD = 18  # bytes of the first line
Line = tuple[int, int, str]
"""(timestamp, sequence, message)"""


@dataclass(frozen=True, slots=True)
class Block:
    """Events by stream, and streams that were made or deleted at this point."""

    at: int  # milliseconds since the epoch: when it was ingested
    lines: Mapping[str, Sequence[Line]] = field(default_factory=dict)
    made: Mapping[str, int] = field(default_factory=dict)  # stream → when, for CreateLogStream
    deleted: Mapping[str, int] = field(default_factory=dict)  # stream → the last sequence that goes with it

    def encode(self) -> bytes:
        value = {"at": self.at, "lines": self.lines, "made": self.made, "deleted": self.deleted}
        try:
            body = orjson.dumps(value)
        except orjson.JSONEncodeError:  # half of a surrogate pair
            clean = {
                stream: [(at, sequence, _encodable(text)) for at, sequence, text in lines]
                for stream, lines in self.lines.items()
            }
            body = orjson.dumps(value | {"lines": clean})
        return b"%08x %08x\n%b\n" % (len(body) + 1, zlib.crc32(body), body)

    def events(self) -> Iterator[Event]:
        for stream, lines in self.lines.items():
            for timestamp, sequence, message in lines:
                yield Event(timestamp, sequence, stream, self.at, message)


def decode(data: bytes) -> Iterator[tuple[int, Block]]:
    """The whole blocks at the start of `data`, each with the offset behind it."""
    at = 0
    while (found := _block(data, at)) is not None:
        at, block = found
        yield at, block


def _block(data: bytes, at: int) -> tuple[int, Block] | None:
    head = data[at : at + HEAD]
    if len(head) < HEAD or head[8:9] != b" " or head[-1:] != b"\n":
        return None
    try:
        length, checksum = int(head[:8], 16), int(head[9:17], 16)
    except ValueError:
        return None
    end = at + HEAD + length
    body = data[at + HEAD : end - 1]
    if not length or len(data) < end or data[end - 1] != ord("\n") or zlib.crc32(body) != checksum:
        return None
    try:
        return end, Block(**orjson.loads(body))
    except (orjson.JSONDecodeError, TypeError):
        return None


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
