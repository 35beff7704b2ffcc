"""Rules of EventBridge with a schedule: looked at once a minute, which is AWS's own resolution.

Source: EventBridge user guide, "Setting a schedule pattern". Times are UTC.
"""

from __future__ import annotations

import calendar
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

_log = logging.getLogger("lambent.embedded")

_RATE = re.compile(r"rate\((\d{1,9}) (minute|hour|day)s?\)")
_CRON = re.compile(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)")
_MINUTES = {"minute": 1, "hour": 60, "day": 1440}
_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}


def is_due(expression: str, since: datetime, now: datetime) -> bool:
    """Whether a rule that is there since `since` fires in the minute of `now`. ValueError for no schedule."""
    if match := _RATE.fullmatch(expression):
        minutes = int((now - since) / timedelta(minutes=1))
        return minutes > 0 and minutes % (int(match[1]) * _MINUTES[match[2]]) == 0
    if match := _CRON.fullmatch(expression):
        return _matches(match.groups(), now)
    raise ValueError(f"{expression!r} is neither rate(…) nor cron(…)")


def _matches(fields: tuple[str, ...], now: datetime) -> bool:
    minute, hour, day, month, weekday, year = fields
    return (
        _has(minute, now.minute, 0, 59, {})
        and _has(hour, now.hour, 0, 23, {})
        and _has(month, now.month, 1, 12, _MONTHS)
        and _has(year, now.year, 1970, 2199, {})
        and _has_day(day, now)
        and _has_weekday(weekday, now)
    )


def _has(field: str, value: int, least: int, most: int, names: dict[str, int]) -> bool:
    return any(_in(part, value, least, most, names) for part in field.split(","))


def _in(part: str, value: int, least: int, most: int, names: dict[str, int]) -> bool:
    part, _, step = part.partition("/")
    if part in ("*", "?"):
        first, last = least, most
    else:
        low, dash, high = part.partition("-")
        first = _number(low, names)
        last = _number(high, names) if dash else (most if step else first)
    return first <= value <= last and (value - first) % int(step or 1) == 0


def _number(text: str, names: dict[str, int]) -> int:
    return names[text.upper()] if text.upper() in names else int(text)


def _has_day(field: str, now: datetime) -> bool:
    last = calendar.monthrange(now.year, now.month)[1]
    if field == "L":
        return now.day == last
    if match := re.fullmatch(r"(\d{1,2}|L)W", field):
        wanted = last if match[1] == "L" else min(int(match[1]), last)
        return now.day == _nearest_weekday(now.year, now.month, wanted, last)
    return _has(field, now.day, 1, 31, {})


def _nearest_weekday(year: int, month: int, day: int, last: int) -> int:
    weekday = calendar.weekday(year, month, day)
    if weekday == calendar.SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == calendar.SUNDAY:
        return day + 1 if day < last else day - 2
    return day


def _has_weekday(field: str, now: datetime) -> bool:
    value = (now.weekday() + 1) % 7 + 1  # Sunday is 1
    if match := re.fullmatch(r"(\w+)#([1-5])", field):
        return value == _number(match[1], _DAYS) and (now.day - 1) // 7 + 1 == int(match[2])
    if match := re.fullmatch(r"(\d|[A-Z]{3})?L", field):
        last = calendar.monthrange(now.year, now.month)[1]
        return value == _number(match[1] or "7", _DAYS) and now.day + 7 > last
    return _has(field, value, 1, 7, _DAYS)


class Schedule:
    """Fires the rules of every account and region."""

    def __init__(self, rules: Callable[[], list[Any]], fire: Callable[[Any, dict[str, Any]], None]) -> None:
        """`rules`: those of moto that there are now; `fire` sends an event to the targets of one."""
        self._rules = rules
        self._fire = fire
        self._since: dict[str, datetime] = {}

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True, name="schedules").start()

    def _run(self) -> None:
        while True:
            self.fire(datetime.now(UTC))
            time.sleep(60 - time.time() % 60 + 0.05)

    def fire(self, now: datetime) -> None:
        """What is due in the minute of `now`."""
        now = now.replace(second=0, microsecond=0)
        rules = {rule.arn: rule for rule in self._rules() if rule.schedule_expression}
        self._since = {arn: self._since.get(arn, now) for arn in rules}
        for arn, rule in rules.items():
            try:
                if rule.state == "ENABLED" and is_due(rule.schedule_expression, self._since[arn], now):
                    self._fire(rule, event_of(rule, now))
            except Exception as error:
                _log.warning("the schedule of the rule %s failed: %s", arn, error)


def event_of(rule: Any, now: datetime) -> dict[str, Any]:
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": rule.account_id,
        "time": now.timestamp(),  # as moto keeps it; targets get it in AWS's form
        "region": rule.region_name,
        "resources": [rule.arn],
        "detail": {},
        "ingestion-time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
