"""What one process prints: read from its pipe as it comes, handed on as log messages."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from lambent.engine.logs import LineAssembler

_READ = 65_536  # bytes at once; a process that never stops printing gets one read per turn of the loop
_ROUNDS = 64  # reads of one `drain`


class Output:
    """The read end of a pipe. Messages reach `take` on the loop."""

    def __init__(self, fd: int, take: Callable[[str], None]) -> None:
        """`fd` is non-blocking and stays the caller's to close, after `close`."""
        self._fd = fd
        self._take = take
        self._lines = LineAssembler()
        self._reading = False
        self._closed = False

    def open(self) -> None:
        self._closed = False
        if not self._reading:
            self._reading = True
            asyncio.get_running_loop().add_reader(self._fd, self._read)

    def close(self) -> None:
        self._closed = True  # the descriptor may be another's soon
        self._stop()

    def _stop(self) -> None:
        if self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._fd)

    def drain(self) -> None:
        """Take what has been printed so far, the start of a line included."""
        if self._closed:
            return
        for _round in range(_ROUNDS):
            if self._read() < _READ:
                break
        if (rest := self._lines.flush()) is not None:
            self._take(rest)

    def _read(self) -> int:
        """How many bytes there were."""
        try:
            data = os.read(self._fd, _READ)
        except OSError:  # nothing there, or closed already
            return 0
        if not data:
            self._stop()  # every writer is gone
            return 0
        for message in self._lines.feed(data):
            self._take(message)
        return len(data)
