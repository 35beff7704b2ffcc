"""Unpacks one layer of a container image into a directory, and nowhere else.

Unpacking is hard work on somebody's input, so it is done in a process that can be killed, beside the server.

What the layer takes away from those below it becomes what overlay file systems understand: a character device 0:0 for
a name that is gone, an attribute on a directory of which nothing below shows.

Sources: OCI image specification, layer.md; the kernel's overlayfs documentation.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import json
import os
import resource
import stat
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import lambent
from lambent.base import decompression
from lambent.base.decompression import Damaged

SIZE = 10 << 30  # bytes that a layer may come to: what AWS lets an image have
ENTRIES = 2_000_000

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_SYS_OPENAT2 = 437
_RESOLVE_IN_ROOT, _RESOLVE_NO_MAGICLINKS = 0x10, 0x02
_O_PATH = 0x200000
_REFUSED = 3  # exit status: the layer is at fault
_MEMORY = 1 << 30  # bytes of address space: headers are read whole
_PIECE = 1 << 18  # bytes read at a time
_HEADERS = 2048  # bytes of the archive that an entry may take beside its content, on average
_PROGRAM = (
    "import sys; sys.path += sys.argv[1].splitlines(); from lambent.base import image_layers;"
    " sys.exit(image_layers.main(sys.argv[2:], print))"
)
_ITS_OWN_FAULT = (
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTEMPTY,
    errno.EINVAL,
)
_libc = ctypes.CDLL(None, use_errno=True)


class LayerError(Exception):
    """The layer cannot be unpacked. The message says why."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a layer came to."""

    entries: int
    size: int  # bytes of regular files


def unpack(archive: Path, target: Path, diff_id: str, size: int = SIZE) -> Unpacked:
    """Unpack `archive` (a tar, plain, gzip or zstd) into `target`, which must not exist yet, in a process of its own.

    Blocks. `diff_id` is the digest that the uncompressed tar must have ("sha256:…"); `size` bounds the bytes of its
    files. Raises LayerError; what there is of `target` then is for the caller to remove.
    """
    arguments = [str(archive), str(target), diff_id, str(size)]
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, _libraries(), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if result.returncode == 0:
        return Unpacked(**json.loads(result.stdout))
    if result.returncode == _REFUSED:
        raise LayerError(result.stderr.strip())
    raise OSError(f"unpacking a layer ended with status {result.returncode}: {result.stderr.strip()[-500:]}")


@functools.cache
def _libraries() -> str:
    """Where the process beside us finds this package and those it needs."""
    return "\n".join(map(str, {Path(lambent.__file__).parents[1], *decompression.libraries()}))


class Tree:
    """The directory that is being filled. Every path is looked up inside it, whatever its links say."""

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._privileged = os.geteuid() == 0
        self._parent: tuple[str, int] | None = None  # the last one, which the next entry most often shares

    def close(self) -> None:
        self._leave()
        os.close(self._root)

    def _leave(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def parent(self, path: str) -> tuple[int, str]:
        """(descriptor of the directory that holds `path`, the last name); directories on the way are made."""
        directory, _, name = path.rpartition("/")
        if self._parent is None or self._parent[0] != directory:
            self._leave()
            self._parent = (directory, self._directory(directory))
        return self._parent[1], name

    def _directory(self, path: str) -> int:
        try:
            return self._look_up(path)
        except FileNotFoundError:
            above, _, name = path.rpartition("/")
            holder = self._directory(above)
            try:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=holder)
            finally:
                os.close(holder)
            return self._look_up(path)

    def _look_up(self, path: str) -> int:
        how = struct.pack("=QQQ", _O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
        name = (path or ".").encode("utf-8", "surrogateescape")
        while (fd := _libc.syscall(_SYS_OPENAT2, self._root, name, how, len(how))) < 0:
            code = ctypes.get_errno()
            if code == errno.EAGAIN:  # somewhere on the machine something was renamed or mounted meanwhile
                continue
            raise OSError(code, os.strerror(code), path)
        return int(fd)

    def clear(self, holder: int, name: str) -> None:
        """Make room for what is no directory: a later entry of the same name takes the place of an earlier one."""
        with suppress(FileNotFoundError):
            found = os.stat(name, dir_fd=holder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                self._remove_directory(holder, name)
            else:
                os.unlink(name, dir_fd=holder)

    def _remove_directory(self, holder: int, name: str) -> None:
        self._leave_below()
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=holder)
        try:
            for entry in os.listdir(fd):
                self.clear(fd, entry)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=holder)

    def _leave_below(self) -> None:
        """The remembered directory may be about to go; the descriptor in use stays open until the next entry."""
        if self._parent is not None:
            self._parent = ("\0", self._parent[1])

    def own(self, holder: int, name: str, member: tarfile.TarInfo) -> None:
        if self._privileged:
            os.chown(name, member.uid, member.gid, dir_fd=holder, follow_symlinks=False)

    def make_opaque(self, holder: int) -> None:
        """Nothing of the layers below shows in this directory."""
        place = f"/proc/self/fd/{holder}"
        os.setxattr(place, "user.overlay.opaque", b"y")
        if self._privileged:
            os.setxattr(place, "trusted.overlay.opaque", b"y")


