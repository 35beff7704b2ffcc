"""Unpacks an uploaded zip into a directory, and nowhere else."""

from __future__ import annotations

import mmap
import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from lambent.base.zips import ArchiveEmpty, ArchiveError, ArchiveTooLarge, Member, Zip

__all__ = ["ArchiveEmpty", "ArchiveError", "ArchiveTooLarge", "Limits", "Unpacked", "remove_tree", "unpack"]

_EPOCH = 315532800  # 1980-01-01, for directories that only the names of files speak of
_NAME_BYTES, _PART_BYTES, _DEPTH = 2048, 255, 128
_TARGET_BYTES = 4095
_LINK_HOPS, _LINK_STEPS = 40, 1_000_000  # symlinks followed for one; names walked for all of an archive
_DRIVE = re.compile(r"[A-Za-z]:")

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may come to."""

    size: int = 262_144_000  # bytes unpacked; must stay below
    entries: int = 200_000


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What an archive came to."""

    files: int  # symlinks included, directories not
    size: int  # bytes of regular files


def unpack(archive: bytes | Path, target: Path, limits: Limits | None = None) -> Unpacked:
    """Unpack a zip into the directory `target`, which must not exist yet. Blocks.

    Files get at least 0444 and directories 0555 beyond the modes in the zip; never set-id or sticky bits, never
    write for others. Times of change are kept. Symlinks that stay inside are kept; they are made last, so that
    nothing is ever written through one. Raises ArchiveError (ArchiveEmpty, ArchiveTooLarge), and then `target` is gone.
    """
    limits = limits or Limits()
    data = _map(archive) if isinstance(archive, Path) else memoryview(archive)
    source = Zip(data, most=limits.entries)
    plan = Plan(source, limits)
    target.mkdir(mode=0o700)
    try:
        return _build(plan, source, str(target))
    except BaseException:
        remove_tree(target)
        raise


def _map(path: Path) -> memoryview:
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise ArchiveError("it is too short to be a zip file")
        return memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))


class Plan:
    """What will stand where: every name checked, nothing written yet."""

    def __init__(self, source: Zip, limits: Limits) -> None:
        self.directories: dict[Parts, Member | None] = {(): None}  # parents before children
        self.files: dict[Parts, Member] = {}
        self.links: dict[Parts, str] = {}
        self._limits = limits
        self._steps = _LINK_STEPS
        self.size = 0
        for member in source.members:
            self._place(member, source)
        for parts in self.links:
            self._check_link(parts)

    def _place(self, member: Member, source: Zip) -> None:
        parts = split_name(member.name)
        kind = stat.S_IFMT(member.mode)
        if member.name.endswith("/") or (kind == stat.S_IFDIR and not member.size):
            self._place_directory(parts, member)
            return
        if kind not in (0, stat.S_IFREG, stat.S_IFLNK):
            raise ArchiveError(f"the entry {member.name!r} is neither a file, a directory nor a symbolic link")
        if not parts or parts in self.files or parts in self.links or parts in self.directories:
            raise ArchiveError(f"the name {member.name!r} appears twice")
        self._make_parents(parts, member)
        if kind == stat.S_IFLNK:
            self.links[parts] = _link_target(member, source)
            return
        self.size += member.size
        if self.size >= self._limits.size:
            raise ArchiveTooLarge(f"it unpacks to {self.size} bytes or more; {self._limits.size} are too many")
        self.files[parts] = member

    def _place_directory(self, parts: Parts, member: Member) -> None:
        """A directory may be named twice: it is still one directory."""
        if member.size:
            raise ArchiveError(f"the directory {member.name!r} has content")
        self._make_parents((*parts, ""), member)
        self.directories[parts] = member if parts else None

    def _make_parents(self, parts: Parts, member: Member) -> None:
        parent = parts[:-1]
        if parent in self.directories:
            return
        if parent in self.files or parent in self.links:
            raise ArchiveError(f"the entry {member.name!r} is inside something that is not a directory")
        self._make_parents(parent, member)
        self.directories[parent] = None
        if len(self.directories) > self._limits.entries:
            raise ArchiveTooLarge(f"it has more than {self._limits.entries} directories")

    def _check_link(self, parts: Parts) -> None:
        """Walk the link as the kernel would, through the other links, and refuse to step out of the tree."""
        here, ahead, hops = list(parts[:-1]), self.links[parts].split("/")[::-1], 0
        while ahead:
            part = ahead.pop()
            self._steps -= 1
            if self._steps < 0 or hops > _LINK_HOPS:
                raise ArchiveError(f"the symbolic link {'/'.join(parts)!r} leads through too many others")
            if part in ("", "."):
                continue
            if part != "..":
                here.append(part)
            elif here:
                here.pop()
            else:
                raise ArchiveError(f"the symbolic link {'/'.join(parts)!r} leads out of the archive")
            if part != ".." and len(here) <= _DEPTH and (onward := self.links.get(tuple(here))) is not None:
                hops += 1
                here.pop()
                ahead.extend(onward.split("/")[::-1])


