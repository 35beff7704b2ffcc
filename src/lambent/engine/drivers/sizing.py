"""How many sandboxes of a runtime should wait ready, from how many were taken recently."""

from __future__ import annotations

from collections import deque

RECENT = 60  # seconds that demand is remembered
MOST = 32  # that wait, whatever was taken: each costs memory and a burst beyond them is made as it comes
MEMORY_EACH = 64 << 20  # bytes that must be free on the machine for each


class Recent:
    """What was taken in each of the last `RECENT` seconds."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque()  # (second, taken in it), oldest first

    def note(self, now: float) -> None:
        """One was taken at monotonic second `now`."""
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1] = (second, self._seconds[-1][1] + 1)
        else:
            self._seconds.append((second, 1))
        self._forget(second)

    def peak(self, now: float) -> int:
        """The most that were taken within one second."""
        self._forget(int(now))
        return max((taken for _second, taken in self._seconds), default=0)

    def _forget(self, second: int) -> None:
        while self._seconds and self._seconds[0][0] <= second - RECENT:
            self._seconds.popleft()


def target(least: int, peak: int, available: int) -> int:
    """How many should wait: as many as one busy second took, at least `least`, and as memory allows.

    `available` is the machine's free memory in bytes. With `least` 0 none ever waits.
    """
    if not least:
        return 0
    return max(least, min(peak, MOST, available // MEMORY_EACH))
