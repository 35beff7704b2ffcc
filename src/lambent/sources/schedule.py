"""When an asynchronous event is tried, and what becomes of it after a try: pure, by Lambda's rules.

A function error is tried again after one minute and then two, as often as the event invoke config allows. Throttles and
errors of the system put the event back for 1, 2, 4 … 300 seconds until it is too old.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

_ERROR_SECONDS = 60.0  # before the first retry of a function error; twice that before the second
_BACK_OFF_LIMIT = 300.0  # seconds; reached at the ninth refusal in a row


@dataclass(frozen=True, slots=True)
class Rules:
    """Of the event invoke config that applies; by default Lambda's."""

    retries: int = 2
    age: float = 21_600.0  # seconds


@dataclass(frozen=True, slots=True)
class History:
    """How an event has fared."""

    accepted: float  # seconds since the epoch
    errors: int = 0  # runs of the function, which have all failed
    refusals: int = 0  # tries since then that did not get as far as the function


class Result(Enum):
    """What came of one try."""

    RETURNED = "the function returned"
    FAILED = "the function failed"
    REFUSED = "a throttle or an error of the system"
    FORBIDDEN = "the function's reserved concurrency is 0"


class Condition(Enum):
    """How an event ends, as destination records say it."""

    SUCCESS = "Success"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    EVENT_AGE_EXCEEDED = "EventAgeExceeded"
    ZERO_RESERVED_CONCURRENCY = "ZeroReservedConcurrency"


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again at `due`, seconds since the epoch."""

    due: float
    history: History


@dataclass(frozen=True, slots=True)
class End:
    """No more tries; `runs` is how often the function has run."""

    condition: Condition
    runs: int


def expired(history: History, rules: Rules, now: float) -> bool:
    """Whether the event has become too old to be tried."""
    return now > history.accepted + rules.age


def after(history: History, result: Result, rules: Rules, now: float) -> Retry | End:
    """What follows a try that has just come to `result`."""
    if result is Result.RETURNED:
        return End(Condition.SUCCESS, history.errors + 1)
    if result is Result.FORBIDDEN:
        return End(Condition.ZERO_RESERVED_CONCURRENCY, history.errors)
    if result is Result.FAILED:
        return _after_error(History(history.accepted, history.errors + 1), rules, now)
    return _after_refusal(replace(history, refusals=history.refusals + 1), rules, now)


def _after_error(history: History, rules: Rules, now: float) -> Retry | End:
    if history.errors > rules.retries:
        return End(Condition.RETRIES_EXHAUSTED, history.errors)
    due = now + _ERROR_SECONDS * 2 ** (history.errors - 1)
    if expired(history, rules, due):
        return End(Condition.EVENT_AGE_EXCEEDED, history.errors)
    return Retry(due, history)


def _after_refusal(history: History, rules: Rules, now: float) -> Retry | End:
    expiry = history.accepted + rules.age
    if now >= expiry:
        return End(Condition.EVENT_AGE_EXCEEDED, history.errors)
    pause = min(_BACK_OFF_LIMIT, 2.0 ** min(history.refusals - 1, 9))
    return Retry(min(now + pause, expiry), history)
