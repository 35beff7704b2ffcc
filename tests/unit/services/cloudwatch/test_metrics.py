"""Putting metrics, listing them, asking for their statistics."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lambent.base.sketch import Sketch
from lambent.services.cloudwatch.records import LAMBDA, Metric

from .conftest import ACCOUNT, OTHER, REGION, MetricsLab, stat


def names(answer: Any) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    return [(one["MetricName"], tuple((d["Name"], d["Value"]) for d in one["Dimensions"])) for one in answer["Metrics"]]


def named(**values: str) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in values.items()]


async def test_statistics_of_what_was_put(metrics: MetricsLab) -> None:
    await metrics.put("took", *range(1, 101), Unit="Milliseconds")
    await metrics.put("took", 1000.0, at=metrics.ago(minutes=10), Unit="Milliseconds")
    statistics = ("SampleCount", "Sum", "Average", "Minimum", "Maximum", "p50", "p99.9")
    early, late = await metrics.points("took", *statistics)
    assert early["Sum"] == 1000
    assert late["Timestamp"] == metrics.minute
    assert (late["SampleCount"], late["Sum"], late["Average"], late["Minimum"]) == (100, 5050, 50.5, 1)
    assert (late["Maximum"], late["Unit"]) == (100, "Milliseconds")
    assert late["ExtendedStatistics"] == {"p50": pytest.approx(50, rel=0.011), "p99.9": pytest.approx(100, rel=0.011)}
    assert sum(point["Sum"] for point in await metrics.points("took", "Sum", period=3600)) == 6050


async def test_the_same_minute_again_adds_up(metrics: MetricsLab) -> None:
    await metrics.put("n", 1)
    assert [point["Sum"] for point in await metrics.points("n", "Sum")] == [1]
    await metrics.put("n", 2)
    assert [point["Sum"] for point in await metrics.points("n", "Sum")] == [3]


async def test_statistic_sets_and_counts(metrics: MetricsLab) -> None:
    await metrics.call(
        "PutMetricData",
        Namespace="mine",
        MetricData=[
            {"MetricName": "a", "StatisticValues": {"SampleCount": 4, "Sum": 20, "Minimum": 2, "Maximum": 8}},
            {"MetricName": "a", "Values": [1.0, 9.0], "Counts": [3.0, 1.0]},
            {"MetricName": "a", "Value": 5.0},
        ],
    )
    [point] = await metrics.points("a", "SampleCount", "Sum", "Minimum", "Maximum")
    assert (point["SampleCount"], point["Sum"], point["Minimum"], point["Maximum"]) == (9, 37, 1, 9)


async def test_units_are_kept_apart(metrics: MetricsLab) -> None:
    await metrics.put("size", 1, Unit="Bytes")
    await metrics.put("size", 2, Unit="Count")
    assert sorted((p["Unit"], p["Sum"]) for p in await metrics.points("size", "Sum")) == [("Bytes", 1), ("Count", 2)]
    assert [p["Sum"] for p in await metrics.points("size", "Sum", Unit="Count")] == [2]


@pytest.mark.parametrize(
    ("datum", "code"),
    [
        ({}, "InvalidParameterCombinationException"),
        ({"Value": 1.0, "Values": [1.0]}, "InvalidParameterCombinationException"),
        ({"Values": [1.0], "Counts": [1.0, 2.0]}, "InvalidParameterCombinationException"),
        ({"Value": float("nan")}, "InvalidParameterValueException"),
        ({"Value": 2.0**361}, "InvalidParameterValueException"),
        ({"Value": 1.0, "StorageResolution": 7}, "InvalidParameterValueException"),
        ({"Value": 1.0, "Dimensions": [*named(a="1"), *named(a="2")]}, "InvalidParameterValueException"),
    ],
)
async def test_what_cannot_be_put_is_refused_and_nothing_of_it_kept(
    metrics: MetricsLab, datum: dict[str, Any], code: str
) -> None:
    data = [{"MetricName": "good", "Value": 1.0}, {"MetricName": "x"} | datum]
    assert (await metrics.refusal("PutMetricData", Namespace="mine", MetricData=data))[0] == code
    assert (await metrics.call("ListMetrics"))["Metrics"] == []


async def test_times_and_namespaces_that_are_refused(metrics: MetricsLab) -> None:
    for at in (metrics.ago(days=15), metrics.ago(hours=-3)):
        datum = {"MetricName": "x", "Value": 1.0, "Timestamp": at}
        code, _message = await metrics.refusal("PutMetricData", Namespace="mine", MetricData=[datum])
        assert code == "InvalidParameterValueException"
    data = [{"MetricName": "x", "Value": 1.0}]
    refused = await metrics.refusal("PutMetricData", Namespace="AWS/Lambda", MetricData=data)
    assert refused == ("InvalidParameterValueException", "The value AWS/ for parameter Namespace is invalid.")


async def test_listing_filters_and_pages(metrics: MetricsLab) -> None:
    data = [{"MetricName": "m", "Value": 1.0, "Dimensions": named(id=f"{n:04}", kind="a")} for n in range(750)]
    await metrics.call("PutMetricData", Namespace="mine", MetricData=data)
    await metrics.put("other", 1)
    first = await metrics.call("ListMetrics", Namespace="mine", MetricName="m")
    second = await metrics.call("ListMetrics", Namespace="mine", MetricName="m", NextToken=first["NextToken"])
    assert "NextToken" not in second
    assert len(set(names(first) + names(second))) == 750
    found = await metrics.call("ListMetrics", Dimensions=[{"Name": "id", "Value": "0007"}, {"Name": "kind"}])
    assert names(found) == [("m", (("id", "0007"), ("kind", "a")))]
    assert (await metrics.call("ListMetrics", account=OTHER))["Metrics"] == []
    assert (await metrics.refusal("ListMetrics", NextToken="???"))[0] == "InvalidNextToken"
    metrics.clock.advance(4 * 3600)
    assert (await metrics.call("ListMetrics", RecentlyActive="PT3H"))["Metrics"] == []
    metrics.clock.advance(15 * 86_400)
    assert (await metrics.call("ListMetrics"))["Metrics"] == []


async def test_metrics_of_lambda_are_added_up_for_shorter_dimensions(metrics: MetricsLab) -> None:
    start = int(metrics.clock.time() // 60 * 60)
    for resource, version, count in (("f", "", 1), ("f:live", "1", 2), ("f:live", "2", 4), ("g", "", 8)):
        dimensions = [("FunctionName", resource[0]), ("Resource", resource)]
        if version:
            dimensions.insert(0, ("ExecutedVersion", version))
        metric = Metric(ACCOUNT, REGION, LAMBDA, "Invocations", tuple(dimensions), "Count")
        metrics.store.put(metric, start, Sketch.of([(1, count)]))
    wanted: dict[str, dict[str, str]] = {
        "all": {},
        "f": {"FunctionName": "f"},
        "live": {"Resource": "f:live", "FunctionName": "f"},
        "one": {"Resource": "f:live", "FunctionName": "f", "ExecutedVersion": "1"},
        "none": {"FunctionName": "f", "ExecutedVersion": "1"},
    }
    queries = [stat(id, "Invocations", namespace=LAMBDA, dimensions=named(**one)) for id, one in wanted.items()]
    answer = await metrics.data(*queries)
    found = {one["Id"]: one["Values"] for one in answer["MetricDataResults"]}
    assert found == {"all": [15], "f": [7], "live": [6], "one": [2], "none": []}
    listed = names(await metrics.call("ListMetrics", Namespace=LAMBDA))
    assert ("Invocations", ()) in listed
    assert ("Invocations", (("FunctionName", "g"), ("Resource", "g"))) in listed
    assert len(listed) == len(set(listed)) == 8


async def test_what_is_written_outlives_the_server(metrics: MetricsLab) -> None:
    await metrics.put("n", 1, 2, 3)
    await metrics.stop()
    await metrics.start()
    [point] = await metrics.points("n", "Sum", "p50")
    assert (point["Sum"], point["ExtendedStatistics"]["p50"]) == (6, pytest.approx(2, rel=0.011))


async def rows(metrics: MetricsLab) -> int:
    [[count]] = await metrics.db.read(lambda connection: connection.execute("SELECT count(*) FROM points"))
    return int(count)


async def test_old_points_are_put_together(metrics: MetricsLab) -> None:
    for minutes in range(10):
        await metrics.put("n", minutes + 1, at=metrics.minute - timedelta(minutes=minutes))
    for second in range(10):
        await metrics.put("fine", 1, at=metrics.minute - timedelta(seconds=second), StorageResolution=1)
    assert len(await metrics.points("fine", "Sum", period=1, StartTime=metrics.ago(minutes=5))) == 10
    assert await rows(metrics) == 20
    metrics.clock.advance(4 * 3600)
    await metrics.store.tidy()
    assert await rows(metrics) == 12  # the fine ones by minutes
    metrics.clock.advance(16 * 86_400)
    await metrics.store.tidy()
    assert sum(point["Sum"] for point in await metrics.points("n", "Sum", period=3600, hours=24 * 17)) == 55
    assert await rows(metrics) <= 6
    metrics.clock.advance(460 * 86_400)
    await metrics.store.tidy()
    assert await rows(metrics) == 0
    assert (await metrics.call("ListMetrics"))["Metrics"] == []
    await metrics.put("n", 1)  # under a number of its own again
    assert [point["Sum"] for point in await metrics.points("n", "Sum")] == [1]


async def test_the_bound_takes_from_who_has_most(tmp_path: Path) -> None:
    lab, bound = MetricsLab(tmp_path), 1 << 19
    await lab.start(bound)
    await lab.call("PutMetricData", Namespace="small", MetricData=[{"MetricName": "kept", "Value": 1.0}])
    for _hour in range(12):
        lab.clock.advance(3600)
        data = [{"MetricName": f"m{n}", "Values": [float(n * k + 1) for k in range(50)]} for n in range(500)]
        await lab.call("PutMetricData", Namespace="mine", MetricData=data)
        await lab.store.flush()

    async def size() -> int:
        pragmas = ("PRAGMA page_count", "PRAGMA freelist_count")
        [[pages]], [[free]] = [await lab.db.read(lambda c, text=text: c.execute(text)) for text in pragmas]  # type: ignore[misc]
        return int(pages - free) * 4096

    assert await size() > bound
    await lab.store.tidy()
    assert await size() < bound
    assert names(await lab.call("ListMetrics", Namespace="small")) == [("kept", ())]
    assert await lab.points("m1", "Sum")
    await lab.stop()
