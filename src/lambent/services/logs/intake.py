"""Which events of one PutLogEvents are taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from lambent.services.logs import errors

_MOST_BYTES = 1_048_576  # of one request: the messages in UTF-8 and 26 bytes each
_OVERHEAD = 26
_DAY = 86_400_000  # milliseconds
_OLDEST = 14 * _DAY
_NEWEST = 2 * 3_600_000

Taken = Sequence[Mapping[str, Any]]


def accept(events: Taken, now: int, horizon: int) -> tuple[Taken, dict[str, int]]:
    """(what is taken, `rejectedLogEventsInfo`). InvalidParameterException when the batch as a whole is refused.

    `horizon` is before what the group's retention keeps, both in milliseconds since the epoch.
    """
    size = 0
    for event in events:
        if not event["message"]:
            raise errors.invalid("Log event message must not be empty.")
        size += len(event["message"].encode("utf-8", "replace")) + _OVERHEAD
    if size > _MOST_BYTES:
        raise errors.invalid(f"Upload too large: {size} bytes exceeds limit of {_MOST_BYTES}")
    stamps = [event["timestamp"] for event in events]
    if any(later < earlier for earlier, later in pairwise(stamps)):
        raise errors.invalid("Log events in a single PutLogEvents request must be in chronological order.")
    if stamps[-1] - stamps[0] > _DAY:
        raise errors.invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
    too_old = sum(stamp < now - _OLDEST for stamp in stamps)
    expired = sum(stamp < horizon for stamp in stamps)
    too_new = sum(stamp > now + _NEWEST for stamp in stamps)
    rejected = {}
    if too_old:
        rejected["tooOldLogEventEndIndex"] = too_old
    if expired > too_old:
        rejected["expiredLogEventEndIndex"] = expired
    if too_new:
        rejected["tooNewLogEventStartIndex"] = len(events) - too_new
    return events[max(too_old, expired) : len(events) - too_new], rejected
