"""Zips as somebody means them who wants out of the directory that they are unpacked in, or wants the machine."""

from __future__ import annotations

import io
import stat
import struct
import zipfile

DATE = (2026, 3, 4, 5, 6, 8)


def entry(
    name: str, mode: int = 0o100644, *, date: tuple[int, ...] = DATE, system: int = 3, extra: bytes = b""
) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x", date)  # type: ignore[arg-type]
    info.filename = name  # past the constructor, which cuts names at NUL
    info.create_system = system
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    info.extra = extra
    return info


def make(*entries: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for info, content in entries:
            archive.writestr(entry(info) if isinstance(info, str) else info, content)
    return buffer.getvalue()


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    return entry(name, stat.S_IFLNK | 0o777), target.encode()


def forge(data: bytes, offset: int, value: bytes, mark: bytes = b"PK\x01\x02") -> bytes:
    """Overwrite bytes of the first record that starts with `mark`."""
    at = data.index(mark) + offset
    return data[:at] + value + data[at + len(value) :]


_SMALL = struct.pack("<L", 100)

ATTACKS: dict[str, bytes] = {
    "parent": make(("../f", b"1")),
    "parent in the middle": make(("a/../../f", b"1")),
    "absolute": make(("/etc/cron.d/f", b"1")),
    "drive": make(("C:/f", b"1")),
    "backslashes": make(("..\\f", b"1")),
    "NUL": make(("f\0.py", b"1")),
    "link out": make(link("l", "/etc/passwd")),
    "link up": make(link("a/l", "../..")),
    "file through a link": make(link("l", "d"), ("l/f", b"1")),
    "links in a circle": make(link("one", "two"), link("two", "one")),
    "one name twice": make((entry("f"), b"1"), (entry("./f"), b"2")),
    "device": make((entry("dev", stat.S_IFBLK | 0o666), b"")),
    "pipe": make((entry("pipe", stat.S_IFIFO | 0o666), b"")),
    "bomb": make(("zeros", bytes(3_000_000))),
    "bomb that lies": forge(forge(make(("zeros", bytes(3_000_000))), 24, _SMALL), 22, _SMALL, b"PK\x03\x04"),
    "records that contradict each other": forge(make(("zeros", bytes(30_000))), 24, _SMALL),
    "too many directories deep": make(("/".join("a" * 129), b"1")),
}
"""By what each tries. None unpacks to as much as the megabyte that tests allow, unless it is a bomb."""
