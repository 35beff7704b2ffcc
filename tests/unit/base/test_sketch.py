"""The mergeable summary of values, against the values themselves."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.base.sketch import Sketch

VALUES = st.lists(st.floats(-1e100, 1e100, allow_nan=False), min_size=1, max_size=200)


def near(found: float, value: float) -> bool:
    return math.isclose(found, value, rel_tol=0.011, abs_tol=1e-300)


@settings(deadline=None)
@given(VALUES)
def test_every_step_is_within_a_hundredth_of_the_value_that_stands_there(values: list[float]) -> None:
    sketch = Sketch.of((value, 1) for value in values)
    steps = [value for value, times in sketch.steps() for _ in range(int(times))]
    assert len(steps) == len(values)
    assert all(near(step, value) for step, value in zip(steps, sorted(values), strict=True))
    assert (sketch.count, sketch.least, sketch.most) == (len(values), min(values), max(values))


@settings(deadline=None)
@given(VALUES, VALUES)
def test_merged_is_as_if_all_had_been_added_to_one(some: list[float], others: list[float]) -> None:
    merged, whole = Sketch.of((value, 1) for value in some), Sketch.of((value, 1) for value in some + others)
    merged.merge(Sketch.of((value, 1) for value in others))
    assert (merged.buckets, merged.count, merged.least, merged.most) == (
        whole.buckets,
        whole.count,
        whole.least,
        whole.most,
    )


@settings(deadline=None)
@given(VALUES)
def test_what_is_written_is_read_again(values: list[float]) -> None:
    sketch = Sketch.of((value, 1) for value in values)
    again = Sketch.decode(sketch.count, sketch.sum, sketch.least, sketch.most, sketch.encode())
    assert again.buckets == sketch.buckets
    assert list(again.steps()) == list(sketch.steps())


def test_counts_below_limits_only_grow() -> None:
    sketch, before = Sketch(), [0.0] * 3
    for value in (0.5, 99.9, 100.4, 7.0, 1e9, 99.0):
        sketch.add(value)
        now = sketch.at_most([1, 100, 1e6])
        assert all(new >= old for new, old in zip(now, before, strict=True))
        before = now
    assert before[0] == 1
    assert before[2] == 5


@pytest.mark.parametrize(("count", "total", "least", "most"), [(1, 5, 5, 5), (2, 6, 1, 5), (10, 30, 1, 9)])
def test_a_summary_has_the_numbers_that_were_given(count: float, total: float, least: float, most: float) -> None:
    sketch = Sketch.summary(count, total, least, most)
    assert sum(sketch.buckets.values()) == count
    assert near(sum(value * times for value, times in sketch.steps()), total)
