"""Responses read by botocore."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import cbor2
import orjson
import pytest

from lambent.wire import models, serializer
from lambent.wire.errors import AwsError, not_built
from lambent.wire.router import Route

from .oracle import REQUEST_ID, answered, refused

ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello"
MOMENT = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)
FRACTION = datetime(2024, 2, 29, 12, 30, 15, 250_000, tzinfo=UTC)

ROUND_TRIPS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "lambda",
        "CreateFunction",
        {
            "FunctionName": "hello",
            "FunctionArn": ARN,
            "CodeSize": 12,
            "Description": "",
            "LastModified": "2024-02-29T12:30:15.000+0000",
            "Environment": {"Variables": {"A": "<&>"}},
            "Architectures": ["x86_64"],
            "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            "Layers": [],
        },
    ),
    ("lambda", "ListFunctions", {"Functions": [{"FunctionName": "a"}, {"FunctionName": "b"}], "NextMarker": "m"}),
    (
        "lambda",
        "GetAccountSettings",
        {"AccountLimit": {"TotalCodeSize": 1 << 40}, "AccountUsage": {"FunctionCount": 0}},
    ),
    ("lambda", "ListTags", {"Tags": {"a": "b"}}),
    ("lambda", "CreateEventSourceMapping", {"UUID": "u", "LastModified": FRACTION, "BatchSize": 10}),
    (
        "s3",
        "ListBuckets",
        {"Buckets": [{"Name": "b", "CreationDate": MOMENT}], "Owner": {"DisplayName": "d", "ID": "1"}},
    ),
    (
        "s3",
        "ListObjectsV2",
        {
            "Name": "b",
            "Contents": [{"Key": "a&b\r<", "Size": 3, "LastModified": FRACTION, "ETag": '"e"'}, {"Key": "c"}],
            "CommonPrefixes": [{"Prefix": "p/"}],
            "KeyCount": 3,
            "IsTruncated": False,
        },
    ),
    ("s3", "PutObject", {"ETag": '"e"', "VersionId": "v", "BucketKeyEnabled": True}),
    ("s3", "HeadObject", {"ContentLength": 3, "LastModified": MOMENT, "Metadata": {"a": "b"}, "ContentType": "x/y"}),
    ("s3", "GetBucketTagging", {"TagSet": [{"Key": "a", "Value": ""}]}),
    (
        "s3",
        "GetObjectAttributes",
        {"LastModified": MOMENT, "ObjectParts": {"Parts": [{"PartNumber": 1}]}, "ObjectSize": 0},
    ),
    ("s3", "CompleteMultipartUpload", {"Location": "http://x", "Bucket": "b", "Key": "k", "ETag": '"e"'}),
    (
        "s3",
        "GetBucketAcl",
        {
            "Grants": [{"Grantee": {"Type": "CanonicalUser", "ID": "1"}, "Permission": "FULL_CONTROL"}],
            "Owner": {"ID": "1"},
        },
    ),
    (
        "sqs",
        "ReceiveMessage",
        {
            "Messages": [
                {
                    "MessageId": "m",
                    "Body": "é",
                    "Attributes": {"SentTimestamp": "1"},
                    "MessageAttributes": {"b": {"BinaryValue": b"\x00\xff", "DataType": "Binary"}},
                }
            ]
        },
    ),
    ("sns", "CreateTopic", {"TopicArn": "arn"}),
    ("sns", "GetTopicAttributes", {"Attributes": {"a": "b", "c": ""}}),
    (
        "iam",
        "GetRole",
        {
            "Role": {
                "Path": "/",
                "RoleName": "r",
                "RoleId": "AROA",
                "Arn": "arn",
                "CreateDate": MOMENT,
                "Tags": [{"Key": "k", "Value": "v"}],
            }
        },
    ),
    ("iam", "ListUsers", {"Users": [], "IsTruncated": False}),
    (
        "sts",
        "AssumeRole",
        {"Credentials": {"AccessKeyId": "a", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": MOMENT}},
    ),
    (
        "ec2",
        "DescribeInstances",
        {
            "Reservations": [
                {
                    "ReservationId": "r",
                    "Instances": [
                        {
                            "InstanceId": "i-1",
                            "LaunchTime": FRACTION,
                            "State": {"Code": 16, "Name": "running"},
                            "Tags": [{"Key": "k", "Value": "v"}, {"Key": "l", "Value": ""}],
                            "EbsOptimized": False,
                        }
                    ],
                }
            ],
            "NextToken": "n",
        },
    ),
    (
        "dynamodb",
        "GetItem",
        {
            "Item": {
                "a": {"S": "1"},
                "b": {"B": b"\x00"},
                "s": {"BS": [b"1", b"2"]},
                "d": {"M": {"l": {"L": [{"N": "1"}, {"NULL": True}, {"M": {}}]}}},
            },
            "ConsumedCapacity": {"TableName": "t", "CapacityUnits": 0.5},
        },
    ),
    ("dynamodb", "DescribeTable", {"Table": {"TableName": "t", "CreationDateTime": FRACTION, "ItemCount": 0}}),
    (
        "logs",
        "GetLogEvents",
        {"events": [{"timestamp": 1, "message": "m\n", "ingestionTime": 2}], "nextForwardToken": "f/1"},
    ),
    ("kms", "Encrypt", {"CiphertextBlob": b"\x00\xff", "KeyId": "k"}),
    ("kms", "DescribeKey", {"KeyMetadata": {"KeyId": "k", "CreationDate": FRACTION, "Enabled": True}}),
    ("events", "PutEvents", {"FailedEntryCount": 0, "Entries": [{"EventId": "e"}]}),
]


@pytest.mark.parametrize(
    ("service", "operation", "result"), ROUND_TRIPS, ids=[f"{case[0]}.{case[1]}" for case in ROUND_TRIPS]
)
def test_what_is_answered_is_read_by_botocore(service: str, operation: str, result: dict[str, Any]) -> None:
    assert answered(service, operation, result) == result


@pytest.mark.parametrize("protocol", models.service("cloudwatch").protocols)
def test_cloudwatch_is_answered_in_every_protocol_of_its_model(protocol: str) -> None:
    result = {
        "Label": "m",
        "Datapoints": [{"Timestamp": MOMENT, "Average": 1.0, "Unit": "Count", "ExtendedStatistics": {"p99": 2.0}}],
    }
    assert answered("cloudwatch", "GetMetricStatistics", result, protocol) == result


@pytest.mark.parametrize("protocol", models.service("cloudwatch").protocols)
def test_results_that_are_empty(protocol: str) -> None:
    assert answered("cloudwatch", "PutMetricData", {}, protocol) == {}


def _respond(service: str, operation: str, result: dict[str, Any]) -> Any:
    known = models.service(service)
    route = Route(known, known.operation(operation), known.protocol)
    return serializer.serialize(route, result, REQUEST_ID)


def test_a_payload_is_the_body_as_it_is() -> None:
    response = _respond("lambda", "Invoke", {"StatusCode": 200, "Payload": b"\x00 raw", "ExecutedVersion": "$LATEST"})
    assert response.body == b"\x00 raw"
    assert response.status == 200
    headers = dict(response.headers)
    assert headers["X-Amz-Executed-Version"] == "$LATEST"
    assert headers["x-amzn-RequestId"] == REQUEST_ID
    assert headers["Content-Type"] == "application/json"
    assert "StatusCode" not in headers


@pytest.mark.parametrize("status", [202, 204])
def test_the_status_code_of_an_invocation_is_the_status(status: int) -> None:
    assert _respond("lambda", "Invoke", {"StatusCode": status}).status == status


def test_statuses_are_the_models() -> None:
    assert _respond("lambda", "CreateFunction", {}).status == 201
    assert _respond("lambda", "TagResource", {}).status == 204
    assert _respond("s3", "DeleteObject", {}).status == 204


def test_a_content_type_of_the_result_wins() -> None:
    known = models.service("s3")
    route = Route(known, known.operation("GetObject"), known.protocol)
    response = serializer.serialize(route, {"Body": b"x", "ContentType": "image/png"}, REQUEST_ID)
    assert [value for name, value in response.headers if name.lower() == "content-type"] == ["image/png"]
    assert response.body == b"x"


def test_absent_and_unknown_members_are_left_out() -> None:
    assert orjson.loads(_respond("lambda", "CreateFunction", {"Role": None, "Nonsense": 1, "Handler": "h"}).body) == {
        "Handler": "h"
    }


def test_json_versions_are_the_services() -> None:
    assert dict(_respond("sqs", "ListQueues", {}).headers)["Content-Type"] == "application/x-amz-json-1.0"
    assert dict(_respond("logs", "GetLogEvents", {}).headers)["Content-Type"] == "application/x-amz-json-1.1"


# Errors

ERRORS = [
    ("lambda", "GetFunction", "ResourceNotFoundException", 404, "ResourceNotFoundException", None),
    ("lambda", "Invoke", "TooManyRequestsException", 429, "TooManyRequestsException", None),
    ("lambda", "Invoke", "ServiceException", 500, "ServiceException", None),
    ("dynamodb", "PutItem", "ConditionalCheckFailedException", 400, "ConditionalCheckFailedException", None),
    ("logs", "PutLogEvents", "ResourceNotFoundException", 400, "ResourceNotFoundException", None),
    ("kms", "Encrypt", "NotFoundException", 400, "NotFoundException", None),
    ("s3", "GetObject", "NoSuchKey", 404, "NoSuchKey", None),
    ("sns", "Publish", "NotFoundException", 404, "NotFound", None),
    ("iam", "GetRole", "NoSuchEntityException", 404, "NoSuchEntity", None),
    ("sts", "AssumeRole", "ExpiredTokenException", 400, "ExpiredTokenException", None),
    ("ec2", "DescribeInstances", "InvalidInstanceID.NotFound", 400, "InvalidInstanceID.NotFound", None),
    *[
        ("cloudwatch", "GetDashboard", "DashboardNotFoundError", 404, "ResourceNotFound", protocol)
        for protocol in models.service("cloudwatch").protocols
    ],
]


@pytest.mark.parametrize(("service", "operation", "code", "status", "read_as", "protocol"), ERRORS)
def test_errors_are_read_by_botocore(
    service: str, operation: str, code: str, status: int, read_as: str, protocol: str | None
) -> None:
    found = refused(service, operation, AwsError(code, "It <failed> & “so” on"), protocol)
    assert found["Error"]["Code"] == read_as
    assert found["Error"]["Message"] == "It <failed> & “so” on"
    assert found["ResponseMetadata"]["HTTPStatusCode"] == status
    assert found["ResponseMetadata"]["RequestId"] == REQUEST_ID


@pytest.mark.parametrize("protocol", [models.JSON, models.CBOR])
def test_services_that_left_the_query_protocol_keep_its_codes(protocol: str) -> None:
    found = refused("cloudwatch", "GetDashboard", AwsError("DashboardNotFoundError", "gone"), protocol)
    assert found["Error"]["Code"] == "ResourceNotFound"
    assert found["Error"]["QueryErrorCode"] == "DashboardNotFoundError"
    assert found["Error"]["Type"] == "Sender"


@pytest.mark.parametrize("service", ["lambda", "s3", "dynamodb", "iam", "ec2"])
def test_what_is_not_built_is_named_in_every_protocol(service: str) -> None:
    operation = sorted(models.service(service).operation_names)[0]
    found = refused(service, operation, not_built(f"{service}.{operation}"))
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert found["Error"]["Code"] == ("NotImplemented" if service == "s3" else "NotImplementedException")
    assert f"{service}.{operation}" in found["Error"]["Message"]


def _lambda_error(error: AwsError) -> tuple[int, dict[str, str], bytes]:
    known = models.service("lambda")
    route = Route(known, known.operation("Invoke"), known.protocol)
    response = serializer.serialize_error(route, error, REQUEST_ID)
    return response.status, dict(response.headers), response.body


@pytest.mark.parametrize(
    ("code", "status", "body"),
    [
        ("ResourceNotFoundException", 404, {"Type": "User", "Message": "m"}),
        ("ResourceConflictException", 409, {"Type": "User", "message": "m"}),
        ("InvalidParameterValueException", 400, {"Type": "User", "message": "m"}),
        ("TooManyRequestsException", 429, {"Type": "User", "message": "m"}),
        ("ServiceException", 500, {"Type": "Service", "Message": "m"}),
        ("EC2ThrottledException", 502, {"Type": "Service", "Message": "m"}),
        ("PreconditionFailedException", 412, {"Type": "User", "message": "m"}),
        ("InvalidRequestContentException", 400, {"Type": "User", "message": "m"}),
        ("SnapStartException", 400, {"Type": "User", "Message": "m"}),
    ],
)
def test_bodies_of_lambda_errors(code: str, status: int, body: dict[str, str]) -> None:
    found_status, headers, found = _lambda_error(AwsError(code, "m"))
    assert (found_status, orjson.loads(found)) == (status, body)
    assert headers["x-amzn-ErrorType"] == code
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("code", ["ValidationException", "SerializationException", "UnknownOperationException"])
def test_errors_before_the_service_have_no_type(code: str) -> None:
    assert orjson.loads(_lambda_error(AwsError(code, "m", status=400))[2]) == {"message": "m"}


def test_access_denied_has_a_null_message() -> None:
    status, _headers, body = _lambda_error(AwsError("AccessDeniedException", None, status=403))
    assert (status, orjson.loads(body)) == (403, {"Message": None})


def test_further_fields_stand_in_the_body_or_in_their_headers() -> None:
    error = AwsError("TooManyRequestsException", "m", Reason="ConcurrentInvocationLimitExceeded", retryAfterSeconds="7")
    _status, headers, body = _lambda_error(error)
    assert orjson.loads(body)["Reason"] == "ConcurrentInvocationLimitExceeded"
    assert "retryAfterSeconds" not in orjson.loads(body)
    assert headers["Retry-After"] == "7"


def test_fields_of_other_protocols() -> None:
    known = models.service("dynamodb")
    route = Route(known, known.operation("PutItem"), known.protocol)
    error = AwsError("ConditionalCheckFailedException", "m", Item={"a": {"B": b"x"}})
    response = serializer.serialize_error(route, error, REQUEST_ID)
    assert orjson.loads(response.body)["Item"] == {"a": {"B": "eA=="}}
    found = refused("s3", "GetObject", AwsError("NoSuchKey", "m", Key="a&b"))
    assert found["Error"]["Key"] == "a&b"


def test_errors_without_a_route_are_json() -> None:
    response = serializer.serialize_error(None, AwsError("InvalidAction", "m", status=400), REQUEST_ID)
    assert orjson.loads(response.body) == {"message": "m"}
    assert dict(response.headers)["x-amzn-ErrorType"] == "InvalidAction"


@pytest.mark.parametrize("text", ["a\x00b", "\x1b[0m", "\ufffe", "\ud800", "]]>"])
def test_text_that_xml_cannot_hold_leaves_the_document_whole(text: str) -> None:
    known = models.service("s3")
    route = Route(known, known.operation("ListBuckets"), known.protocol)
    ElementTree.fromstring(serializer.serialize(route, {"Buckets": [{"Name": text}]}, REQUEST_ID).body)
    ElementTree.fromstring(serializer.serialize_error(route, AwsError("NoSuchKey", text, Key=text), REQUEST_ID).body)


@pytest.mark.parametrize(("service", "protocol"), [("lambda", None), ("s3", None), ("cloudwatch", models.CBOR)])
def test_messages_with_lone_surrogates_are_answered(service: str, protocol: str | None) -> None:
    known = models.service(service)
    route = Route(known, known.operation(sorted(known.operation_names)[0]), protocol or known.protocol)
    response = serializer.serialize_error(route, AwsError("InvalidAction", "\ud800", status=400), REQUEST_ID)
    assert response.status == 400


def test_cbor_times_are_tagged_numbers() -> None:
    known = models.service("cloudwatch")
    route = Route(known, known.operation("GetMetricStatistics"), models.CBOR)
    response = serializer.serialize(route, {"Datapoints": [{"Timestamp": MOMENT, "Sum": 1}]}, REQUEST_ID)
    assert dict(response.headers)["smithy-protocol"] == "rpc-v2-cbor"
    assert cbor2.loads(response.body) == {"Datapoints": [{"Timestamp": MOMENT, "Sum": 1.0}]}
