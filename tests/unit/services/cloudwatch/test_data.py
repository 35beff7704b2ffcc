"""GetMetricData: expressions, order, pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.base.sketch import Sketch
from lambent.services.cloudwatch import metric_math, statistics
from lambent.wire.errors import AwsError

from .conftest import MetricsLab, stat


def values(answer: Any) -> dict[str, list[float]]:
    return {one["Id"]: one["Values"] for one in answer["MetricDataResults"]}


async def fill(metrics: MetricsLab) -> None:
    """a: 1 2 3 4 and b: 10 20 - 40, a minute each, the last one now."""
    for n in range(4):
        when = metrics.minute - timedelta(minutes=3 - n)
        await metrics.put("a", n + 1, at=when)
        if n != 2:
            await metrics.put("b", 10 * (n + 1), at=when)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a + b", [11, 22, 44]),
        ("b / a * 100", [1000, 1000, 1000]),
        ("-a ^ 2 + 1", [0, -3, -8, -15]),
        ("a - 1 - 1", [-1, 0, 1, 2]),
        ("a / (a - 1)", [2, 1.5, 4 / 3]),
        ("SUM(METRICS())", [11, 22, 3, 44]),
        ("AVG([a, b])", [5.5, 11, 3, 22]),
        ("MAX(METRICS('b'))", [10, 20, 40]),
        ("a / SUM(a)", [0.1, 0.2, 0.3, 0.4]),
        ("DIFF(a)", [1, 1, 1]),
        ("RATE(a) * PERIOD(a)", [1, 1, 1]),
        ("RUNNING_SUM(a)", [1, 3, 6, 10]),
        ("IF(a > 2, a, 0)", [0, 0, 3, 4]),
        ("IF(a > 2 && b > 0, b)", [40]),
        ("CEIL(a / 2)", [1, 1, 2, 2]),
        ("METRIC_COUNT(METRICS())", None),
    ],
)
async def test_expressions(metrics: MetricsLab, expression: str, expected: list[float] | None) -> None:
    await fill(metrics)
    hidden = {"ReturnData": False}
    queries = [stat("a", "a", **hidden), stat("b", "b", **hidden), {"Id": "e", "Expression": expression, "Label": "x"}]
    answer = await metrics.data(*queries, ScanBy="TimestampAscending")
    [result] = answer["MetricDataResults"]
    assert (result["Id"], result["Label"], result["StatusCode"]) == ("e", "x", "Complete")
    if expected is None:  # a number has all times
        assert set(result["Values"]) == {2.0}
        assert len(result["Values"]) > 60
    else:
        assert result["Values"] == pytest.approx(expected)


async def test_fill_and_expressions_of_expressions(metrics: MetricsLab) -> None:
    await fill(metrics)
    start = metrics.minute - timedelta(minutes=3)
    queries = [
        {"Id": "twice", "Expression": "filled * 2"},
        {"Id": "filled", "Expression": "FILL(b, 0)"},
        {"Id": "again", "Expression": "FILL(b, REPEAT)"},
        stat("b", "b", ReturnData=False),
    ]
    end = metrics.minute + timedelta(minutes=1)
    answer = await metrics.data(*queries, StartTime=start, EndTime=end, ScanBy="TimestampAscending")
    assert values(answer)["twice"] == [20, 40, 0, 80]
    assert values(answer)["again"] == [10, 20, 20, 40]


async def test_newest_first_unless_asked_otherwise_and_in_pages(metrics: MetricsLab) -> None:
    await fill(metrics)
    queries = [stat("x", "a"), stat("y", "b", "Average")]
    assert values(await metrics.data(*queries)) == {"x": [4, 3, 2, 1], "y": [40, 20, 10]}
    found: list[float] = []
    page: Any = {}
    for _page in range(10):
        token = {"NextToken": page["NextToken"]} if page else {}
        page = await metrics.data(*queries, MaxDatapoints=2, **token)
        assert sum(len(one["Values"]) for one in page["MetricDataResults"]) <= 2
        found += [value for one in page["MetricDataResults"] for value in one["Values"]]
        if "NextToken" not in page:
            break
    assert found == [4, 3, 2, 1, 40, 20, 10]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"Id": "e", "Expression": "a +"}, "cannot be read"),
        ({"Id": "e", "Expression": "a b"}, "cannot be read"),
        ({"Id": "e", "Expression": "SEARCH('{AWS/Lambda} x', 'Sum')"}, "does not implement the function SEARCH"),
        ({"Id": "e", "Expression": "c + 1"}, "unknown id c"),
        ({"Id": "e", "Expression": "e + 1"}, "leads back to itself"),
        ({"Id": "e", "Expression": "(" * 60 + "a" + ")" * 60}, "cannot be read"),
        ({"Id": "e"}, "must have either"),
        (stat("e", "a", "p101"), "not supported"),
        (stat("e", "a", "Sum", period=45), "Period must be"),
    ],
)
async def test_queries_that_are_refused(metrics: MetricsLab, query: dict[str, Any], problem: str) -> None:
    with pytest.raises(AwsError, match=problem):
        await metrics.data(stat("a", "a"), query)


@settings(deadline=None)
@given(st.text("ab+-*/^()[],1.5 <>=&|!'\"MAXSUM", max_size=60))
def test_no_text_is_worse_than_refused(text: str) -> None:
    try:
        node = metric_math.compile(text)
    except AwsError:
        return
    scope = metric_math.Scope(lambda name: {60: 1.0, 120: 2.0}, lambda text: [{60: 1.0}], 60, (60, 120))
    try:
        node(scope)
    except AwsError:
        return


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        ("p0", 1),
        ("p50", 50),
        ("p100", 100),
        ("tm90", 45.5),
        ("TM(10%:90%)", 50.5),
        ("IQM", 50.5),
        ("tc90", 90),
        ("ts10", 55),
        ("wm95", 50.4),
        ("PR(:50.4)", 50),
        ("PR(10.4:20.4)", 10),
        ("TC(10.4:20.4)", 10),
        ("TS(:10.4)", 55),
    ],
)
def test_statistics_of_1_to_100(statistic: str, expected: float) -> None:
    values = Sketch.of((value, 1) for value in range(1, 101))
    assert statistics.parse(statistic)(values) == pytest.approx(expected, rel=0.025)
