"""Stretches of time that values are asked of, and the values of each.

Source: "GetMetricData" of the API reference, on how StartTime and Period are rounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from lambent.base.sketch import Sketch
from lambent.services.cloudwatch import errors

_DAY = 86_400
_SHORT = (1, 5, 10, 20, 30)


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds since the epoch; `end` is not part of it."""

    start: int
    end: int
    period: int

    @property
    def count(self) -> int:
        return max(0, -(-(self.end - self.start) // self.period))

    @property
    def times(self) -> range:
        """The beginnings of all periods."""
        return range(self.start, self.end, self.period)

    def sort(self, points: Iterable[tuple[int, Sketch]]) -> dict[int, Sketch]:
        """The values of each period that has any."""
        found: dict[int, Sketch] = {}
        for at, values in points:
            begin = at - (at - self.start) % self.period
            if begin in found:
                found[begin].merge(values)
            else:
                found[begin] = values
        return found


def span(start: datetime, end: datetime, period: int, now: float) -> Span:
    """InvalidParameterValueException."""
    first, last = start.timestamp(), end.timestamp()
    if first >= last:
        raise errors.invalid("The parameter StartTime must be less than the parameter EndTime.")
    if period < 1 or (period not in _SHORT and period % 60):
        raise errors.invalid(f"The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60, not {period}.")
    age = now - first
    grain = period if period in _SHORT else 60 if age < 15 * _DAY else 300 if age < 63 * _DAY else 3600
    return Span(int(first // grain * grain), int(-(-last // 1)), period)


def moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
