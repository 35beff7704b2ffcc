from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.drivers.sizing import MEMORY_EACH, MOST, RECENT, Recent, target

PLENTY = 1000 * MEMORY_EACH


def test_the_setting_holds_while_little_is_taken() -> None:
    assert target(2, 0, PLENTY) == 2
    assert target(2, 1, PLENTY) == 2
    assert target(0, 50, PLENTY) == 0


def test_a_busy_second_is_prepared_for() -> None:
    assert target(2, 9, PLENTY) == 9
    assert target(2, 500, PLENTY) == MOST
    assert target(50, 500, PLENTY) == 50


def test_memory_bounds_what_waits_beyond_the_setting() -> None:
    assert target(2, 20, 5 * MEMORY_EACH) == 5
    assert target(2, 20, 0) == 2


def test_the_peak_of_the_last_minute_counts() -> None:
    recent = Recent()
    for moment in (10.0, 10.5, 10.9, 11.0):
        recent.note(moment)
    assert recent.peak(11.0) == 3
    assert recent.peak(10 + RECENT - 0.1) == 3
    assert recent.peak(10 + RECENT) == 1
    assert recent.peak(11 + RECENT) == 0


@given(st.lists(st.floats(0, 300, allow_nan=False), max_size=50).map(sorted))
def test_the_peak_is_that_of_a_plain_count(moments: list[float]) -> None:
    recent = Recent()
    for moment in moments:
        recent.note(moment)
    now = int(moments[-1]) if moments else 0
    seconds = [int(moment) for moment in moments if int(moment) > now - RECENT]
    assert recent.peak(now) == max((seconds.count(second) for second in seconds), default=0)