def split_name(name: str) -> Parts:
    """The parts of an entry's name; none for the root itself. Raises ArchiveError for what must not be."""
    if not name or "\0" in name:
        raise ArchiveError(f"the name {name!r} is empty or holds a NUL")
    if "\\" in name or name.startswith("/") or _DRIVE.match(name):
        raise ArchiveError(f"the name {name!r} is absolute or has backslashes")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise ArchiveError(f"the name {name!r} leads out of the archive")
    if len(name.encode()) > _NAME_BYTES or any(len(part.encode()) > _PART_BYTES for part in parts):
        raise ArchiveError(f"the name {name[:80]!r}… is too long")
    if len(parts) > _DEPTH:
        raise ArchiveError(f"the name {name[:80]!r}… is nested too deeply")
    return parts


def _link_target(member: Member, source: Zip) -> str:
    if not 0 < member.size <= _TARGET_BYTES:
        raise ArchiveError(f"the symbolic link {member.name!r} has no target or a very long one")
    try:
        target = b"".join(source.read(member)).decode("utf-8")
    except UnicodeDecodeError:
        raise ArchiveError(f"the target of the symbolic link {member.name!r} is not UTF-8") from None
    if target.startswith("/") or "\0" in target:
        raise ArchiveError(f"the symbolic link {member.name!r} leads out of the archive")
    return target


def _build(plan: Plan, source: Zip, root: str) -> Unpacked:
    for parts in plan.directories:
        if parts:
            os.mkdir("/".join((root, *parts)), 0o700)
    for parts, member in plan.files.items():
        _write("/".join((root, *parts)), member, source)
    for parts, target in plan.links.items():
        os.symlink(target, "/".join((root, *parts)))
    for parts, entry in reversed(plan.directories.items()):  # children first: their making changed the parent's time
        path = "/".join((root, *parts))
        os.chmod(path, _mode(entry.mode, 0o555) if entry and entry.mode else 0o755)
        mtime = entry.mtime if entry else _EPOCH
        os.utime(path, (mtime, mtime))
    return Unpacked(len(plan.files) + len(plan.links), plan.size)


def _write(path: str, member: Member, source: Zip) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        for piece in source.read(member):
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(fd, rest) :]
        os.fchmod(fd, _mode(member.mode, 0o444) if member.mode else 0o644)
        os.utime(fd, (member.mtime, member.mtime))
    finally:
        os.close(fd)


def _mode(mode: int, least: int) -> int:
    return stat.S_IMODE(mode) & 0o775 | least


def remove_tree(path: Path) -> None:
    """Remove a directory and what is in it, read-only directories included. Nothing happens where there is none."""
    if not path.exists():
        return
    if os.geteuid() != 0:
        for directory, _, _ in os.walk(path):
            os.chmod(directory, 0o700)
    shutil.rmtree(path)
