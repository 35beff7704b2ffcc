"""What follows from events: live tails, subscriptions, metric filters, the embedded metric format."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.services.logs import embedded_metrics
from lambent.services.logs.records import GroupKey
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Parameters

from .conftest import ACCOUNT, GROUP, OTHER, REGION, LogsLab

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:"
KEY = GroupKey(ACCOUNT, REGION, GROUP)


class Functions:
    """Lambda as subscriptions see it: the functions f, g and h, which print into groups of their own."""

    def __init__(self, logs: LogsLab) -> None:
        self.invoked: list[tuple[str, Any]] = []
        self.policy: str | None = None
        for operation in ("GetFunctionConfiguration", "Invoke", "GetPolicy"):
            logs.operations.register("lambda", operation, getattr(self, operation.lower()))

    async def getfunctionconfiguration(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name = parameters["FunctionName"].removeprefix(ARN)
        if name not in ("f", "g", "h"):
            raise AwsError("ResourceNotFoundException", "Function not found", status=404)
        return {"LoggingConfig": {"LogGroup": f"/aws/lambda/{name}"}}

    async def getpolicy(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        if self.policy is None:
            raise AwsError("ResourceNotFoundException", "no policy", status=404)
        return {"Policy": self.policy}

    async def invoke(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        assert parameters["InvocationType"] == "Event"
        assert context.caller.via == "logs.amazonaws.com"
        data = json.loads(parameters["Payload"])["awslogs"]["data"]
        content = json.loads(gzip.decompress(base64.b64decode(data)))
        self.invoked.append((parameters["FunctionName"].removeprefix(ARN), content))
        return {"StatusCode": 202}


@pytest.fixture
def functions(logs: LogsLab) -> Functions:
    return Functions(logs)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def put(logs: LogsLab, name: str = "all", pattern: str = "", function: str = "g", group: str = GROUP) -> None:
    members = {"logGroupName": group, "filterName": name, "filterPattern": pattern}
    await logs.call("PutSubscriptionFilter", destinationArn=ARN + function, **members)


async def group(logs: LogsLab, name: str = GROUP) -> None:
    await logs.call("CreateLogGroup", logGroupName=name)


async def test_what_a_subscription_lets_through_goes_to_its_function(logs: LogsLab, functions: Functions) -> None:
    await group(logs)
    await put(logs, "errors", "ERROR")
    logs.print("fine\n", "ERROR one\n", "ERROR two\n", stream="s1")
    logs.print("ERROR three\n", stream="s2")
    await until(lambda: len(functions.invoked) == 2)
    found = {content["logStream"]: content for name, content in functions.invoked if name == "g"}
    first = found["s1"]
    assert {name: first[name] for name in ("messageType", "owner", "logGroup", "subscriptionFilters")} == {
        "messageType": "DATA_MESSAGE",
        "owner": ACCOUNT,
        "logGroup": GROUP,
        "subscriptionFilters": ["errors"],
    }
    assert [event["message"] for event in first["logEvents"]] == ["ERROR one\n", "ERROR two\n"]
    events = (await logs.call("FilterLogEvents", logGroupName=GROUP, filterPattern="one"))["events"]
    assert (first["logEvents"][0]["id"], first["logEvents"][0]["timestamp"]) == (
        events[0]["eventId"],
        events[0]["timestamp"],
    )
    assert [event["message"] for event in found["s2"]["logEvents"]] == ["ERROR three\n"]


async def test_many_events_go_in_several_messages(logs: LogsLab, functions: Functions) -> None:
    await group(logs)
    await put(logs)
    logs.print(*("x" * 100_000 for _ in range(10)))
    await until(lambda: sum(len(content["logEvents"]) for _name, content in functions.invoked) == 10)
    assert len(functions.invoked) > 2


async def test_subscriptions_are_described_changed_and_deleted(logs: LogsLab, functions: Functions) -> None:
    await group(logs)
    await put(logs, "one")
    await put(logs, "two", function="h")
    code, message = await logs.refusal(
        "PutSubscriptionFilter", logGroupName=GROUP, filterName="x", filterPattern="", destinationArn=f"{ARN}g"
    )
    assert (code, message) == ("LimitExceededException", "Resource limit exceeded.")
    logs.clock.advance(5)
    await put(logs, "one", "changed")
    described = (await logs.call("DescribeSubscriptionFilters", logGroupName=GROUP))["subscriptionFilters"]
    assert [(one["filterName"], one["filterPattern"], one["distribution"]) for one in described] == [
        ("one", "changed", "ByLogStream"),
        ("two", "", "ByLogStream"),
    ]
    assert described[0]["creationTime"] == logs.now - 5000
    await logs.stop()
    await logs.start()
    await logs.call("DeleteSubscriptionFilter", logGroupName=GROUP, filterName="one")
    [left] = (await logs.call("DescribeSubscriptionFilters", logGroupName=GROUP))["subscriptionFilters"]
    assert left["destinationArn"] == f"{ARN}h"
    refused = await logs.refusal("DeleteSubscriptionFilter", logGroupName=GROUP, filterName="one")
    assert refused == ("ResourceNotFoundException", "The specified subscription filter does not exist.")


async def test_destinations_that_are_refused(logs: LogsLab, functions: Functions) -> None:
    await group(logs)
    for destination, problem in {
        f"{ARN}none": "Could not execute the lambda function",
        f"arn:aws:lambda:{REGION}:{OTHER}:function:g": "same account and region",
        f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s": "does not implement subscription filters to kinesis",
        f"{ARN}f": "without end: /aws/lambda/f",
    }.items():
        _code, message = await logs.refusal(
            "PutSubscriptionFilter", logGroupName=GROUP, filterName="x", filterPattern="", destinationArn=destination
        )
        assert problem in message


async def test_a_loop_over_several_functions_is_refused(logs: LogsLab, functions: Functions) -> None:
    for name in ("f", "g", "h"):
        await group(logs, f"/aws/lambda/{name}")
    await put(logs, function="g", group="/aws/lambda/f")
    await put(logs, function="h", group="/aws/lambda/g")
    way = "/aws/lambda/h → .*:f → /aws/lambda/f → .*:g → /aws/lambda/g → .*:h → /aws/lambda/h"
    with pytest.raises(AwsError, match=f"without end: {way}"):
        await put(logs, function="f", group="/aws/lambda/h")


class Enforcing:
    enforces = True

    async def authorize(self, *_arguments: Any) -> None:
        pass


async def test_where_callers_are_known_the_functions_policy_must_let_logs_in(
    logs: LogsLab, functions: Functions
) -> None:
    await group(logs)
    logs.operations.gate = Enforcing()  # type: ignore[assignment]
    logs.operations.declare("logs", {"CreateLogGroup": lambda caller, parameters: ()})
    statement = {
        "Sid": "logs",
        "Effect": "Allow",
        "Principal": {"Service": "logs.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": f"{ARN}g",
        "Condition": {"ArnLike": {"AWS:SourceArn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{GROUP}:*"}},
    }
    subscriptions = logs.subscriptions
    assert not await subscriptions._may_invoke(KEY, f"{ARN}g")
    functions.policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    assert await subscriptions._may_invoke(KEY, f"{ARN}g")
    assert not await subscriptions._may_invoke(KEY._replace(name="/other"), f"{ARN}g")
    assert not await subscriptions._may_invoke(KEY, f"{ARN}h")


# Metric filters


async def filtered(logs: LogsLab, pattern: str, **transformation: Any) -> None:
    transformation = {"metricName": "n", "metricNamespace": "Mine", "metricValue": "1"} | transformation
    await logs.call(
        "PutMetricFilter",
        logGroupName=GROUP,
        filterName="f",
        filterPattern=pattern,
        metricTransformations=[transformation],
    )


async def published(logs: LogsLab, *messages: str) -> list[tuple[tuple[tuple[str, str], ...], tuple[float, ...]]]:
    logs.published.clear()
    logs.print(*messages)
    await logs.messages()
    await asyncio.sleep(0)
    return [(datum.dimensions, datum.values) for datum in logs.published]


async def test_metric_filters_count_and_read_values(logs: LogsLab) -> None:
    await group(logs)
    await filtered(logs, "ERROR", defaultValue=0.0, unit="Count")
    assert await published(logs, "ERROR a", "b", "ERROR c") == [((), (1,)), ((), (1,))]
    assert logs.published[0][:4] == (ACCOUNT, REGION, "Mine", "n")
    assert await published(logs, "b") == [((), (0,))]
    await filtered(logs, "{ $.took > 1 }", metricValue="$.took", dimensions={"Kind": "$.kind"})
    lines = ['{"took": 5, "kind": "a"}', '{"took": 7}', '{"took": "8.5", "kind": "b"}', "no"]
    assert await published(logs, *lines) == [((("Kind", "a"),), (5,)), ((("Kind", "b"),), (8.5,))]
    await filtered(logs, "[ip, ..., status=4*, bytes]", metricValue="$bytes", dimensions={"Ip": "$ip"})
    assert await published(logs, "1.2.3.4 - [x y] 404 17", "1.2.3.4 200 5") == [((("Ip", "1.2.3.4"),), (17,))]


async def test_metric_filters_are_described_and_deleted(logs: LogsLab) -> None:
    await group(logs)
    await filtered(logs, "x")
    [one] = (await logs.call("DescribeMetricFilters", metricName="n", metricNamespace="Mine"))["metricFilters"]
    assert (one["filterName"], one["logGroupName"], one["metricTransformations"][0]["metricValue"]) == ("f", GROUP, "1")
    assert (await logs.call("DescribeMetricFilters", metricName="m", metricNamespace="Mine"))["metricFilters"] == []
    [shown] = (await logs.call("DescribeLogGroups"))["logGroups"]
    assert shown["metricFilterCount"] == 1
    await logs.call("DeleteMetricFilter", logGroupName=GROUP, filterName="f")
    assert (await logs.call("DescribeMetricFilters", logGroupName=GROUP))["metricFilters"] == []
    for wrong in ({"metricValue": "$.x"}, {"metricNamespace": "AWS/x"}, {"metricValue": "many"}):
        with pytest.raises(AwsError, match=r"Invalid (metric transformation|filter pattern)"):
            await filtered(logs, "x", **wrong)


async def test_testing_a_filter_shows_what_it_extracts(logs: LogsLab) -> None:
    messages = ["1.2.3.4 GET 404", '{"a": {"b": [1, 2]}}']
    answer = await logs.call("TestMetricFilter", filterPattern="[ip, verb, status=4*]", logEventMessages=messages)
    assert [one["extractedValues"] for one in answer["matches"]] == [
        {"$ip": "1.2.3.4", "$verb": "GET", "$status": "404"}
    ]
    answer = await logs.call("TestMetricFilter", filterPattern="{ $.a.b[1] = 2 }", logEventMessages=messages)
    assert [one["extractedValues"] for one in answer["matches"]] == [{"$.a.b[1]": "2"}]


# The embedded metric format


def embedded(**members: Any) -> str:
    directive = {"Namespace": "Mine", "Dimensions": [["Kind"], []], "Metrics": [{"Name": "took", "Unit": "Seconds"}]}
    about = {"Timestamp": 1_795_237_473_000, "CloudWatchMetrics": [directive]}
    return json.dumps({"_aws": about, "Kind": "a", "took": 0.5} | members)


async def test_embedded_metrics(logs: LogsLab) -> None:
    both = [((("Kind", "a"),), (0.5,)), ((), (0.5,))]
    assert await published(logs, "no", embedded(), '{"_aws": 1}', '"_aws"') == both
    assert next((one.namespace, one.name, one.unit, one.at) for one in logs.published) == (
        "Mine",
        "took",
        "Seconds",
        1_795_237_473_000,
    )
    assert await published(logs, embedded(took=[1, 2, "x"])) == [((("Kind", "a"),), (1, 2)), ((), (1, 2))]
    assert await published(logs, embedded(Kind=["x"])) == [((), (0.5,))]
    assert await published(logs, embedded(took="x")) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=25, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "_aws": st.fixed_dictionaries(
                {
                    "Timestamp": JSON,
                    "CloudWatchMetrics": JSON
                    | st.lists(
                        st.fixed_dictionaries(
                            {
                                "Namespace": JSON | st.text(),
                                "Dimensions": JSON,
                                "Metrics": JSON
                                | st.lists(
                                    st.fixed_dictionaries({"Name": st.sampled_from(["took"]) | JSON, "Unit": JSON})
                                ),
                            }
                        )
                    ),
                }
            )
        },
        optional={"took": JSON},
    )
)
def test_no_event_is_worse_than_no_metric(event: dict[str, Any]) -> None:
    list(embedded_metrics.read(KEY, json.dumps(event), 0))


# Live tails


async def test_a_live_tail_shows_what_is_taken_from_now_on(logs: LogsLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambent.services.logs.live_tail._UPDATE_SECONDS", 0.01)
    monkeypatch.setattr("lambent.services.logs.live_tail._MOST_EVENTS", 3)
    await group(logs)
    logs.print("before")
    await logs.messages()
    members = {"logGroupIdentifiers": [KEY.arn], "logEventFilterPattern": "x", "logStreamNamePrefixes": ["s"]}
    events = (await logs.call("StartLiveTail", **members))["responseStream"]
    name, start = await anext(events)
    assert (name, start["logGroupIdentifiers"]) == ("sessionStart", [KEY.arn])
    logs.print("x one", "y", "x two", stream="s1")
    logs.print("x other", stream="t")
    await logs.messages()
    name, update = await anext(events)
    assert name == "sessionUpdate"
    assert [(one["message"], one["logStreamName"]) for one in update["sessionResults"]] == [
        ("x one", "s1"),
        ("x two", "s1"),
    ]
    assert update["sessionResults"][0]["logGroupIdentifier"] == f"{ACCOUNT}:{GROUP}"
    logs.print(*("x" for _ in range(10)))
    await logs.messages()
    _name, update = await anext(events)
    assert (len(update["sessionResults"]), update["sessionMetadata"]) == (3, {"sampled": True})
    _name, update = await anext(events)
    assert (update["sessionResults"], update["sessionMetadata"]) == ([], {"sampled": False})
    await events.aclose()
    assert logs.store.taps._taps == tuple(tap for tap in logs.store.taps._taps if type(tap).__name__ != "_Session")


async def test_live_tails_that_are_refused(logs: LogsLab) -> None:
    await group(logs)
    for members in (
        {"logGroupIdentifiers": [GROUP]},
        {"logGroupIdentifiers": [KEY._replace(name="/none").arn]},
        {"logGroupIdentifiers": [KEY.arn], "logStreamNames": ["a"], "logStreamNamePrefixes": ["b"]},
        {"logGroupIdentifiers": [KEY.arn], "logEventFilterPattern": "{ $.x"},
    ):
        code, _message = await logs.refusal("StartLiveTail", **members)
        assert code in ("InvalidParameterException", "ResourceNotFoundException")
