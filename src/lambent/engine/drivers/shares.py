"""Directories of this machine that stand for file systems: writable in the sandboxes of the functions that name them.

Each sandbox has a user of its own. Where the file system can do it, its mount is idmapped: what the function makes
belongs on disk to the directory's owner, and what the owner has looks like the function's. So functions share files.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from lambent.engine.guest import syscalls as sc
from lambent.engine.sandbox import MountError

_NOBODY = 65534


class Shares:
    """Detached mounts of the configured directories; each is for one sandbox."""

    def __init__(self, directories: Mapping[str, Path], *, through_root: bool = False) -> None:
        """`directories` by the ARNs of the access points that they stand for.

        `through_root`: what a function makes is made by root and then given to the function (gVisor's way).
        """
        self._directories = directories
        self._through_root = through_root

    def mount(self, arn: str, uid: int) -> int:
        """The directory as a descriptor for `move_mount`, for the user `uid` (and its group). Blocks for some ms.

        Raises MountError when there is no such directory, or no longer.
        """
        directory = self._directories.get(arn)
        if directory is None:
            raise MountError(f"{arn} is no longer among the file_systems of this server's settings")
        try:
            owner = directory.stat()
            fd = sc.open_tree(str(directory))
        except OSError as error:
            raise MountError(f"the directory {directory} of {arn} cannot be mounted: {error.strerror}") from error
        try:
            sc.set_attributes(fd, sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV)
            _map_owner(fd, owner, uid, self._through_root)
        except BaseException:
            os.close(fd)
            raise
        return fd


def _map_owner(fd: int, owner: os.stat_result, uid: int, through_root: bool) -> None:
    """Have the owner's files be those of `uid`, unless the file system cannot; then permissions decide alone."""
    namespace = _user_namespace(*(_map(number, uid, through_root) for number in (owner.st_uid, owner.st_gid)))
    try:
        sc.set_attributes(fd, sc.MOUNT_ATTR_IDMAP, namespace)
    except OSError:
        return
    finally:
        os.close(namespace)


def _map(owner: int, uid: int, through_root: bool) -> str:
    """Who is not in the map can make nothing: root is, as itself, or as nobody where it is the owner."""
    return f"{owner} {uid} 1" + (f"\n{0 if owner else _NOBODY} 0 1" if through_root else "")


def _user_namespace(uid_map: str, gid_map: str) -> int:
    """A descriptor of a new user namespace with these maps. It lives as long as the descriptor or a mount of it."""
    with subprocess.Popen(
        ["unshare", "--user", "sh", "-c", "echo; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": os.defpath},
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()  # it is in its namespace
        process = Path(f"/proc/{holder.pid}")
        (process / "uid_map").write_text(uid_map)
        (process / "gid_map").write_text(gid_map)
        fd = os.open(process / "ns/user", os.O_RDONLY | os.O_CLOEXEC)
        assert holder.stdin is not None
        holder.stdin.close()
    return fd
