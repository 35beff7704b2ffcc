"""One server for each data directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class DirectoryInUse(Exception):
    """Another server holds the data directory. The message names the directory and the process."""


class DirectoryLock:
    """Held from construction to `release`; the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        """Raises DirectoryInUse. The file `lock` stays behind: only the kernel's lock on it counts."""
        self._fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise DirectoryInUse(
                f"the data directory {directory} is in use by another Lambent server"
                f" (process {holder or 'unknown'}). Stop it, or choose another with --data-dir"
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go. Twice does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
