"""CloudWatch Logs over the wire: what functions print, asked for by boto3, the AWS CLI and `lambent logs`."""

from __future__ import annotations

import json
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from support import RUNTIMES, Server, clean_environment, create, eventually, invoke, run

PRINTS = "def handler(event, context):\n    print('hello', event)\n    print('ERROR of mine')\n"
STREAM = re.compile(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}")
BIN = Path(sys.executable).parent


def environment() -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    return clean_environment() | keys


def aws(server: Server, *arguments: str) -> Any:
    command = [BIN / "aws", "--endpoint-url", server.endpoint, "--output", "json", "logs", *arguments]
    return json.loads(run(*command, env=environment()) or "null")


def messages(logs: Any, group: str, **members: Any) -> list[str]:
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, **members)
    return [event["message"] for page in pages for event in page["events"]]


def test_boto3_reads_what_a_function_printed(server: Server) -> None:
    functions, logs = server.client(), server.client("logs")
    create(functions, "logs-boto3", PRINTS)
    _answer, response = invoke(functions, "logs-boto3", 1)
    group = "/aws/lambda/logs-boto3"
    assert messages(logs, group, filterPattern="ERROR -hello") == ["ERROR of mine\n"]
    [stream] = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True)["logStreams"]
    assert STREAM.fullmatch(stream["logStreamName"])
    head = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)
    request = response["ResponseMetadata"]["RequestId"]
    kinds = [event["message"].split()[0] for event in head["events"]]
    assert kinds == ["INIT_START", "START", "hello", "ERROR", "END", "REPORT"]
    assert head["events"][1]["message"].startswith(f"START RequestId: {request} Version: $LATEST\n")
    invoke(functions, "logs-boto3", 2)
    more = logs.get_log_events(
        logGroupName=group, logStreamName=stream["logStreamName"], nextToken=head["nextForwardToken"]
    )
    assert [event["message"] for event in more["events"]][1] == "hello 2\n"
    with pytest.raises(logs.exceptions.ResourceNotFoundException, match="The specified log group does not exist"):
        logs.filter_log_events(logGroupName="/aws/lambda/none")
    with pytest.raises(logs.exceptions.InvalidParameterException, match="Invalid filter pattern"):
        logs.filter_log_events(logGroupName=group, filterPattern="{ $.x")
    with pytest.raises(botocore.exceptions.ClientError, match=r"Lambent does not implement logs\.CreateExportTask"):
        logs.create_export_task(logGroupName=group, fromTime=0, to=1, destination="bucket")


def test_a_function_that_subscribes_to_another_ones_logs(server: Server) -> None:
    functions, logs = server.client(), server.client("logs")
    unpack = "import base64, gzip\n\ndef handler(event, context):\n"
    unpack += "    print('got', gzip.decompress(base64.b64decode(event['awslogs']['data'])).decode())\n"
    create(functions, "logs-source", PRINTS)
    answer = create(functions, "logs-taker", unpack)
    logs.create_log_group(logGroupName="/aws/lambda/logs-source")
    group = {"logGroupName": "/aws/lambda/logs-source"}
    logs.put_subscription_filter(
        **group, filterName="errors", filterPattern="ERROR", destinationArn=answer["FunctionArn"]
    )
    invoke(functions, "logs-source", 1)

    def got() -> list[str]:
        try:
            return messages(logs, "/aws/lambda/logs-taker", filterPattern="got")
        except logs.exceptions.ResourceNotFoundException:
            return []

    eventually(lambda: bool(got()))
    [line] = got()
    content = json.loads(line.removeprefix("got "))
    assert (content["logGroup"], content["subscriptionFilters"]) == ("/aws/lambda/logs-source", ["errors"])
    assert [event["message"] for event in content["logEvents"]] == ["ERROR of mine\n"]
    with pytest.raises(logs.exceptions.InvalidParameterException, match="without end"):
        logs.put_subscription_filter(
            logGroupName="/aws/lambda/logs-taker",
            filterName="x",
            filterPattern="",
            destinationArn=answer["FunctionArn"],
        )


