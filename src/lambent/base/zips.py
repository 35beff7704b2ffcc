"""Reads zip files, strictly: an archive that two readers could understand differently is refused.

The standard library's reader is lenient in ways that differ between its versions (bytes after the end, overlapping
entries, names cut at NUL), so what people upload is read here. Stored and deflated members; zip64.
"""

from __future__ import annotations

import calendar
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_UNIX, _MACOS = 3, 19  # creators whose file modes are real
_ENCRYPTED, _DESCRIPTOR, _PATCHED, _STRONG, _UTF8, _MASKED = 0x1, 0x8, 0x20, 0x40, 0x800, 0x2000
_STORED, _DEFLATED = 0, 8
_EPOCH = 315532800  # 1980-01-01, for entries without a sane date
_CHUNK = 1 << 18  # bytes fed to or taken from the decompressor at once


class ArchiveError(Exception):
    """The archive cannot be used. The message is the reason, for people."""


class ArchiveEmpty(ArchiveError):
    """A well-formed archive without a single entry."""


class ArchiveTooLarge(ArchiveError):
    """More bytes or entries than the limits allow."""


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of the directory."""

    name: str
    size: int  # bytes unpacked, as declared; `read` holds it to that
    packed: int  # bytes in the archive
    mode: int  # Unix mode with its file type; 0 where the archive says nothing
    mtime: int  # seconds since the epoch
    crc: int
    method: int
    flags: int
    raw: bytes  # the name as stored
    offset: int  # of its local header


class Zip:
    """The directory of an archive that is in memory or mapped."""

    def __init__(self, data: memoryview, *, most: int) -> None:
        """Read and check the directory. Raises ArchiveError; ArchiveTooLarge beyond `most` entries."""
        self._data = data
        count, size, start = self._find_directory()
        if count > most:
            raise ArchiveTooLarge(f"it has {count} entries; at most {most} are allowed")
        if count == 0:
            raise ArchiveEmpty("it has no entries")
        self._start = start
        self.members = self._read_directory(count, start, start + size)
        self._data_offsets = self._locate()

    # The directory

    def _find_directory(self) -> tuple[int, int, int]:
        """(entries, bytes, offset) of the central directory, which must end where the end record begins."""
        data = self._data
        end = self._find_end()
        _, disk, first_disk, here, count, size, start, _ = _END.unpack_from(data, end)
        if 0xFFFF in (disk, first_disk, here, count) or 0xFFFFFFFF in (size, start):
            disk, first_disk, here, count, size, start, end = self._read_end64(end)
        if disk or first_disk or here != count:
            raise ArchiveError("it is one part of an archive in several parts")
        if start + size != end:
            raise ArchiveError("its directory is not where its end record says: bytes are missing or were added")
        return count, size, start

    def _find_end(self) -> int:
        """The offset of the end record, which with its comment must reach exactly to the end of the data."""
        data, length = self._data, len(self._data)
        if length < _END.size:
            raise ArchiveError("it is too short to be a zip file")
        tail = bytes(data[max(0, length - _END.size - 0xFFFF) :])
        at = tail.rfind(b"PK\x05\x06")
        while at >= 0:
            if at + _END.size <= len(tail) and at + _END.size + _END.unpack_from(tail, at)[7] == len(tail):
                return length - len(tail) + at
            at = tail.rfind(b"PK\x05\x06", 0, at)
        raise ArchiveError("it has no zip end record: it is not a zip file, was cut off, or bytes follow its end")

    def _read_end64(self, end: int) -> tuple[int, int, int, int, int, int, int]:
        data, locator = self._data, end - _LOCATOR64.size
        if locator < 0:
            raise ArchiveError("its zip64 end record is missing")
        mark, disk, at, disks = _LOCATOR64.unpack_from(data, locator)
        if mark != b"PK\x06\x07" or disk or disks > 1 or at + _END64.size > locator:
            raise ArchiveError("its zip64 end record is missing or not where it should be")
        mark, length, _, _, disk, first_disk, here, count, size, start = _END64.unpack_from(data, at)
        if mark != b"PK\x06\x06" or at + 12 + length != locator:
            raise ArchiveError("its zip64 end record is damaged")
        return disk, first_disk, here, count, size, start, at

    def _read_directory(self, count: int, start: int, end: int) -> list[Member]:
        members, at = [], start
        for _ in range(count):
            member, at = self._read_entry(at) if at + _CENTRAL.size <= end else (None, end + 1)
            if member is None or at > end:
                raise ArchiveError("its directory is damaged")
            members.append(member)
        if at != end:
            raise ArchiveError("its directory holds more than its entries")
        return members

    def _read_entry(self, at: int) -> tuple[Member, int]:
        fields = _CENTRAL.unpack_from(self._data, at)
        mark, made_by, _, flags, method, clock, date, crc, packed, size, *rest = fields
        name, extra, comment, disk, _, mode, offset = rest
        if mark != b"PK\x01\x02":
            raise ArchiveError("its directory is damaged")
        at += _CENTRAL.size
        raw = bytes(self._data[at : at + name])
        extras = _extras(bytes(self._data[at + name : at + name + extra]))
        if 0xFFFFFFFF in (size, packed, offset):
            size, packed, offset = _zip64(extras.get(1, b""), size, packed, offset)
        if disk not in (0, 0xFFFF):
            raise ArchiveError("it is one part of an archive in several parts")
        member = Member(
            name=_decode(raw, flags),
            size=size,
            packed=packed,
            mode=mode >> 16 if made_by >> 8 in (_UNIX, _MACOS) else 0,
            mtime=_mtime(extras.get(0x5455, b""), date, clock),
            crc=crc,
            method=method,
            flags=flags,
            raw=raw,
            offset=offset,
        )
        return member, at + name + extra + comment

    # The members

    def _locate(self) -> dict[int, int]:
        """Local header → data of each member. The headers must agree with the directory and overlap nothing."""
        places: dict[int, int] = {}
        free = 0
        for member in sorted(self.members, key=lambda member: member.offset):
            if member.offset < free:
                raise ArchiveError(f"the entry {member.name!r} overlaps another")
            places[member.offset] = data = self._check_header(member)
            free = data + member.packed
            if free > self._start:
                raise ArchiveError(f"the entry {member.name!r} reaches beyond the archive's data")
        return places

    def _check_header(self, member: Member) -> int:
        at = member.offset
        if at + _LOCAL.size > self._start:
            raise ArchiveError(f"the entry {member.name!r} is not in the archive")
        mark, _, flags, method, _, _, crc, packed, size, name, extra = _LOCAL.unpack_from(self._data, at)
        at += _LOCAL.size
        told = ((crc, member.crc, None), (packed, member.packed, 0xFFFFFFFF), (size, member.size, 0xFFFFFFFF))
        later = bool(flags & _DESCRIPTOR)  # a descriptor after the data holds the values, zeros stand here
        agree = all(here in (true, blank) or (later and here == 0) for here, true, blank in told)
        if mark != b"PK\x03\x04" or self._data[at : at + name] != member.raw or method != member.method or not agree:
            raise ArchiveError(f"the entry {member.name!r} and the directory contradict each other")
        if (flags | member.flags) & (_ENCRYPTED | _STRONG | _MASKED):
            raise ArchiveError(f"the entry {member.name!r} is encrypted")
        if method not in (_STORED, _DEFLATED) or flags & _PATCHED:
            raise ArchiveError(
                f"the entry {member.name!r} is compressed with method {method}; only 0 (stored) and 8 (deflate) work"
            )
        if method == _STORED and member.packed != member.size:
            raise ArchiveError(f"the entry {member.name!r} and the directory contradict each other")
        return at + int(name) + int(extra)

    def read(self, member: Member) -> Iterator[bytes | memoryview]:
        """The content in pieces. Raises ArchiveError when size or checksum turn out wrong, never giving more."""
        start = self._data_offsets[member.offset]
        packed = self._data[start : start + member.packed]
        size, crc = 0, 0
        pieces: Iterable[bytes | memoryview]
        pieces = _inflate(packed, member) if member.method == _DEFLATED else (packed,)
        for piece in pieces:
            size += len(piece)
            if size > member.size:
                raise ArchiveError(f"the entry {member.name!r} is larger than it says")
            crc = zlib.crc32(piece, crc)
            yield piece
        if size != member.size:
            raise ArchiveError(f"the entry {member.name!r} is smaller than it says")
        if crc != member.crc:
            raise ArchiveError(f"the entry {member.name!r} is damaged: its checksum is wrong")


def _inflate(packed: memoryview, member: Member) -> Iterator[bytes]:
    """The pieces of a deflated member: few at a time, so that a bomb costs no memory."""
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for start in range(0, len(packed), _CHUNK):
            piece: bytes | memoryview = packed[start : start + _CHUNK]
            while piece and not machine.eof:
                yield machine.decompress(piece, _CHUNK)
                piece = machine.unconsumed_tail
            if machine.unused_data or (machine.eof and start + _CHUNK < len(packed)):
                raise ArchiveError(f"the entry {member.name!r} holds more than its compressed content")
        while not machine.eof:
            piece = machine.decompress(b"", _CHUNK)
            if not piece:
                raise ArchiveError(f"the entry {member.name!r} is cut off")
            yield piece
    except zlib.error as error:
        raise ArchiveError(f"the entry {member.name!r} is damaged: {error}") from None


def _decode(raw: bytes, flags: int) -> str:
    """Unix tools store names as they are, without saying that they are UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        if flags & _UTF8:
            raise ArchiveError(f"the name {raw!r} is not UTF-8, though it says so") from None
        return raw.decode("cp437")