class Layer:
    """One archive on its way into a tree."""

    def __init__(self, tree: Tree, size: int) -> None:
        self._tree = tree
        self._limit = size
        self._entries = self._size = 0
        self._directories: list[tarfile.TarInfo] = []  # get their modes and times last: filling them changes both

    def unpack(self, archive: tarfile.TarFile) -> Unpacked:
        for member in archive:
            self._entries += 1
            if self._entries > ENTRIES:
                raise LayerError(f"the layer has more than {ENTRIES} entries")
            self._place(archive, member)
        for member in reversed(self._directories):
            self._finish_directory(member)
        return Unpacked(self._entries, self._size)

    def _place(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = _inside(member.name)
        if not path:
            return
        holder, name = self._tree.parent(path)
        if name == _OPAQUE:
            self._tree.make_opaque(holder)
        elif name.startswith(_WHITEOUT):
            self._whiteout(holder, name.removeprefix(_WHITEOUT))
        elif member.isdir():
            self._directory(holder, name, member)
        elif member.isreg():
            self._file(holder, name, member, archive)
        elif member.issym():
            self._tree.clear(holder, name)
            os.symlink(member.linkname, name, dir_fd=holder)
            self._tree.own(holder, name, member)
            _touch(holder, name, member)
        elif member.islnk():
            self._link(path, member)
        elif member.isfifo():
            self._tree.clear(holder, name)
            os.mkfifo(name, member.mode & 0o777, dir_fd=holder)
        # devices are left out: no environment may have any but its own

    def _whiteout(self, holder: int, name: str) -> None:
        if name in ("", ".", ".."):
            raise LayerError("a whiteout names nothing")
        self._tree.clear(holder, name)
        os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=holder)

    def _directory(self, holder: int, name: str, member: tarfile.TarInfo) -> None:
        try:
            os.mkdir(name, 0o755, dir_fd=holder)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=holder, follow_symlinks=False).st_mode):
                self._tree.clear(holder, name)
                os.mkdir(name, 0o755, dir_fd=holder)
        self._tree.own(holder, name, member)
        self._directories.append(member)

    def _finish_directory(self, member: tarfile.TarInfo) -> None:
        holder, name = self._tree.parent(_inside(member.name))
        with suppress(FileNotFoundError, NotADirectoryError):  # a later entry has taken its place
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=holder)
            try:
                os.fchmod(fd, member.mode & 0o1777 | 0o700)
                os.utime(fd, (member.mtime, member.mtime))
            finally:
                os.close(fd)

    def _file(self, holder: int, name: str, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        self._size += member.size
        if self._size > self._limit:
            raise LayerError(f"the layer unpacks to more than {self._limit} bytes")
        self._tree.clear(holder, name)
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=holder)
        with open(fd, "wb", buffering=0) as file:
            source = archive.extractfile(member)
            while source is not None and (piece := source.read(_PIECE)):
                file.write(piece)
            self._tree.own(holder, name, member)
            for key, value in member.pax_headers.items():
                if key.startswith("SCHILY.xattr.user.") and not key.startswith("SCHILY.xattr.user.overlay."):
                    with suppress(OSError):  # not every file system keeps them
                        os.setxattr(fd, key.removeprefix("SCHILY.xattr."), value.encode("utf-8", "surrogateescape"))
            os.fchmod(fd, member.mode & 0o777)  # no set-id bits: they would have no effect
            os.utime(fd, (member.mtime, member.mtime))

    def _link(self, path: str, member: tarfile.TarInfo) -> None:
        """A second name for a file of this layer."""
        source = _inside(member.linkname)
        source_holder, source_name = self._tree.parent(source)
        source_holder = os.dup(source_holder)
        try:
            if not stat.S_ISREG(os.stat(source_name, dir_fd=source_holder, follow_symlinks=False).st_mode):
                raise LayerError(f"the link {member.name!r} does not lead to a file")
            holder, name = self._tree.parent(path)
            if path != source:
                self._tree.clear(holder, name)
                os.link(source_name, name, src_dir_fd=source_holder, dst_dir_fd=holder, follow_symlinks=False)
        except FileNotFoundError:
            raise LayerError(
                f"the link {member.name!r} leads to {member.linkname!r}, which is not in the layer"
            ) from None
        finally:
            os.close(source_holder)


def _inside(name: str) -> str:
    """A member's name as a path below the root: without a leading slash, `.` and empty parts."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise LayerError(f"the name {name!r} leads out of the layer")
    if "\0" in name or any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts):
        raise LayerError("a name is too long or holds a zero byte")
    return "/".join(parts)


def _touch(holder: int, name: str, member: tarfile.TarInfo) -> None:
    os.utime(name, (member.mtime, member.mtime), dir_fd=holder, follow_symlinks=False)


def apply(archive: Path, target: Path, diff_id: str, size: int) -> Unpacked:
    """What `unpack` does, in this process."""
    target.mkdir(mode=0o755)
    os.umask(0)
    tree = Tree(target)
    try:
        with decompression.opened(archive, size + ENTRIES * _HEADERS) as source:
            with tarfile.open(fileobj=source, mode="r|", bufsize=_PIECE, errorlevel=2) as tar:
                found = Layer(tree, size).unpack(tar)
            while source.read(_PIECE):  # what follows the end of the archive belongs to its digest too
                pass
    except (Damaged, tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise LayerError(f"the layer is damaged: {error}") from None
    except MemoryError:
        raise LayerError("the layer's headers are too large") from None
    except OSError as error:
        if error.errno in _ITS_OWN_FAULT:
            raise LayerError(f"the layer contradicts itself: {error.strerror}: {error.filename}") from None
        raise
    finally:
        tree.close()
    if diff_id != f"sha256:{source.digest}":
        raise LayerError(f"the layer's content has the digest sha256:{source.digest}, not {diff_id}")
    return found


def main(arguments: list[str], say: Callable[[str], None]) -> int:
    archive, target, diff_id, size = arguments
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    try:
        found = apply(Path(archive), Path(target), diff_id, int(size))
    except LayerError as error:
        sys.stderr.write(f"{error}\n")
        return _REFUSED
    say(json.dumps({"entries": found.entries, "size": found.size}))
    return 0
