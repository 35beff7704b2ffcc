"""CloudWatch metrics over the wire: boto3, the AWS CLI, a client of the older protocol, and Prometheus's parser."""

from __future__ import annotations

import gzip
import json
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support import Server, clean_environment, create, eventually, invoke, run

CODE = "def handler(event, context):\n    return 1 / event\n"
BIN = Path(sys.executable).parent
SIGNATURE = (
    "AWS4-HMAC-SHA256 Credential=test/20261201/us-east-1/monitoring/aws4_request, SignedHeaders=host, Signature=x"
)


def hour() -> dict[str, datetime]:
    now = datetime.now(UTC)
    return {"StartTime": now - timedelta(hours=1), "EndTime": now + timedelta(minutes=2)}


def sums(metrics: Any, **queries: tuple[str, str, dict[str, str]]) -> dict[str, float]:
    """By id, of (metric of AWS/Lambda, statistic, dimensions): the sum over the last hour."""
    asked = [
        {
            "Id": id,
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/Lambda",
                    "MetricName": name,
                    "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                },
                "Period": 60,
                "Stat": statistic,
            },
        }
        for id, (name, statistic, dimensions) in queries.items()
    ]
    pages = metrics.get_paginator("get_metric_data").paginate(MetricDataQueries=asked, **hour())
    found: dict[str, float] = {}
    for result in (one for page in pages for one in page["MetricDataResults"]):
        found[result["Id"]] = found.get(result["Id"], 0) + sum(result["Values"])
    return found


