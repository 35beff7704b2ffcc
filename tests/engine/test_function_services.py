"""Functions use services that are not Lambda's, with the SDK as it is: what the default set-up answers."""

from __future__ import annotations

from typing import Any

import pytest

from sdk import boto3_layer
from support import Server, create, invoke

CODE = """
import boto3, http.client
def s3():
    client = boto3.client("s3")
    client.create_bucket(Bucket="from-a-function")
    client.put_object(Bucket="from-a-function", Key="a/b c", Body=b"stored")
    return client.get_object(Bucket="from-a-function", Key="a/b c")["Body"].read().decode()
def sqs():
    client = boto3.client("sqs")
    url = client.create_queue(QueueName="from-a-function")["QueueUrl"]
    client.send_message(QueueUrl=url, MessageBody="sent")
    return client.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]["Body"]
def dynamodb():
    key = {"AttributeName": "key", "KeyType": "HASH"}
    kind = {"AttributeName": "key", "AttributeType": "S"}
    table = boto3.resource("dynamodb").create_table(
        TableName="from-a-function", KeySchema=[key], AttributeDefinitions=[kind], BillingMode="PAY_PER_REQUEST")
    table.put_item(Item={"key": "1", "value": "put"})
    return table.get_item(Key={"key": "1"})["Item"]["value"]
def secretsmanager():
    client = boto3.client("secretsmanager")
    client.create_secret(Name="from-a-function", SecretString="secret")
    return client.get_secret_value(SecretId="from-a-function")["SecretString"]
def reset():
    there = http.client.HTTPConnection("127.0.0.1", 4566)
    statuses = []
    for path in ("/moto-api/reset", "/moto%2Dapi/reset", "/moto-api/"):
        for service in ("s3", "sqs", "dynamodb"):
            scope = f"AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=b"
            there.request("POST", path, headers={"Authorization": scope})
            answer = there.getresponse()
            answer.read()
            statuses.append(answer.status)
    return statuses
def handler(event, context):
    return globals()[event]()
"""


@pytest.fixture
def function(lambda_client: Any, name: str) -> str:
    layer = {"ZipFile": boto3_layer("s3", "sqs", "dynamodb", "secretsmanager")}
    arn = lambda_client.publish_layer_version(LayerName="sdk", Content=layer)["LayerVersionArn"]
    create(lambda_client, name, CODE, Layers=[arn], Timeout=120, MemorySize=512)
    return name


def test_boto3_in_a_function_uses_the_services_of_the_default_set_up(
    server: Server, lambda_client: Any, function: str
) -> None:
    wanted = {"s3": "stored", "sqs": "sent", "dynamodb": "put", "secretsmanager": "secret"}
    assert {service: invoke(lambda_client, function, service)[0] for service in wanted} == wanted
    outside = server.client("s3").get_object(Bucket="from-a-function", Key="a/b c")
    assert outside["Body"].read() == b"stored"
    assert all(status >= 400 for status in invoke(lambda_client, function, "reset")[0])
    assert server.client("sqs").list_queues()["QueueUrls"], "and nothing was reset"
