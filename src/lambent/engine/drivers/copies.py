"""Copies what a function has left in its `/tmp`, which may be anything at all, for another user."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path


def copy(source: Path, target: int, user: int) -> None:
    """The content of the directory `source` into the open directory `target`, as files of `user`. Blocks.

    Directories, files and symbolic links, with their modes and times; links are never followed. OSError when `target`
    is full. Nobody may change `source` meanwhile.
    """
    directory = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _copy_content(directory, target, user)
    finally:
        os.close(directory)


def _copy_content(source: int, target: int, user: int) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            _copy_entry(entry.name, entry.stat(follow_symlinks=False), source, target, user)


def _copy_entry(name: str, found: os.stat_result, source: int, target: int, user: int) -> None:
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        os.chown(name, user, user, dir_fd=target, follow_symlinks=False)
        return
    if stat.S_ISDIR(found.st_mode):
        os.mkdir(name, dir_fd=target)
        flags = os.O_RDONLY | os.O_DIRECTORY
    elif stat.S_ISREG(found.st_mode):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    else:
        return  # nobody is there at the other end of a pipe or a socket
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    ours = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    theirs = os.open(name, flags, 0o600, dir_fd=target)
    try:
        if stat.S_ISDIR(found.st_mode):
            _copy_content(ours, theirs, user)
        else:
            with open(ours, "rb", closefd=False) as reader, open(theirs, "wb", closefd=False) as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
        os.fchown(theirs, user, user)
        os.fchmod(theirs, stat.S_IMODE(found.st_mode))
        os.utime(theirs, ns=(found.st_atime_ns, found.st_mtime_ns))
    finally:
        os.close(ours)
        os.close(theirs)