def page(server: Server) -> dict[str, Any]:
    """Prometheus's samples, by name and labels."""
    with urllib.request.urlopen(f"{server.endpoint}/_lambent/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = answer.read().decode()
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {f"{one.name}{dict(sorted(one.labels.items()))}": one.value for one in samples}


def test_what_functions_do(server: Server) -> None:
    functions, metrics = server.client(), server.client("cloudwatch")
    create(functions, "metered", CODE)
    for event in (1, 2, 0):
        invoke(functions, "metered", event)
    version = functions.publish_version(FunctionName="metered")["Version"]
    functions.create_alias(FunctionName="metered", Name="live", FunctionVersion=version)
    functions.get_waiter("published_version_active").wait(FunctionName="metered", Qualifier=version)
    functions.invoke(FunctionName="metered:live", Payload=b"1")
    function = {"FunctionName": "metered"}
    alias = function | {"Resource": "metered:live"}
    found = sums(
        metrics,
        all=("Invocations", "Sum", {}),
        ours=("Invocations", "Sum", function),
        plain=("Invocations", "Sum", function | {"Resource": "metered"}),
        alias=("Invocations", "Sum", alias),
        version=("Invocations", "Sum", alias | {"ExecutedVersion": version}),
        errors=("Errors", "Sum", function),
        durations=("Duration", "SampleCount", function),
        slowest=("Duration", "p99", function),
        together=("ConcurrentExecutions", "Maximum", function),
    )
    assert found["all"] >= 4
    assert {name: found[name] for name in ("ours", "plain", "alias", "version", "errors", "durations")} == {
        "ours": 4,
        "plain": 3,
        "alias": 1,
        "version": 1,
        "errors": 1,
        "durations": 4,
    }
    assert found["slowest"] > 0
    assert found["together"] >= 1
    functions.put_function_concurrency(FunctionName="metered", ReservedConcurrentExecutions=0)
    with pytest.raises(functions.exceptions.TooManyRequestsException):
        functions.invoke(FunctionName="metered", Payload=b"1")
    assert sums(metrics, throttles=("Throttles", "Sum", function))["throttles"] == 1
    listed = metrics.list_metrics(Namespace="AWS/Lambda", Dimensions=[{"Name": "ExecutedVersion"}])["Metrics"]
    assert {one["MetricName"] for one in listed} >= {"Invocations", "Errors", "Duration", "Throttles"}
    samples = page(server)
    labels = {"account": "000000000000", "function": "metered", "region": "us-east-1", "version": "$LATEST"}
    assert samples[f"lambent_invocations_total{labels}"] == 3
    assert samples[f"lambent_errors_total{labels}"] == 1
    assert samples[f"lambent_throttles_total{labels}"] == 1
    assert samples[f"lambent_duration_seconds_count{labels}"] == 3
    assert samples[f"lambent_init_duration_seconds_count{labels}"] >= 1
    assert samples["lambent_environments_limit{}"] == 200
    assert samples["process_resident_memory_bytes{}"] > 1e6


def test_asynchronous_events_are_counted(server: Server) -> None:
    functions, metrics = server.client(), server.client("cloudwatch")
    create(functions, "metered-async", CODE)
    settings = {"MaximumRetryAttempts": 0, "DestinationConfig": {}}
    functions.put_function_event_invoke_config(FunctionName="metered-async", **settings)
    functions.invoke(FunctionName="metered-async", InvocationType="Event", Payload=b"0")
    function = {"FunctionName": "metered-async"}
    wanted = {"received": 1.0, "dropped": 1.0, "ages": 1.0}
    eventually(
        lambda: (
            sums(
                metrics,
                received=("AsyncEventsReceived", "Sum", function),
                dropped=("AsyncEventsDropped", "Sum", function),
                ages=("AsyncEventAge", "SampleCount", function),
            )
            == wanted
        )
    )


def test_metrics_of_ones_own(server: Server) -> None:
    metrics = server.client("cloudwatch")
    dimensions = [{"Name": "Kind", "Value": "big"}]
    many = [{"MetricName": "n", "Dimensions": dimensions, "Unit": "Count", "Value": float(n)} for n in range(200)]
    metrics.put_metric_data(Namespace="Mine", MetricData=many)  # boto3 compresses what is large
    [point] = metrics.get_metric_statistics(
        Namespace="Mine",
        MetricName="n",
        Dimensions=dimensions,
        Period=3600 * 24,
        Statistics=["Sum", "SampleCount"],
        ExtendedStatistics=["p50"],
        **hour(),
    )["Datapoints"]
    assert (point["Sum"], point["SampleCount"], point["Unit"]) == (19900, 200, "Count")
    assert 98 <= point["ExtendedStatistics"]["p50"] <= 102
    queries = [{"Id": "e", "Expression": "SEARCH('x')"}]
    with pytest.raises(botocore.exceptions.ClientError, match="does not implement the function SEARCH"):
        metrics.get_metric_data(MetricDataQueries=queries, **hour())


def test_alarms_are_the_embedded_services(server: Server) -> None:
    metrics = server.client("cloudwatch")
    alarm = {"AlarmName": "a", "MetricName": "n", "Namespace": "Mine", "Statistic": "Sum", "Period": 60}
    metrics.put_metric_alarm(**alarm, ComparisonOperator="GreaterThanThreshold", EvaluationPeriods=1, Threshold=1.0)
    assert [one["AlarmName"] for one in metrics.describe_alarms()["MetricAlarms"]] == ["a"]


def test_the_aws_cli(server: Server) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}

    def aws(*arguments: str) -> Any:
        command = [BIN / "aws", "--endpoint-url", server.endpoint, "--output", "json", "cloudwatch", *arguments]
        return json.loads(run(*command, env=clean_environment() | keys) or "null")

    aws("put-metric-data", "--namespace", "Cli", "--metric-name", "n", "--value", "2.5")
    [metric] = aws("list-metrics", "--namespace", "Cli")["Metrics"]
    assert (metric["MetricName"], metric["Dimensions"]) == ("n", [])
    query = {"Namespace": "Cli", "MetricName": "n"}
    queries = [{"Id": "m", "MetricStat": {"Metric": query, "Period": 60, "Stat": "Average"}}]
    times = [f"{value:%Y-%m-%dT%H:%M:%SZ}" for value in hour().values()]
    found = aws(
        *("get-metric-data", "--start-time", times[0], "--end-time", times[1]),
        *("--metric-data-queries", json.dumps(queries)),
    )
    assert found["MetricDataResults"][0]["Values"] == [2.5]


def test_a_client_of_the_query_protocol_with_a_compressed_body(server: Server) -> None:
    def ask(text: str) -> str:
        headers = {
            "Authorization": SIGNATURE,
            "Content-Type": "application/x-www-form-urlencoded",
            "Content-Encoding": "gzip",
        }
        body = gzip.compress(text.encode())
        request = urllib.request.Request(server.endpoint, body, headers)
        with urllib.request.urlopen(request) as answer:
            return str(answer.read().decode())

    datum = "MetricData.member.1.MetricName=n&MetricData.member.1.Value=7"
    ask(f"Action=PutMetricData&Version=2010-08-01&Namespace=Old&{datum}")
    found = ask("Action=ListMetrics&Version=2010-08-01&Namespace=Old")
    assert "<member><Namespace>Old</Namespace><MetricName>n</MetricName>" in found
