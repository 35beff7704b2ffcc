"""Timestamps in the formats that AWS's protocols use."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

ISO8601, RFC822, UNIX = "iso8601", "rfc822", "unixTimestamp"
_NUMBER = re.compile(r"-?\d{1,15}(\.\d+)?([eE][+-]?\d{1,2})?")


def parse_timestamp(value: object) -> datetime:
    """An aware datetime from a number, or from text in any of the formats. ValueError for anything else."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            text = value.strip()
            if _NUMBER.fullmatch(text):
                return datetime.fromtimestamp(float(text), UTC)
            if text[:1].isalpha():
                return parsedate_to_datetime(text).astimezone(UTC)
            found = datetime.fromisoformat(text)
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (OverflowError, OSError, TypeError) as error:
        raise ValueError(f"not a timestamp: {value!r}") from error
    raise ValueError(f"not a timestamp: {value!r}")


def format_timestamp(value: datetime, form: str) -> str | int | float:
    """`value` as text, or as a number of seconds for the Unix form."""
    moment = value.astimezone(UTC)
    if form == RFC822:
        return format_datetime(moment, usegmt=True)
    if form == ISO8601:
        return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")
    seconds = moment.timestamp()
    return int(seconds) if seconds.is_integer() else round(seconds, 3)
