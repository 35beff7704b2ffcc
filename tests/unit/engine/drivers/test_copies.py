"""What a function left in its /tmp, copied for another user."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from lambent.engine.drivers.copies import copy


def copied(source: Path, target: Path) -> None:
    target.mkdir()
    fd = os.open(target, os.O_RDONLY)
    try:
        copy(source, fd, os.getuid())
    finally:
        os.close(fd)


def test_files_directories_and_links_are_copied_as_they_are(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "file").write_bytes(b"x" * 100_000)
    (source / "a" / "b" / "file").chmod(0o751)
    os.utime(source / "a" / "b" / "file", ns=(1, 2_000_000_000))
    (source / "a").chmod(0o700)
    copied(source, tmp_path / "target")
    made = tmp_path / "target" / "a" / "b" / "file"
    assert made.read_bytes() == b"x" * 100_000
    assert (made.stat().st_mode & 0o777, made.stat().st_mtime_ns) == (0o751, 2_000_000_000)
    assert (tmp_path / "target" / "a").stat().st_mode & 0o777 == 0o700


def test_nothing_outside_is_read_or_written(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").symlink_to(secret / "key")
    (source / "directory").symlink_to(secret)
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "socket"))
        copied(source, tmp_path / "target")
    assert sorted(os.listdir(tmp_path / "target")) == ["directory", "file"]
    assert os.readlink(tmp_path / "target" / "file") == str(secret / "key")
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        copied(tmp_path / "source" / "directory", tmp_path / "other")
