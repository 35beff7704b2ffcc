"""What one process prints: read from its pipe as it comes, handed on as log messages.

A process that prints now and then is read whenever something is there. One that prints much is read at a pace: being
woken for each of its lines would cost the server more than the lines do.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

from lambent.engine.logs import LineAssembler

_READ = 65_536  # bytes at once: what a pipe holds, and what others can wait for
_ROUNDS = 64  # reads of one `drain`
_BUSY = 0.005  # seconds between two reads that make a process one that prints much
_PACE = (0.001, 0.005, 0.02)  # seconds between its reads from then on: least, at first, most
_WANTED = 32_768  # bytes that a read should find: half a pipe, so that the process need not wait


class Output:
    """The read end of a pipe. Messages reach `take` on the loop."""

    def __init__(self, fd: int, take: Callable[[Sequence[str]], None]) -> None:
        """`fd` is non-blocking and stays the caller's to close, after `close`."""
        self._fd = fd
        self._take = take
        self._lines = LineAssembler()
        self._reading = False
        self._closed = False
        self._last = float("-inf")  # when the loop has last seen something
        self._timer: asyncio.TimerHandle | None = None
        self._pace = 0.0  # seconds between the last two reads

    def open(self) -> None:
        self._closed = False
        if self._timer is None:
            self._watch()

    def close(self) -> None:
        self._closed = True  # the descriptor may be another's soon
        self._stop()

    def _watch(self) -> None:
        if not self._reading:
            self._reading = True
            asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def _unwatch(self) -> None:
        if self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._fd)

    def _stop(self) -> None:
        self._unwatch()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def drain(self) -> None:
        """Take what has been printed so far, the start of a line included."""
        if self._closed:
            return
        for _round in range(_ROUNDS):
            if self._read() < _READ:
                break
        if (rest := self._lines.flush()) is not None:
            self._take((rest,))

    def _readable(self) -> None:
        size = self._read()
        now = asyncio.get_running_loop().time()
        if self._reading and size and now - self._last < _BUSY:
            self._unwatch()
            self._pace = _PACE[1]
            self._timer = asyncio.get_running_loop().call_later(self._pace, self._due)
        self._last = now

    def _again(self, size: int) -> None:
        """Read on in a moment, having just read `size` bytes; what was there says when."""
        least, _first, most = _PACE
        self._pace = min(most, max(least, self._pace * _WANTED / size))
        self._timer = asyncio.get_running_loop().call_later(self._pace, self._due)

    def _due(self) -> None:
        self._timer = None
        ended, size = self._read_or_end()
        if self._closed or ended:
            return
        if size:
            self._again(size)
        else:
            self._watch()

    def _read(self) -> int:
        """How many bytes there were."""
        return self._read_or_end()[1]

    def _read_or_end(self) -> tuple[bool, int]:
        """Whether every writer is gone, and how many bytes there were."""
        try:
            data = os.read(self._fd, _READ)
        except OSError:  # nothing there, or closed already
            return False, 0
        if not data:
            self._stop()
            return True, 0
        if messages := self._lines.feed(data):
            self._take(messages)
        return False, len(data)
