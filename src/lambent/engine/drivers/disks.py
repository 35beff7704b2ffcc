"""Size-limited, disk-backed `/tmp` directories: an ext4 image behind a loop device, handed out as a detached mount.

A tmpfs would charge what a function writes to its memory limit. The image is unlinked as soon as it is attached and
the loop device clears itself, so nothing is left behind however the server ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from pathlib import Path

from lambent.engine.guest import syscalls as sc
from lambent.engine.sandbox import SandboxError

MIB = 1 << 20
DEFAULT_SIZE = 512  # MiB, AWS's default ephemeral storage

_LOOP_CONTROL = "/dev/loop-control"
_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LO_FLAGS_AUTOCLEAR = 4
_OPTIONS = {"nodiscard": None, "noinit_itable": None}  # no thread of the kernel that writes tables nobody uses


def available() -> str | None:
    """Why this machine cannot do it; None when it can."""
    if os.geteuid() != 0:
        return "loop devices need root"
    if not os.access(_LOOP_CONTROL, os.R_OK | os.W_OK):
        return f"{_LOOP_CONTROL} is missing"
    if not _mkfs():
        return "mkfs.ext4 is missing (apt-get install e2fsprogs)"
    return None


def wanted(tmp: str) -> str:
    """Why there are to be none, "" where there are: `tmp` is "disk", "memory", or "auto" for disks where they can be.

    SandboxError where they are asked for and cannot be had.
    """
    if tmp == "memory":
        return "it was asked for"
    why = available() or ""
    if why and tmp == "disk":
        raise SandboxError(f"a disk-backed /tmp cannot be had: {why}. Use --tmp auto")
    return why


def _mkfs() -> str | None:
    return shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:/usr/bin:/bin")


class Disks:
    """Makes disks of any size from one sparse template per size. Methods block: call them in a thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def start(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(mode=0o700)

    def create(self, size: int) -> int:
        """A detached mount of a fresh filesystem that holds `size` MiB, as a descriptor for `move_mount`."""
        template = self._template(size)
        image = self._directory / f"disk-{os.getpid()}-{os.urandom(6).hex()}"
        fd = os.open(image, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            image.unlink()
            _copy_sparse(template, fd)
            return _mount(fd)
        finally:
            os.close(fd)

    def _template(self, size: int) -> Path:
        path = self._directory / f"template-{size}"
        if path.exists():
            return path
        aside = path.with_suffix(f".{os.urandom(6).hex()}")
        total = size * MIB + size * MIB // 32 + 8 * MIB  # room for the filesystem's own tables
        with open(aside, "wb") as file:
            file.truncate(total)
        command = [str(_mkfs()), "-q", "-F", "-m", "0", "-O", "^has_journal,^resize_inode", "-E"]
        options = "lazy_itable_init=1,nodiscard,root_owner=0:0"
        subprocess.run([*command, options, str(aside)], check=True, capture_output=True)
        _open_to_everybody(aside)
        aside.rename(path)
        return path


def _open_to_everybody(image: Path) -> None:
    """Make the root of the filesystem an empty `/tmp`, once for all that are copied from it."""
    fd = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    try:
        mount = _mount(fd)
        try:
            os.rmdir("lost+found", dir_fd=mount)
            os.chmod(f"/proc/self/fd/{mount}", 0o1777)  # noqa: S103  as /tmp is anywhere
        finally:
            os.close(mount)
    finally:
        os.close(fd)


def _copy_sparse(template: Path, target: int) -> None:
    with open(template, "rb") as source:
        size = os.fstat(source.fileno()).st_size
        os.truncate(target, size)
        offset = 0
        while offset < size:
            try:
                start = os.lseek(source.fileno(), offset, os.SEEK_DATA)
            except OSError:  # no data after here
                return
            offset = os.lseek(source.fileno(), start, os.SEEK_HOLE)
            while start < offset:
                start += os.pwrite(target, os.pread(source.fileno(), min(MIB, offset - start), start), start)


def _mount(image: int) -> int:
    control = os.open(_LOOP_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        while True:
            number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
            device = os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC)
            try:
                if _attach(device, image):
                    return sc.detached_mount("ext4", {"source": f"/dev/loop{number}", **_OPTIONS})
            finally:
                os.close(device)
    finally:
        os.close(control)


def _attach(device: int, image: int) -> bool:
    """Bind the image to the loop device; False when somebody else took the device first."""
    info = bytearray(232)  # struct loop_info64: lo_flags lies at byte 52
    struct.pack_into("=I", info, 52, _LO_FLAGS_AUTOCLEAR)
    config = struct.pack("=II", image, 4096) + bytes(info) + bytes(64)
    try:
        fcntl.ioctl(device, _LOOP_CONFIGURE, config)
    except OSError as error:
        if error.errno == 16:  # EBUSY
            return False
        raise
    return True
