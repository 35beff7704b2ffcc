"""Files that are whole at any instant, also after a power cut."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import struct
from io import RawIOBase
from pathlib import Path

_GET_FLAGS, _SET_FLAGS, _TOP_DIRECTORY = 0x80086601, 0x40086602, 0x20000
ASIDE = ".new-"  # what is being written; a crash leaves it behind, the next start removes it


def write_durably(path: Path, data: bytes) -> None:
    """Make or replace `path` (0600): written aside, synced, renamed, the directory synced."""
    aside = path.with_name(ASIDE + secrets.token_hex(8))
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb", buffering=0) as file:
            write_all(file, data)
            os.fsync(fd)
        aside.rename(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()
        raise
    sync_directory(path.parent)


def write_all(file: RawIOBase, data: bytes) -> None:
    """Write the whole of `data` to an unbuffered file, which may take less at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def spread(directory: Path) -> None:
    """Have ext4 put each directory made in this one wherever there is room (`chattr +T`); others need no telling.

    Else all of them share one part of the disk. There a new file costs up to a millisecond while the places of files
    that have just been removed are passed over, one by one.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            (flags,) = struct.unpack("=l", fcntl.ioctl(fd, _GET_FLAGS, b"\0" * struct.calcsize("=l")))
            fcntl.ioctl(fd, _SET_FLAGS, struct.pack("=l", flags | _TOP_DIRECTORY))
    finally:
        os.close(fd)
