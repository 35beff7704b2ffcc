"""Timestamps in the formats of AWS's protocols."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.wire.values import ISO8601, RFC822, UNIX, format_timestamp, parse_timestamp

MOMENT = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        1709209815,
        1709209815.0,
        "1709209815",
        " 1709209815.0 ",
        "1.709209815e9",
        "2024-02-29T12:30:15Z",
        "2024-02-29T12:30:15.000Z",
        "2024-02-29T13:30:15+01:00",
        "2024-02-29T12:30:15",
        "Thu, 29 Feb 2024 12:30:15 GMT",
        datetime(2024, 2, 29, 12, 30, 15),
        datetime(2024, 2, 29, 13, 30, 15, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_every_format_is_read(value: Any) -> None:
    found = parse_timestamp(value)
    assert found == MOMENT
    assert found.tzinfo is not None


@pytest.mark.parametrize(
    "value",
    [None, True, [], {}, "", "x", "2024-02-30T00:00:00Z", "nan", "inf", float("nan"), float("inf"), 1e300, -1e300,
     "99999999999999999999", 10**30, "9" * 15, "Thu, 99 Feb 2024 12:30:15 GMT", b"1709209815", "0001-01-01T00:00:00+14:00",
     "9999-12-31T23:59:59-14:00"],
)  # fmt: skip
def test_everything_else_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_timestamp(value)


@given(st.text() | st.floats() | st.integers())
def test_nothing_but_a_value_error_is_raised(value: Any) -> None:
    with contextlib.suppress(ValueError):
        assert parse_timestamp(value).tzinfo is not None


@pytest.mark.parametrize(
    ("form", "text"),
    [(ISO8601, "2024-02-29T12:30:15Z"), (RFC822, "Thu, 29 Feb 2024 12:30:15 GMT"), (UNIX, 1709209815)],
)
def test_formats(form: str, text: Any) -> None:
    assert format_timestamp(MOMENT, form) == text
    assert format_timestamp(MOMENT.astimezone(timezone(timedelta(hours=-5))), form) == text


def test_milliseconds_are_kept() -> None:
    moment = MOMENT + timedelta(milliseconds=250)
    assert format_timestamp(moment, ISO8601) == "2024-02-29T12:30:15.250Z"
    assert format_timestamp(moment, UNIX) == 1709209815.25


_MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC))


@given(_MOMENTS, st.sampled_from([ISO8601, UNIX]))
def test_what_is_written_is_read_back_to_the_millisecond(moment: datetime, form: str) -> None:
    assert abs(parse_timestamp(format_timestamp(moment, form)) - moment) < timedelta(milliseconds=1.01)


@given(_MOMENTS)
def test_http_dates_are_read_back_to_the_second(moment: datetime) -> None:
    assert parse_timestamp(format_timestamp(moment, RFC822)) == moment.replace(microsecond=0)
