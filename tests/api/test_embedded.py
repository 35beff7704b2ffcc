"""Services that are not native, on the default set-up: moto behind the endpoint, and its calls into real functions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support import Server, create, eventually

ECHO = "import json\ndef handler(event, context):\n    print('GOT ' + json.dumps(event))\n    return {'echo': event}\n"
ACCOUNT = "000000000000"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("embedded") / "data", "--isolation", "process")
    yield running
    assert running.stop() == 0


def children(server: Server) -> list[int]:
    listed = subprocess.run(
        ["pgrep", "-P", str(server.process.pid), "-f", "lambent.embedded"], capture_output=True, text=True
    )
    return [int(line) for line in listed.stdout.split()]


def got(server: Server, name: str) -> list[Any]:
    """The events that the function has printed."""
    try:
        events = server.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="GOT")[
            "events"
        ]
    except ClientError:
        return []
    return [json.loads(event["message"].partition("GOT ")[2]) for event in events]


def arn(name: str) -> str:
    return f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"


def test_queues_tables_and_secrets_answer_and_the_accounts_are_ours(own: Server) -> None:
    queue = own.client("sqs").create_queue(QueueName="q")["QueueUrl"]
    assert queue == f"{own.endpoint}/{ACCOUNT}/q"
    own.client("sqs").send_message(QueueUrl=queue, MessageBody="hello")
    assert own.client("sqs").receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "hello"
    other = own.client("sqs", account="111122223333", region="eu-west-1")
    assert other.create_queue(QueueName="q")["QueueUrl"] == f"{own.endpoint}/111122223333/q"
    assert own.client("dynamodb").list_tables()["TableNames"] == []
    assert own.client("secretsmanager").create_secret(Name="s", SecretString="v")["ARN"].split(":")[4] == ACCOUNT


def test_sns_invokes_a_function(own: Server, name: str) -> None:
    create(own.client(), name, ECHO)
    sns = own.client("sns")
    topic = sns.create_topic(Name=name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn(name))
    sent = sns.publish(
        TopicArn=topic,
        Message="hello",
        Subject="s",
        MessageAttributes={"kind": {"DataType": "String", "StringValue": "greeting"}},
    )
    (event,) = eventually(lambda: got(own, name))
    record = event["Records"][0]
    assert (record["EventSource"], record["EventVersion"]) == ("aws:sns", "1.0")
    assert record["EventSubscriptionArn"].startswith(topic)
    notification = record["Sns"]
    assert (notification["Message"], notification["Subject"], notification["TopicArn"]) == ("hello", "s", topic)
    assert notification["MessageId"] == sent["MessageId"]
    assert notification["MessageAttributes"] == {"kind": {"Type": "String", "Value": "greeting"}}


def test_a_filter_policy_keeps_messages_from_a_function(own: Server, name: str) -> None:
    create(own.client(), name, ECHO)
    sns = own.client("sns")
    topic = sns.create_topic(Name=name)["TopicArn"]
    subscribed = sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn(name), ReturnSubscriptionArn=True)
    policy = json.dumps({"kind": ["wanted"]})
    sns.set_subscription_attributes(
        SubscriptionArn=subscribed["SubscriptionArn"], AttributeName="FilterPolicy", AttributeValue=policy
    )
    for kind in ("unwanted", "wanted"):
        attributes = {"kind": {"DataType": "String", "StringValue": kind}}
        sns.publish(TopicArn=topic, Message=kind, MessageAttributes=attributes)
    events = eventually(lambda: got(own, name))
    assert [event["Records"][0]["Sns"]["Message"] for event in events] == ["wanted"]


def test_a_rule_of_eventbridge_invokes_a_function_and_feeds_a_queue(own: Server, name: str) -> None:
    create(own.client(), name, ECHO)
    events, sqs = own.client("events"), own.client("sqs")
    queue = sqs.create_queue(QueueName=name[:70])["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=name[:60], EventPattern=json.dumps({"source": ["shop"]}))
    missing = {"Id": "0", "Arn": arn("nobody")}
    events.put_targets(Rule=name[:60], Targets=[missing, {"Id": "1", "Arn": arn(name)}, {"Id": "2", "Arn": queue_arn}])
    events.put_events(Entries=[{"Source": "shop", "DetailType": "order", "Detail": json.dumps({"id": 7})}])
    (event,) = eventually(lambda: got(own, name))
    assert (event["source"], event["detail-type"], event["detail"]) == ("shop", "order", {"id": 7})
    assert event["account"] == ACCOUNT
    assert event["time"].endswith("Z")
    assert json.loads(sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"])["detail"] == {"id": 7}


def test_what_a_target_is_sent_can_be_chosen(own: Server, name: str) -> None:
    create(own.client(), name, ECHO)
    events = own.client("events")
    events.put_rule(Name=name[:60], EventPattern=json.dumps({"source": [name]}))
    transformer = {"InputPathsMap": {"who": "$.detail.who"}, "InputTemplate": '{"hello": <who>}'}
    targets = [{"Input": '{"constant": 1}'}, {"InputPath": "$.detail"}, {"InputTransformer": transformer}]
    targets = [{"Id": str(number), "Arn": arn(name)} | target for number, target in enumerate(targets)]
    events.put_targets(Rule=name[:60], Targets=targets)
    events.put_events(Entries=[{"Source": name, "DetailType": "d", "Detail": '{"who": "ada"}'}])
    assert eventually(lambda: len(got(own, name)) == 3)
    assert sorted(map(str, got(own, name))) == ["{'constant': 1}", "{'hello': 'ada'}", "{'who': 'ada'}"]


def test_a_state_machine_runs_functions_and_calls_services(own: Server, name: str) -> None:
    create(own.client(), name, ECHO)
    queue = own.client("sqs").create_queue(QueueName=name[:70])["QueueUrl"]
    definition = {
        "StartAt": "Direct",
        "States": {
            "Direct": {"Type": "Task", "Resource": arn(name), "ResultPath": "$.direct", "Next": "Invoke"},
            "Invoke": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke",
                "Parameters": {"FunctionName": name, "Payload.$": "$"},
                "ResultSelector": {"answer.$": "$.Payload.echo.n"},
                "ResultPath": "$.invoked",
                "Next": "Send",
            },
            "Send": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sqs:sendMessage",
                "Parameters": {"QueueUrl": queue, "MessageBody.$": "States.JsonToString($.invoked)"},
                "End": True,
            },
        },
    }
    states = own.client("stepfunctions")
    role = f"arn:aws:iam::{ACCOUNT}:role/states"
    machine = states.create_state_machine(name=name[:60], definition=json.dumps(definition), roleArn=role)
    run = states.start_execution(stateMachineArn=machine["stateMachineArn"], input='{"n": 5}')["executionArn"]
    done = eventually(lambda: states.describe_execution(executionArn=run)["status"] != "RUNNING", 30)
    assert done
    assert states.describe_execution(executionArn=run)["status"] == "SUCCEEDED", states.get_execution_history(
        executionArn=run
    )["events"][-1]
    assert own.client("sqs").receive_message(QueueUrl=queue)["Messages"][0]["Body"] == '{"answer":5}'


PROXY = "import json\ndef handler(event, context):\n    return {'statusCode': 201, 'headers': {'X-Mine': 'yes'}, 'body': json.dumps(event)}\n"


def fetch(url: str, data: bytes | None = None, **headers: str) -> tuple[int, Any, Any]:
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.headers, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.loads(error.read())


def test_a_rest_api_answers_by_a_function(own: Server, name: str) -> None:
    create(own.client(), name, PROXY)
    rest = own.client("apigateway")
    api = rest.create_rest_api(name=name)["id"]
    root = rest.get_resources(restApiId=api)["items"][0]["id"]
    item = rest.create_resource(restApiId=api, parentId=root, pathPart="{id}")["id"]
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn(name)}/invocations"
    place = {"restApiId": api, "resourceId": item, "httpMethod": "ANY"}
    rest.put_method(**place, authorizationType="NONE")
    rest.put_integration(**place, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    rest.create_deployment(restApiId=api, stageName="v1")
    status, headers, event = fetch(f"{own.endpoint}/restapis/{api}/v1/_user_request_/7?a=1&a=2", b"hi", X_In="b")
    assert (status, headers["X-Mine"]) == (201, "yes")
    assert (event["resource"], event["path"], event["httpMethod"], event["body"]) == ("/{id}", "/7", "POST", "hi")
    assert event["pathParameters"] == {"id": "7"}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"]}
    assert event["requestContext"]["stage"] == "v1"
    assert not any("moto" in header.lower() or "lambent" in header.lower() for header in event["headers"])
    host = f"{api}.execute-api.us-east-1.amazonaws.com"
    assert fetch(f"{own.endpoint}/v1/8", Host=host)[2]["pathParameters"] == {"id": "8"}
    assert fetch(f"{own.endpoint}/v1/8/9", Host=host)[0] == 403
    assert fetch(f"{own.endpoint}/v2/8", Host=host)[0] == 403


def test_an_http_api_answers_by_a_function(own: Server, name: str) -> None:
    create(own.client(), name, ECHO)
    http = own.client("apigatewayv2")
    api = http.create_api(Name=name, ProtocolType="HTTP")["ApiId"]
    settings = {"IntegrationType": "AWS_PROXY", "IntegrationUri": arn(name), "PayloadFormatVersion": "2.0"}
    target = "integrations/" + http.create_integration(ApiId=api, **settings)["IntegrationId"]
    http.create_route(ApiId=api, RouteKey="GET /things/{id}", Target=target)
    http.create_route(ApiId=api, RouteKey="GET /secret", Target=target, AuthorizationType="AWS_IAM")
    http.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    base = f"{own.endpoint}/_aws/execute-api/{api}"
    status, _headers, answer = fetch(f"{base}/things/a%20b?x=1&x=2", Cookie="c=1; d=2")
    assert status == 200
    event = answer["echo"]
    assert (event["version"], event["routeKey"], event["rawPath"]) == ("2.0", "GET /things/{id}", "/things/a b")
    assert (event["pathParameters"], event["queryStringParameters"]) == ({"id": "a b"}, {"x": "1,2"})
    assert event["cookies"] == ["c=1", "d=2"]
    assert event["requestContext"]["http"]["method"] == "GET"
    assert fetch(f"{base}/elsewhere")[0] == 404
    assert fetch(f"{base}/secret")[0] == 501
    assert fetch(f"{own.endpoint}/_aws/execute-api/nobody/x")[0] == 404


def test_a_secret_is_rotated_by_a_function(own: Server, name: str) -> None:
    create(own.client(), name, ECHO)
    secrets = own.client("secretsmanager")
    secrets.create_secret(Name=name, SecretString="old")
    secrets.rotate_secret(SecretId=name, RotationLambdaARN=arn(name), RotationRules={"AutomaticallyAfterDays": 30})
    steps = [event["Step"] for event in eventually(lambda: got(own, name))]
    assert steps == ["createSecret", "setSecret", "testSecret", "finishSecret"]


def test_what_moto_does_not_have_says_so(own: Server) -> None:
    with pytest.raises(ClientError) as caught:
        own.client("sqs").list_message_move_tasks(SourceArn=f"arn:aws:sqs:us-east-1:{ACCOUNT}:nowhere")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 404, 501)
    with pytest.raises(ClientError) as caught:
        own.client("gamelift").list_builds()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "gamelift" in str(caught.value)


def test_it_starts_at_the_first_call_and_ends_with_the_server(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--isolation", "process")
    assert children(server) == []
    server.client().list_functions()
    assert children(server) == []
    server.client("sqs").list_queues()
    (child,) = children(server)
    assert (tmp_path / "data/embedded.sock").stat().st_mode & 0o777 == 0o600
    assert server.stop() == 0
    assert gone(child)
    assert not (tmp_path / "data/embedded.sock").exists()


def test_it_ends_with_a_server_that_is_killed(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--isolation", "process")
    server.client("sqs").list_queues()
    (child,) = children(server)
    server.kill()
    assert gone(child)


def gone(pid: int) -> bool:
    return bool(
        eventually(
            lambda: not Path(f"/proc/{pid}").exists() or b"State:\tZ" in Path(f"/proc/{pid}/status").read_bytes()
        )
    )


def test_when_it_dies_the_log_says_so_and_the_next_call_starts_it_anew(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--isolation", "process")
    server.client("sqs").create_queue(QueueName="q")
    (child,) = children(server)
    os.kill(child, signal.SIGKILL)
    log = tmp_path / "data.log"
    assert eventually(lambda: "What they held in memory is gone" in log.read_text())
    with pytest.raises(ClientError, match=r"it is started again \d+ s from now"):  # not at once, should it die again
        server.client("sqs").list_queues()
    status = status_of(server)
    assert (status["embedded"]["state"], status["embedded"]["starts"]) == ("ended", 1)
    answer = eventually(lambda: queues(server), 30)
    assert "QueueUrls" not in answer
    assert children(server) not in ([], [child])
    assert server.stop() == 0


def queues(server: Server) -> Any:
    try:
        return server.client("sqs").list_queues()
    except ClientError:
        return None


def status_of(server: Server) -> Any:
    with urllib.request.urlopen(f"{server.endpoint}/_lambent/status") as answer:
        return json.load(answer)


def test_status_says_where_each_service_is(own: Server) -> None:
    own.client("sqs").list_queues()
    rows = {row["service"]: row for row in status_of(own)["services"]}
    assert (rows["lambda"]["mode"], rows["lambda"]["durable"]) == ("native", True)
    assert rows["lambda"]["where"] == str(own.data_dir)
    assert (rows["sqs"]["mode"], rows["sqs"]["durable"]) == ("embedded", False)
    assert rows["sqs"]["where"] == f"memory of process {children(own)[0]}"
    assert rows["(others)"]["mode"] == "embedded"


@pytest.mark.parametrize("path", ["/_localstack/health", "/health"])
def test_what_tools_of_localstack_wait_for(own: Server, path: str) -> None:
    with urllib.request.urlopen(own.endpoint + path) as answer:
        health = json.load(answer)
    assert health["edition"] == "lambent"
    assert health["services"]["lambda"] == "running"


def test_the_same_call_goes_to_an_upstream(own: Server, tmp_path: Path) -> None:
    services = f"sqs={own.endpoint} s3={own.endpoint},credentials=env:KEYS default=none"
    os.environ["KEYS"] = "111122223333:secret"
    try:
        server = Server(tmp_path / "data", "--isolation", "process", "--services", services)
    finally:
        del os.environ["KEYS"]
    server.client("sqs").create_queue(QueueName="through")
    assert own.client("sqs").get_queue_url(QueueName="through")["QueueUrl"]
    with pytest.raises(ClientError, match="does not implement the service 'sns'"):
        server.client("sns").list_topics()
    assert children(server) == []
    assert server.stop() == 0
