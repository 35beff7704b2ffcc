"""When events are tried and how they end, whatever their tries come to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.sources.schedule import Condition, End, History, Result, Retry, Rules, after, expired

rules = st.builds(Rules, st.integers(0, 2), st.integers(60, 21_600).map(float))
results = st.sampled_from([Result.FAILED, Result.REFUSED])
T = 1_795_237_473.0


def test_a_function_error_is_tried_again_after_one_minute_and_then_two():
    first = after(History(T), Result.FAILED, Rules(), T + 1)
    assert first == Retry(T + 61, History(T, 1))
    second = after(first.history, Result.FAILED, Rules(), T + 62)
    assert second == Retry(T + 182, History(T, 2))
    assert after(second.history, Result.FAILED, Rules(), T + 183) == End(Condition.RETRIES_EXHAUSTED, 3)


def test_a_refusal_backs_off_from_a_second_to_five_minutes():
    history, now, pauses = History(T), T, []
    for _ in range(12):
        step = after(history, Result.REFUSED, Rules(), now)
        assert isinstance(step, Retry)
        pauses.append(step.due - now)
        history, now = step.history, step.due
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_no_retry_is_waited_for_that_would_come_too_late():
    assert after(History(T), Result.FAILED, Rules(2, 60), T + 1) == End(Condition.EVENT_AGE_EXCEEDED, 1)


@pytest.mark.parametrize(
    ("result", "end"),
    [
        (Result.RETURNED, End(Condition.SUCCESS, 2)),
        (Result.FORBIDDEN, End(Condition.ZERO_RESERVED_CONCURRENCY, 1)),
    ],
)
def test_what_ends_an_event_at_once(result, end):
    assert after(History(T, 1, 4), result, Rules(), T + 100) == end


@given(rules, st.lists(results, min_size=1, max_size=300), st.lists(st.floats(0, 900), min_size=300, max_size=300))
def test_every_event_ends_within_its_age_and_its_retries(rules, results, durations):
    history, now = History(T), T
    for result, duration in zip(results, durations, strict=False):
        assert not expired(history, rules, now)  # what is due may still be tried
        now += duration
        step = after(history, result, rules, now)
        if isinstance(step, End):
            assert step.runs == history.errors + (result is Result.FAILED)
            assert step.runs <= rules.retries + 1
            if step.condition is Condition.RETRIES_EXHAUSTED:
                assert step.runs == rules.retries + 1
            return
        assert now < step.due <= T + rules.age
        assert step.history.accepted == T
        assert step.history.errors <= rules.retries
        history, now = step.history, step.due


@given(rules)
def test_a_function_that_never_gets_a_place_is_given_up(rules):
    history, now = History(T), T
    for _ in range(200):
        step = after(history, Result.REFUSED, rules, now)
        if isinstance(step, End):
            break
        history, now = step.history, step.due
    assert step == End(Condition.EVENT_AGE_EXCEEDED, 0)
    assert now == T + rules.age
