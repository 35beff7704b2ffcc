"""A summary of many values that can be merged with others: count, sum, extremes, and how the values are spread.

Values lie in buckets that grow by 2%, so a percentile is within 1% of the value that stands there (the idea of
DDSketch, Masson et al., VLDB 2019). A sketch takes a few bytes for each bucket that holds anything, however many values
it has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise

_GROWTH = 1.02
_LOG = math.log(_GROWTH)
_MIDDLE = 2 / (1 + 1 / _GROWTH)  # times a bucket's lower end: within 1% of everything in it
_OFFSET = (
    100_000  # no double has a logarithm as small as this: positive values have positive keys, negative ones others
)


class Sketch:
    __slots__ = ("buckets", "count", "least", "most", "sum")

    def __init__(self) -> None:
        self.count: float = 0
        self.sum = 0.0
        self.least = math.inf
        self.most = -math.inf
        self.buckets: dict[int, float] = {}

    def add(self, value: float, times: float = 1) -> None:
        """`value` is finite, `times` positive."""
        self.count += times
        self.sum += value * times
        if value < self.least:
            self.least = value
        if value > self.most:
            self.most = value
        key = _key(value)
        self.buckets[key] = self.buckets.get(key, 0) + times

    def merge(self, other: Sketch) -> None:
        self.count += other.count
        self.sum += other.sum
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)
        for key, times in other.buckets.items():
            self.buckets[key] = self.buckets.get(key, 0) + times

    def steps(self) -> Iterator[tuple[float, float]]:
        """(value, how often), in ascending order; values within 1%, the extremes exact."""
        keys = sorted(self.buckets)
        for key in keys:
            yield min(max(_value(key), self.least), self.most), self.buckets[key]

    def at_most(self, limits: Iterable[float]) -> list[float]:
        """How many values are at most each of `limits`, which ascend. Never less than it was before more were added."""
        keys, at, seen, found = sorted(self.buckets), 0, 0.0, []
        for limit in limits:
            while at < len(keys) and _value(keys[at]) <= limit:
                seen += self.buckets[keys[at]]
                at += 1
            found.append(seen)
        return found

    def encode(self) -> bytes:
        """The buckets: pairs of (difference of the key to the one before, times), as variable-length numbers."""
        keys = sorted(self.buckets)
        if len(keys) == 1 and self.least == self.most:
            return b""
        out = bytearray()
        for before, key in pairwise([0, *keys]):
            _write(out, _zigzag(key - before))
            _write(out, max(1, round(self.buckets[key])))
        return bytes(out)

    @classmethod
    def decode(cls, count: float, total: float, least: float, most: float, data: bytes) -> Sketch:
        """What `encode` made, beside the numbers that are kept in the clear."""
        sketch = cls()
        sketch.count, sketch.sum, sketch.least, sketch.most = count, total, least, most
        if not data:
            sketch.buckets[_key(least)] = count
            return sketch
        numbers, key = _numbers(data), 0
        for difference, times in zip(numbers, numbers, strict=False):
            key += difference >> 1 if not difference & 1 else -((difference + 1) >> 1)
            sketch.buckets[key] = times
        return sketch

    @classmethod
    def of(cls, values: Iterable[tuple[float, float]]) -> Sketch:
        """From (value, how often); pairs that occur zero times are left out."""
        sketch = cls()
        for value, times in values:
            if times:
                sketch.add(value, times)
        return sketch

    @classmethod
    def summary(cls, count: float, total: float, least: float, most: float) -> Sketch:
        """Of values that are not known one by one: all but the extremes stand at what is left of the mean."""
        sketch = cls()
        if count <= 1 or least == most:
            sketch.buckets[_key(least)] = count
        else:
            sketch.buckets = {_key(least): 1.0}
            sketch.buckets[_key(most)] = sketch.buckets.get(_key(most), 0) + 1
            if count > 2:
                middle = _key(min(max((total - least - most) / (count - 2), least), most))
                sketch.buckets[middle] = sketch.buckets.get(middle, 0) + count - 2
        sketch.count, sketch.sum, sketch.least, sketch.most = count, total, least, most
        return sketch


def _key(value: float) -> int:
    if value > 0:
        return math.floor(math.log(value) / _LOG) + _OFFSET
    return 0 if value == 0 else -(math.floor(math.log(-value) / _LOG) + _OFFSET)


def _value(key: int) -> float:
    if key == 0:
        return 0.0
    power = (abs(key) - _OFFSET) * _LOG
    size = math.exp(min(power, 709.7)) * _MIDDLE
    return size if key > 0 else -size


def _zigzag(number: int) -> int:
    return number << 1 if number >= 0 else (-number << 1) - 1


def _write(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _numbers(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            yield number
            number = shift = 0