def _extras(data: bytes) -> dict[int, bytes]:
    """The extra fields by their number; what is not well-formed is padding, as some tools align entries with it."""
    fields: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        number, length = struct.unpack_from("<HH", data, at)
        if at + 4 + length > len(data):
            break
        fields.setdefault(number, data[at + 4 : at + 4 + length])
        at += 4 + length
    return fields


def _zip64(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """The true values of those that say "see the zip64 field", which holds them in this order."""
    values, at = [], 0
    for value in (size, packed, offset):
        if value == 0xFFFFFFFF:
            if at + 8 > len(extra):
                raise ArchiveError("a zip64 field is missing or too short")
            (value,) = struct.unpack_from("<Q", extra, at)
            at += 8
        values.append(value)
    return values[0], values[1], values[2]


def _mtime(stamp: bytes, date: int, clock: int) -> int:
    """From the extended timestamp, exact and in UTC; else from the DOS date, taken as UTC; else 1980."""
    if len(stamp) >= 5 and stamp[0] & 1:
        (seconds,) = struct.unpack_from("<l", stamp, 1)
        return max(0, int(seconds))
    year, month, day = (date >> 9) + 1980, date >> 5 & 0xF, date & 0x1F
    hour, minute, second = clock >> 11, clock >> 5 & 0x3F, (clock & 0x1F) * 2
    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return _EPOCH
    if hour > 23 or minute > 59 or second > 59:
        return _EPOCH
    return calendar.timegm((year, month, day, hour, minute, second))
