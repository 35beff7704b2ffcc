"""Which idle execution environments end when the machine runs short of memory: a pure decision over readings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lambent.base.memory import Reading

RESERVE = 0.05  # of the machine's memory: below this, idle environments end
RESERVE_LEAST = 256 << 20  # bytes
ENOUGH = 1.5  # reserves: what is freed until, so that the next moment does not begin it again
STALLED = 10.0  # percent of the time that something waited for memory: too much, whatever is free
STALLED_SHARE = 0.25  # of the idle environments that end then


@dataclass(frozen=True, slots=True)
class Candidate:
    """An idle environment."""

    id: str
    function: str  # identity of its function version
    memory: int  # bytes it is thought to give back


def pressed(reading: Reading) -> bool:
    """Whether idle environments should end at all."""
    return reading.available < _reserve(reading) or reading.stalled > STALLED


def _reserve(reading: Reading) -> int:
    return max(RESERVE_LEAST, int(reading.total * RESERVE))


def victims(candidates: Sequence[Candidate], reading: Reading) -> list[str]:
    """The ids of those that end, of `candidates` in the order of their last use, longest idle first.

    A function's last idle environment is kept as long as others have several: the next cold start is its callers' to
    wait for.
    """
    reserve = _reserve(reading)
    wanted = int(reserve * ENOUGH) - reading.available if reading.available < reserve else 0
    count = max(1, int(len(candidates) * STALLED_SHARE)) if reading.stalled > STALLED and candidates else 0
    ended: list[str] = []
    for candidate in _order(candidates):
        if wanted <= 0 and len(ended) >= count:
            break
        ended.append(candidate.id)
        wanted -= candidate.memory
    return ended


def _order(candidates: Sequence[Candidate]) -> list[Candidate]:
    remaining = Counter(candidate.function for candidate in candidates)
    several: list[Candidate] = []
    last: list[Candidate] = []
    for candidate in candidates:
        remaining[candidate.function] -= 1
        (several if remaining[candidate.function] else last).append(candidate)
    return several + last