def test_live_tail_with_boto3_and_the_aws_cli(server: Server) -> None:
    logs = server.client("logs", inject_host_prefix=False)
    logs.create_log_group(logGroupName="tailed")
    logs.create_log_stream(logGroupName="tailed", logStreamName="s")
    [found] = logs.describe_log_groups(logGroupNamePrefix="tailed")["logGroups"]
    command = [BIN / "aws", "--endpoint-url", server.endpoint, "logs", "start-live-tail"]
    cli = subprocess.Popen(
        [*map(str, command), "--log-group-identifiers", found["logGroupArn"]],
        stdout=subprocess.PIPE,
        text=True,
        env=environment() | {"AWS_DISABLE_HOST_PREFIX_INJECTION": "true", "PYTHONUNBUFFERED": "1"},
    )
    assert cli.stdout is not None
    events = iter(logs.start_live_tail(logGroupIdentifiers=[found["logGroupArn"]])["responseStream"])
    assert "sessionStart" in next(events)
    seen: list[str] = []
    with cli:
        while not seen:  # the CLI says nothing when it has begun
            now = int(time.time() * 1000)
            line = [{"timestamp": now, "message": "live"}]
            logs.put_log_events(logGroupName="tailed", logStreamName="s", logEvents=line)
            seen = [event["message"] for event in next(events)["sessionUpdate"]["sessionResults"]]
            if seen:
                for _update in range(30):
                    logs.put_log_events(logGroupName="tailed", logStreamName="s", logEvents=line)
                    if select.select([cli.stdout], [], [], 1)[0]:
                        break
        assert set(seen) == {"live"}
        assert "live" in cli.stdout.readline()
        cli.kill()


def test_events_become_metrics(server: Server) -> None:
    functions, logs, metrics = server.client(), server.client("logs"), server.client("cloudwatch")
    directive = {"Namespace": "Embedded", "Dimensions": [["Kind"]], "Metrics": [{"Name": "took", "Unit": "Seconds"}]}
    event = {"_aws": {"CloudWatchMetrics": [directive]}, "Kind": "a", "took": 2.5}
    code = f"import json\n\ndef handler(event, context):\n    print(json.dumps({event!r}))\n"
    create(functions, "logs-embedded", code)
    logs.create_log_group(logGroupName="/aws/lambda/logs-embedded")
    to = {"metricName": "reports", "metricNamespace": "Filtered", "metricValue": "1"}
    logs.put_metric_filter(
        logGroupName="/aws/lambda/logs-embedded", filterName="f", filterPattern="REPORT", metricTransformations=[to]
    )
    invoke(functions, "logs-embedded", 1)

    def names(namespace: str) -> list[str]:
        return [metric["MetricName"] for metric in metrics.list_metrics(Namespace=namespace)["Metrics"]]

    eventually(lambda: names("Embedded") == ["took"] and names("Filtered") == ["reports"])


def test_a_function_with_a_log_group_of_its_own(server: Server) -> None:
    functions, logs = server.client(), server.client("logs")
    create(functions, "logs-own", PRINTS, LoggingConfig={"LogFormat": "JSON", "LogGroup": "/own/group"})
    invoke(functions, "logs-own", 1)
    [report] = messages(logs, "/own/group", filterPattern='{ $.type = "platform.report" }')
    assert json.loads(report)["record"]["status"] == "success"
    logs.delete_log_group(logGroupName="/own/group")
    invoke(functions, "logs-own", 2)  # the same environment goes on printing
    assert any("hello 2" in message for message in messages(logs, "/own/group"))


