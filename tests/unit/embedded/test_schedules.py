from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lambent.embedded.schedules import Schedule, is_due

NOW = datetime(2026, 12, 1, 10, 15, tzinfo=UTC)  # a Tuesday


@pytest.mark.parametrize(
    ("expression", "when", "due"),
    [
        ("cron(15 10 * * ? *)", "2026-12-01 10:15", True),
        ("cron(15 10 * * ? *)", "2026-12-01 10:16", False),
        ("cron(0/15 * * * ? *)", "2026-12-01 10:45", True),
        ("cron(0/15 * * * ? *)", "2026-12-01 10:46", False),
        ("cron(0 18 ? * MON-FRI *)", "2026-12-04 18:00", True),
        ("cron(0 18 ? * MON-FRI *)", "2026-12-05 18:00", False),
        ("cron(0 8 1 * ? *)", "2026-12-01 08:00", True),
        ("cron(0 8 L * ? *)", "2028-02-29 08:00", True),
        ("cron(0 8 L * ? *)", "2028-02-28 08:00", False),
        ("cron(0 9 ? * 2#1 *)", "2026-12-07 09:00", True),  # the first Monday
        ("cron(0 9 ? * 2#1 *)", "2026-12-14 09:00", False),
        ("cron(0 9 ? * 6L *)", "2026-12-25 09:00", True),  # the last Friday
        ("cron(0 9 ? * 6L *)", "2026-12-18 09:00", False),
        ("cron(0 9 5W * ? *)", "2026-12-04 09:00", True),  # the 5th is a Saturday
        ("cron(0 0 1 JAN,JUL ? 2027-2028)", "2027-07-01 00:00", True),
        ("cron(0 0 1 JAN,JUL ? 2027-2028)", "2026-07-01 00:00", False),
    ],
)
def test_cron(expression, when, due):
    now = datetime.fromisoformat(when).replace(tzinfo=UTC)
    assert is_due(expression, now - timedelta(days=1), now) is due


def test_a_rate_counts_from_the_rules_beginning():
    fired = [minute for minute in range(16) if is_due("rate(5 minutes)", NOW, NOW + timedelta(minutes=minute))]
    assert fired == [5, 10, 15]
    assert is_due("rate(1 day)", NOW, NOW + timedelta(days=1))


@pytest.mark.parametrize("expression", ["every day", "rate(5)", "cron(* * *)", "cron(x * * * ? *)"])
def test_what_is_no_schedule(expression):
    with pytest.raises(ValueError):
        is_due(expression, NOW, NOW)


@dataclass
class Rule:
    arn: str
    schedule_expression: str
    state: str = "ENABLED"
    account_id: str = "000000000000"
    region_name: str = "us-east-1"
    sent: list[Any] = field(default_factory=list)

    def send(self, event: Any) -> None:
        self.sent.append(event)


def test_rules_fire_by_themselves_and_one_that_is_broken_stops_no_other():
    rules = [Rule("a", "rate(2 minutes)"), Rule("b", "nonsense"), Rule("c", "rate(1 minute)"), Rule("d", "")]
    off = Rule("e", "rate(1 minute)", "DISABLED")
    schedule = Schedule(lambda: [*rules, off], Rule.send)
    for minute in range(5):
        schedule.fire(NOW + timedelta(minutes=minute, seconds=3))
    assert [len(rule.sent) for rule in (*rules, off)] == [2, 0, 4, 0, 0]
    event = rules[0].sent[0]
    assert (event["detail-type"], event["source"], event["resources"]) == ("Scheduled Event", "aws.events", ["a"])
    assert event["time"] == (NOW + timedelta(minutes=2)).timestamp()
