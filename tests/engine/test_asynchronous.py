"""Asynchronous invocation with real functions: accepted at once, delivered by Lambda's rules, whatever happens."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from support import Server, create, eventually, invoke

ARN = "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-0123456789abcdef0"
TELL = """
import json, os
def handler(event, context):
    seen = {"event": event, "id": context.aws_request_id, "trace": os.environ["_X_AMZN_TRACE_ID"]}
    print("SEEN " + json.dumps(seen | {"arn": context.invoked_function_arn, "client": str(context.client_context)}))
    if isinstance(event, dict) and event.get("fail"):
        raise ValueError("intentional")
    return {"got": event}
"""


def seen(server: Server, name: str) -> list[dict[str, Any]]:
    """What a function of `TELL` has printed."""
    with urllib.request.urlopen(f"{server.endpoint}/_lambent/logs/{name}") as answer:
        lines = [event["message"] for event in json.loads(answer.read())["events"]]
    return [json.loads(line.removeprefix("SEEN ")) for line in lines if line.startswith("SEEN ")]


def send(client: Any, name: str, payload: Any, **members: Any) -> str:
    """The id of the request."""
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(payload), **members)
    assert answer["StatusCode"] == 202
    assert answer["Payload"].read() == b""
    assert not {"ExecutedVersion", "FunctionError", "LogResult"} & answer.keys()
    return str(answer["ResponseMetadata"]["RequestId"])


def test_an_event_is_accepted_and_runs_once(server: Server, lambda_client: Any, name: str) -> None:
    create(lambda_client, name, TELL)
    request_id = send(lambda_client, name, {"a": "ü"}, LogType="Tail")
    assert eventually(lambda: seen(server, name))
    invoke(lambda_client, name, "after")
    first, after = seen(server, name)
    assert (first["event"], first["id"], first["client"]) == ({"a": "ü"}, request_id, "None")
    assert first["trace"].startswith("Root=1-")
    assert after["event"] == "after"


def test_invoke_async_does_the_same(server: Server, lambda_client: Any, name: str) -> None:
    create(lambda_client, name, TELL)
    answer = lambda_client.invoke_async(FunctionName=name, InvokeArgs=b'{"old": true}')
    assert (answer["Status"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (202, 202)
    assert eventually(lambda: seen(server, name))[0]["event"] == {"old": True}


def test_what_is_wrong_with_an_event_is_said_at_once(lambda_client: Any, name: str) -> None:
    exceptions = lambda_client.exceptions
    with pytest.raises(exceptions.ResourceNotFoundException):
        lambda_client.invoke(FunctionName=name, InvocationType="Event")
    create(lambda_client, name, TELL)
    with pytest.raises(exceptions.InvalidRequestContentException):
        lambda_client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{no")
    with pytest.raises(exceptions.ResourceNotFoundException):
        lambda_client.invoke(FunctionName=name, InvocationType="Event", Qualifier="7")
    for limit, call in (
        (1_048_576, lambda data: lambda_client.invoke(FunctionName=name, InvocationType="Event", Payload=data)),
        (262_144, lambda data: lambda_client.invoke_async(FunctionName=name, InvokeArgs=data)),
    ):
        call(b'"' + b"x" * (limit - 2) + b'"')
        with pytest.raises(botocore.exceptions.ClientError) as refusal:
            call(b'"' + b"x" * (limit - 1) + b'"')
        error = refusal.value.response
        assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == (
            "RequestEntityTooLargeException",
            413,
        )
        assert f"(limit {limit} bytes)" in error["Error"]["Message"]


def test_a_function_is_told_how_an_event_ended(server: Server, lambda_client: Any, name: str) -> None:
    create(lambda_client, f"{name}-w", TELL)
    create(lambda_client, name, TELL)
    target = {"Destination": f"arn:aws:lambda:us-east-1:000000000000:function:{name}-w"}
    lambda_client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnSuccess": target, "OnFailure": target}
    )
    good = send(lambda_client, name, {"fail": False})
    bad = send(lambda_client, name, {"fail": True})
    assert eventually(lambda: len(seen(server, f"{name}-w")) == 2)
    told = {one["event"]["requestContext"]["requestId"]: one for one in seen(server, f"{name}-w")}
    traces = {one["id"]: one["trace"].partition(";")[0] for one in seen(server, name)}
    assert len(traces) == 2
    context = {
        "functionArn": f"arn:aws:lambda:us-east-1:000000000000:function:{name}:$LATEST",
        "approximateInvokeCount": 1,
    }
    for request_id in (good, bad):
        assert told[request_id]["trace"].partition(";")[0] == traces[request_id]
        assert told[request_id]["event"].pop("timestamp")[-1] == "Z"
    assert told[good]["event"] == {
        "version": "1.0",
        "requestContext": {"requestId": good, "condition": "Success", **context},
        "requestPayload": {"fail": False},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
        "responsePayload": {"got": {"fail": False}},
    }
    failure = told[bad]["event"]
    assert failure.pop("responsePayload").items() >= {"errorMessage": "intentional", "errorType": "ValueError"}.items()
    assert failure == {
        "version": "1.0",
        "requestContext": {"requestId": bad, "condition": "RetriesExhausted", **context},
        "requestPayload": {"fail": True},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
    }


def test_nothing_reserved_fails_an_event_at_once(server: Server, lambda_client: Any, name: str) -> None:
    create(lambda_client, f"{name}-w", TELL)
    create(lambda_client, name, TELL)
    lambda_client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    target = {"Destination": f"arn:aws:lambda:us-east-1:000000000000:function:{name}-w"}
    lambda_client.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnFailure": target})
    request_id = send(lambda_client, name, 1)
    [told] = eventually(lambda: seen(server, f"{name}-w"))
    context = told["event"]["requestContext"]
    assert (context["requestId"], context["condition"]) == (request_id, "ZeroReservedConcurrency")
    assert seen(server, name) == []


MARK = """
import os, time
def handler(event, context):
    time.sleep(0.1)
    open(f"/mnt/files/{context.aws_request_id}", "a").write("x")
"""


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    directory = tmp_path / "marks"
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)
    (tmp_path / "config.toml").write_text(f'[file_systems]\n"{ARN}" = "{directory}"\n')
    return directory


def test_no_accepted_event_is_lost_by_kill_9(tmp_path: Path, marks: Path) -> None:
    """Each event leaves a mark outside of the server; those that were under way may run twice."""
    settings = ("--config", str(tmp_path / "config.toml"))
    server = Server(tmp_path / "data", *settings)
    client = server.client()
    create(client, "f", MARK, FileSystemConfigs=[{"Arn": ARN, "LocalMountPath": "/mnt/files"}])
    client.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=2)
    accepted: set[str] = set()
    for _ in range(2):
        accepted |= {send(client, "f", number) for number in range(12)}
        server.kill()
        server = Server(tmp_path / "data", *settings)
        client = server.client()
    assert eventually(lambda: {path.name for path in marks.iterdir()} >= accepted, 60)
    assert {path.name for path in marks.iterdir()} == accepted
    assert server.stop() == 0
