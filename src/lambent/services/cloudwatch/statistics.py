"""What can be asked of the values of one period: `Sum`, `p99`, `tm90`, `TM(10%:90%)`, `PR(:300)` and their like.

Source: "CloudWatch statistics definitions" of AWS's guide.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from lambent.base.sketch import Sketch
from lambent.services.cloudwatch import errors

Statistic = Callable[[Sketch], float]

_PLAIN: dict[str, Statistic] = {
    "SampleCount": lambda values: values.count,
    "Sum": lambda values: values.sum,
    "Average": lambda values: values.sum / values.count,
    "Minimum": lambda values: values.least,
    "Maximum": lambda values: values.most,
}
_SHORT = re.compile(r"(p|tm|wm|tc|ts)(\d{1,3}(?:\.\d{1,10})?)")
_RANGE = re.compile(r"(TM|WM|TC|TS)\((?:(\d{1,3}(?:\.\d+)?)%)?:(?:(\d{1,3}(?:\.\d+)?)%)?\)")
_VALUES = re.compile(r"(PR|TM|WM|TC|TS)\((-?\d+(?:\.\d+)?)?:(-?\d+(?:\.\d+)?)?\)")


def parse(text: str) -> Statistic:
    """A function of the values of a period, at least one. InvalidParameterValueException."""
    if plain := _PLAIN.get(text):
        return plain
    if text == "IQM":
        return _between("TM", 25, 75)
    if (short := _SHORT.fullmatch(text)) and float(short[2]) <= 100:
        high = float(short[2])
        return (lambda values: percentile(values, high)) if short[1] == "p" else _between(short[1].upper(), 0, high)
    if found := _RANGE.fullmatch(text):
        low, high = float(found[2] or 0), float(found[3] or 100)
        if low < high <= 100:
            return _between(found[1], low, high)
    if found := _VALUES.fullmatch(text):
        least, most = float(found[2] or -math.inf), float(found[3] or math.inf)
        if (found[2] or found[3]) and least < most:
            return _within(found[1], least, most)
    raise errors.invalid(f"The value {text} for parameter Statistic is not supported.")


def percentile(values: Sketch, percent: float) -> float:
    wanted, seen = values.count * percent / 100, 0.0
    if percent == 0:
        return values.least
    for value, times in values.steps():
        seen += times
        if seen >= wanted * (1 - 1e-12):
            return value
    return values.most


def _between(kind: str, low: float, high: float) -> Statistic:
    """Of the values between two percentiles."""

    def statistic(values: Sketch) -> float:
        start, end = values.count * low / 100, values.count * high / 100
        count = total = seen = 0.0
        floor, ceiling = percentile(values, low), percentile(values, high)
        for value, times in values.steps():
            inside = max(0.0, min(end, seen + times) - max(start, seen))
            count, total, seen = count + inside, total + inside * value, seen + times
        if kind == "TC":
            return count
        if kind == "TS":
            return total
        if kind == "WM":  # what lies outside counts as the value at the border
            return (total + start * floor + (values.count - end) * ceiling) / values.count
        return total / count if count else ceiling

    return statistic


def _within(kind: str, least: float, most: float) -> Statistic:
    """Of the values above `least`, at most `most`."""

    def statistic(values: Sketch) -> float:
        inside = [(value, times) for value, times in values.steps() if least < value <= most]
        count, total = sum(times for _value, times in inside), sum(value * times for value, times in inside)
        if kind == "PR":
            return 100 * count / values.count
        if kind == "TC":
            return count
        if kind == "TS":
            return total
        if kind == "WM":
            return sum(min(max(value, least), most) * times for value, times in values.steps()) / values.count
        return total / count if count else 0.0

    return statistic