def test_json_logs_are_filtered_by_their_levels(server: Server) -> None:
    functions, logs = server.client(), server.client("logs")
    code = "import logging\n\nlog = logging.getLogger()\n\ndef handler(event, context):\n"
    code += "    print('printed')\n    log.info('quiet')\n    log.warning('loud')\n    return 1 / event\n"
    levels = {"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "WARN"}
    create(functions, "logs-levels", code, LoggingConfig=levels)
    invoke(functions, "logs-levels", 1)
    printed, loud = messages(logs, "/aws/lambda/logs-levels")
    assert printed == "printed\n"
    event = json.loads(loud)
    assert (event["level"], event["message"]) == ("WARNING", "loud")
    functions.invoke(FunctionName="logs-levels", Payload=b"0")
    kinds = [
        json.loads(one).get("type") or json.loads(one)["level"] for one in messages(logs, "/aws/lambda/logs-levels")[3:]
    ]
    assert kinds == ["WARNING", "ERROR", "platform.runtimeDone", "platform.report"]


def test_the_aws_cli(server: Server) -> None:
    group = "cli/group"
    aws(server, "create-log-group", "--log-group-name", group, "--tags", "a=b")
    aws(server, "create-log-stream", "--log-group-name", group, "--log-stream-name", "s")
    now = int(time.time() * 1000)
    events = json.dumps([{"timestamp": now + n, "message": f'{{"n": {n}}}'} for n in range(5)])
    name = ("--log-group-name", group)
    aws(server, "put-log-events", *name, "--log-stream-name", "s", "--log-events", events)
    found = aws(server, "filter-log-events", *name, "--filter-pattern", "{ $.n >= 2 }", "--page-size", "1")
    assert [json.loads(event["message"])["n"] for event in found["events"]] == [2, 3, 4]
    assert len(aws(server, "get-log-events", *name, "--log-stream-name", "s", "--limit", "2")["events"]) == 2
    aws(server, "put-retention-policy", *name, "--retention-in-days", "30")
    [shown] = aws(server, "describe-log-groups", "--log-group-name-prefix", group)["logGroups"]
    assert shown["retentionInDays"] == 30
    assert aws(server, "list-tags-for-resource", "--resource-arn", shown["logGroupArn"]) == {"tags": {"a": "b"}}


def test_following_as_the_cli_and_as_lambent_do(server: Server) -> None:
    """`aws logs tail --follow`, of version 2 of the CLI, asks for pages from the last timestamp on, and leaves out ids
    that it has seen."""
    functions, logs = server.client(), server.client("logs")
    create(functions, "logs-follow", PRINTS)
    invoke(functions, "logs-follow", 0)
    command = [BIN / "lambent", "logs", "logs-follow", "--follow", "--endpoint-url", server.endpoint]
    follower = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    seen: dict[str, str] = {}
    arguments: dict[str, Any] = {"logGroupName": "/aws/lambda/logs-follow", "interleaved": True, "startTime": 0}
    for number in range(1, 4):
        invoke(functions, "logs-follow", number)
        page = {}
        while "nextToken" in (page := logs.filter_log_events(**arguments, limit=3, **_token(page))) or page["events"]:
            seen |= {event["eventId"]: event["message"] for event in page["events"]}
            arguments["startTime"] = max((event["timestamp"] for event in page["events"]), default=0)
            if "nextToken" not in page:
                break
    assert [text for text in seen.values() if text.startswith("hello")] == [f"hello {n}\n" for n in range(4)]
    assert follower.stdout is not None
    try:
        for line in follower.stdout:
            if "hello 3" in line:
                break
    finally:
        follower.terminate()
        follower.wait()
        follower.stdout.close()


def _token(page: dict[str, Any]) -> dict[str, str]:
    return {"nextToken": page["nextToken"]} if "nextToken" in page else {}


LOGS_FOR_EVER = """
import time
def handler(event, context):
    n = 0
    while True:
        for _ in range(100):
            print("line", n)
            n += 1
        time.sleep(0.005)
"""


def test_kill_9_while_a_function_prints_loses_the_last_moment_only(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--runtimes-dir", str(RUNTIMES))
    create(server.client(), "f", LOGS_FOR_EVER, Timeout=60)
    group = "/aws/lambda/f"
    caller = subprocess.Popen(
        [BIN / "lambent", "invoke", "f", "--endpoint-url", server.endpoint],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    logs = server.client("logs")

    def count() -> int:
        """How many lines are known to lie in the files: asking writes what waits."""
        try:
            [stream] = logs.describe_log_streams(logGroupName=group)["logStreams"]
        except (botocore.exceptions.ClientError, ValueError):
            return 0
        tail = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], limit=1)["events"]
        return int(tail[-1]["message"].split()[1]) if tail[-1]["message"].startswith("line") else 0

    assert eventually(lambda: count() > 2000, 30)
    known = count()
    server.kill()
    caller.wait()
    [file] = [*(tmp_path / "data/logs").glob("*/*.log")]
    with open(file, "ab") as torn:
        torn.write(b"00000fff 12345678\n{")  # had the kernel written half of the last block
    server = Server(tmp_path / "data", "--runtimes-dir", str(RUNTIMES))
    try:
        lines = messages(server.client("logs"), group, filterPattern="line")
        numbers = [int(line.split()[1]) for line in lines]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > known
        create(server.client(), "g", PRINTS)
        invoke(server.client(), "g", 1)
        assert "hello 1\n" in messages(server.client("logs"), "/aws/lambda/g")
    finally:
        assert server.stop() == 0
