"""Requests written by botocore, read back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import cbor2
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.wire import models, parser, router
from lambent.wire.errors import AwsError

from .oracle import client_request, plain_request, received

ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello"
MOMENT = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)

ROUND_TRIPS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "lambda",
        "CreateFunction",
        {
            "FunctionName": "hello",
            "Runtime": "python3.12",
            "Role": "arn:aws:iam::000000000000:role/r",
            "Handler": "index.handler",
            "Code": {"ZipFile": b"PK\x05\x06" + bytes(18)},
            "Description": 'Grüße "quoted" \\ \u2028',
            "Timeout": 3,
            "MemorySize": 128,
            "Publish": False,
            "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": ["sg-1"]},
            "Environment": {"Variables": {"A": "1", "B": ""}},
            "Tags": {"team": "blue"},
            "Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:l:1"],
            "FileSystemConfigs": [{"Arn": "arn:x", "LocalMountPath": "/mnt/a"}],
            "Architectures": ["arm64"],
            "EphemeralStorage": {"Size": 512},
            "SnapStart": {"ApplyOn": "None"},
        },
    ),
    ("lambda", "Invoke", {"FunctionName": ARN, "Qualifier": "$LATEST", "InvocationType": "Event", "Payload": b"\x00{"}),
    ("lambda", "Invoke", {"FunctionName": "hello", "LogType": "Tail", "ClientContext": "e30="}),
    ("lambda", "GetFunction", {"FunctionName": f"{ARN}:live", "Qualifier": "live"}),
    ("lambda", "ListFunctions", {"Marker": "a+b/c=&d", "MaxItems": 7, "FunctionVersion": "ALL"}),
    ("lambda", "ListFunctions", {}),
    ("lambda", "TagResource", {"Resource": ARN, "Tags": {"a b": "c/d"}}),
    ("lambda", "UntagResource", {"Resource": ARN, "TagKeys": ["a", "b c", "ü&="]}),
    ("lambda", "ListTags", {"Resource": ARN}),
    ("lambda", "UpdateFunctionConfiguration", {"FunctionName": "hello", "Environment": {"Variables": {}}}),
    ("lambda", "GetLayerVersion", {"LayerName": "l", "VersionNumber": 12}),
    ("lambda", "GetLayerVersionByArn", {"Arn": "arn:aws:lambda:us-east-1:000000000000:layer:l:1"}),
    ("lambda", "DeleteFunctionEventInvokeConfig", {"FunctionName": "hello", "Qualifier": "1"}),
    (
        "lambda",
        "CreateEventSourceMapping",
        {"EventSourceArn": "arn:aws:kinesis:x", "StartingPositionTimestamp": MOMENT, "FunctionName": "hello"},
    ),
    (
        "s3",
        "PutObject",
        {
            "Bucket": "b",
            "Key": "a/b c/é+%.txt",
            "Body": b"\x00\xffdata",
            "ContentType": "text/plain",
            "CacheControl": "no-cache",
            "ContentLength": 6,
            "Metadata": {"one": "1", "two": "zwei"},
            "Expires": MOMENT,
            "BucketKeyEnabled": True,
        },
    ),
    (
        "s3",
        "GetObject",
        {"Bucket": "b", "Key": "x/y//z", "Range": "bytes=0-1", "IfModifiedSince": MOMENT, "PartNumber": 2},
    ),
    (
        "s3",
        "ListObjectsV2",
        {"Bucket": "b", "Prefix": "a/", "MaxKeys": 5, "FetchOwner": True, "ContinuationToken": "x=="},
    ),
    ("s3", "CreateMultipartUpload", {"Bucket": "b", "Key": "k", "StorageClass": "STANDARD"}),
    (
        "s3",
        "CompleteMultipartUpload",
        {"Bucket": "b", "Key": "k", "UploadId": "u", "MultipartUpload": {"Parts": [{"ETag": '"e"', "PartNumber": 1}]}},
    ),
    (
        "s3",
        "PutBucketTagging",
        {"Bucket": "b", "Tagging": {"TagSet": [{"Key": "a<", "Value": "b&"}, {"Key": "c", "Value": ""}]}},
    ),
    (
        "s3",
        "PutBucketNotificationConfiguration",
        {
            "Bucket": "b",
            "NotificationConfiguration": {
                "LambdaFunctionConfigurations": [
                    {
                        "Id": "n",
                        "LambdaFunctionArn": ARN,
                        "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
                        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}]}},
                    }
                ]
            },
        },
    ),
    ("s3", "DeleteObjects", {"Bucket": "b", "Delete": {"Objects": [{"Key": "1"}, {"Key": "2"}], "Quiet": True}}),
    ("s3", "ListBuckets", {}),
    ("s3", "HeadBucket", {"Bucket": "b"}),
    (
        "sqs",
        "SendMessage",
        {
            "QueueUrl": "http://127.0.0.1:4566/000000000000/q",
            "MessageBody": "hi",
            "DelaySeconds": 0,
            "MessageAttributes": {"n": {"DataType": "Binary", "BinaryValue": b"\x01\x02"}},
        },
    ),
    ("sqs", "CreateQueue", {"QueueName": "q", "Attributes": {"VisibilityTimeout": "30"}, "tags": {"a": "b"}}),
    (
        "sns",
        "Publish",
        {
            "TopicArn": "arn:aws:sns:x",
            "Message": "a b+c&d=é",
            "MessageAttributes": {
                "k": {"DataType": "String", "StringValue": "v"},
                "b": {"DataType": "Binary", "BinaryValue": b"\xff\x00"},
            },
        },
    ),
    (
        "sns",
        "PublishBatch",
        {"TopicArn": "t", "PublishBatchRequestEntries": [{"Id": str(n), "Message": "m"} for n in range(11)]},
    ),
    ("iam", "CreateRole", {"RoleName": "r", "AssumeRolePolicyDocument": "{}", "Tags": [{"Key": "a", "Value": "b"}]}),
    ("iam", "ListUsers", {"MaxItems": 3}),
    ("iam", "DeleteRole", {"RoleName": "r"}),
    (
        "sts",
        "AssumeRole",
        {"RoleArn": "arn:r", "RoleSessionName": "s", "DurationSeconds": 900, "TransitiveTagKeys": ["a"]},
    ),
    ("sts", "GetCallerIdentity", {}),
    (
        "ec2",
        "DescribeInstances",
        {
            "Filters": [{"Name": "tag:a", "Values": ["x", "y"]}, {"Name": "b", "Values": ["z"]}],
            "InstanceIds": ["i-1", "i-2"],
            "DryRun": False,
            "MaxResults": 5,
        },
    ),
    (
        "ec2",
        "RunInstances",
        {
            "ImageId": "ami-1",
            "MinCount": 1,
            "MaxCount": 1,
            "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "k", "Value": "v"}]}],
            "BlockDeviceMappings": [{"DeviceName": "/dev/sda", "Ebs": {"VolumeSize": 8, "Encrypted": True}}],
            "SecurityGroupIds": ["sg-1"],
        },
    ),
    (
        "dynamodb",
        "PutItem",
        {
            "TableName": "t",
            "Item": {
                "id": {"S": "1"},
                "data": {"B": b"\x00\x01"},
                "many": {"BS": [b"a", b"b"]},
                "deep": {"M": {"l": {"L": [{"N": "1"}, {"NULL": True}, {"BOOL": False}, {"M": {}}]}}},
            },
        },
    ),
    (
        "logs",
        "PutLogEvents",
        {"logGroupName": "g", "logStreamName": "s", "logEvents": [{"timestamp": 1, "message": "m"}]},
    ),
    ("kms", "Encrypt", {"KeyId": "k", "Plaintext": b"\x00\xfe", "EncryptionContext": {"a": "b"}}),
    ("kms", "ImportKeyMaterial", {"KeyId": "k", "ImportToken": b"t", "EncryptedKeyMaterial": b"m", "ValidTo": MOMENT}),
    ("events", "PutEvents", {"Entries": [{"Time": MOMENT, "Source": "s", "Detail": "{}"}]}),
]


@pytest.mark.parametrize(
    ("service", "operation", "parameters"), ROUND_TRIPS, ids=[f"{case[0]}.{case[1]}" for case in ROUND_TRIPS]
)
def test_what_botocore_sends_is_read_back(service: str, operation: str, parameters: dict[str, Any]) -> None:
    route, found = received(service, client_request(service, operation, parameters))
    assert route.operation.name == operation
    assert found == parameters


METRICS = {
    "Namespace": "n",
    "MetricData": [
        {"MetricName": "m", "Value": 1.5, "Timestamp": MOMENT, "Dimensions": [{"Name": "d", "Value": "v"}]},
        {"MetricName": "o", "Values": [1.0, 2.0], "StorageResolution": 1},
    ],
}


@pytest.mark.parametrize("protocol", models.service("cloudwatch").protocols)
def test_cloudwatch_is_read_in_every_protocol_of_its_model(protocol: str) -> None:
    route, found = received("cloudwatch", client_request("cloudwatch", "PutMetricData", METRICS, protocol))
    assert route.protocol == protocol
    assert found == METRICS


def _refusal(service: str, method: str, target: str, headers: dict[str, str], body: bytes) -> AwsError:
    request = plain_request(method, target, headers, body)
    with pytest.raises(AwsError) as caught:
        parser.parse(router.route(request, service), request, body)
    return caught.value


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"\xff", b'"x"', b'{"Timeout": "x"}', b'{"Timeout": 1.5}', b'{"Layers": {}}', b'{"Timeout": true}', b'{"Timeout": 2147483648}',
     b'{"Timeout": 1e300}', b'{"Timeout": "\xd9\xa3"}', b'{"Timeout": NaN}', b'{"Description": "\\ud800"}',
     b'{"Environment": []}', b'{"Code": {"ZipFile": "!"}}', b'{"Publish": 1}', b'{"Environment": {"Variables": 1}}',
     b"[" * 100_000, b'{"Code":' * 50_000],
)  # fmt: skip
def test_bodies_of_the_wrong_kind_are_serialization_exceptions(body: bytes) -> None:
    error = _refusal("lambda", "POST", "/2015-03-31/functions", {}, body)
    assert (error.code, error.status) == ("SerializationException", 400)


def test_unknown_members_and_nulls_are_ignored() -> None:
    request = plain_request("POST", "/2015-03-31/functions", {}, b'{"Nonsense": [1], "Role": null, "Handler": "h"}')
    assert parser.parse(router.route(request, "lambda"), request, request.body) == {"Handler": "h"}


def test_values_nested_too_deeply_are_refused() -> None:
    value: Any = {"S": "x"}
    for _ in range(100):
        value = {"L": [value]}
    body = orjson.dumps({"TableName": "t", "Item": {"a": value}})
    error = _refusal("dynamodb", "POST", "/", {"X-Amz-Target": "DynamoDB_20120810.PutItem"}, body)
    assert error.code == "SerializationException"
    assert error.message is not None
    assert "too deeply" in error.message


@pytest.mark.parametrize("depth", [70, 200, 100_000])
def test_query_names_nested_too_deeply_do_no_harm(depth: int) -> None:
    name = "Tags.member.1" + ".a" * depth
    request = plain_request("POST", "/", {}, f"Action=CreateRole&RoleName=r&{name}=1".encode())
    found = parser.parse(router.route(request, "iam"), request, request.body)
    assert found["RoleName"] == "r"


@pytest.mark.parametrize(
    "body",
    [
        b"<a",
        b"",
        b"\x00",
        b'<!DOCTYPE x [<!ENTITY a "b">]><Tagging>&a;</Tagging>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x [<!ENTITY a "b">]><Tagging>&a;</Tagging>'.encode("utf-16"),
        b"<a>" * 50_000,
    ],
)
def test_broken_xml_is_malformed(body: bytes) -> None:
    request = plain_request("PUT", "/b?tagging", {}, body)
    route = router.route(request, "s3")
    if not body:
        assert parser.parse(route, request, body) == {"Bucket": "b"}
        return
    with pytest.raises(AwsError) as caught:
        parser.parse(route, request, body)
    assert caught.value.code == "MalformedXML"


def test_xml_nested_deeply_is_not_followed_into() -> None:
    depth = 20_000
    body = b"<Tagging><TagSet><Tag><Key>" + b"<k>" * depth + b"</k>" * depth + b"</Key></Tag></TagSet></Tagging>"
    request = plain_request("PUT", "/b?tagging", {}, body)
    found = parser.parse(router.route(request, "s3"), request, body)
    assert found["Tagging"] == {"TagSet": [{"Key": ""}]}


def test_a_query_with_too_many_fields_is_malformed() -> None:
    body = b"Action=ListUsers&" + b"a=1&" * 30_000
    error = _refusal("iam", "POST", "/", {}, body)
    assert error.code == "MalformedQueryString"


def test_several_values_of_a_repeated_header_are_one_list() -> None:
    headers = {"X-Amz-Object-Attributes": "ETag, ObjectSize,StorageClass"}
    request = plain_request("GET", "/b/k?attributes", headers)
    found = parser.parse(router.route(request, "s3"), request, b"")
    assert found["ObjectAttributes"] == ["ETag", "ObjectSize", "StorageClass"]


# Whatever arrives, nothing but an AwsError comes out.

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_NAMES = st.sampled_from(["FunctionName", "Code", "ZipFile", "Timeout", "Environment", "Variables", "Layers", "VpcConfig",
                          "SubnetIds", "TableName", "Item", "M", "L", "B", "S", "Timestamp", "MetricData", "x"])  # fmt: skip
_DOCUMENTS = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=20
)
_TARGETS = st.sampled_from(
    [
        ("lambda", "POST", "/2015-03-31/functions", ""),
        ("lambda", "PUT", "/2015-03-31/functions/f/configuration", ""),
        ("lambda", "POST", "/2015-03-31/event-source-mappings", ""),
        ("lambda", "GET", "/2015-03-31/functions?MaxItems=x", ""),
        ("dynamodb", "POST", "/", "DynamoDB_20120810.PutItem"),
        ("kms", "POST", "/", "TrentService.ImportKeyMaterial"),
        ("logs", "POST", "/", "Logs_20140328.PutLogEvents"),
        ("monitoring", "POST", "/service/GraniteServiceVersion20100801/operation/PutMetricData", ""),
        ("sns", "POST", "/", ""),
        ("ec2", "POST", "/", ""),
        ("s3", "PUT", "/b?tagging", ""),
        ("s3", "PUT", "/b/k", ""),
    ]
)


def _attempt(where: tuple[str, str, str, str], headers: dict[str, str], body: bytes) -> None:
    service, method, target, header = where
    given_headers = headers | ({"X-Amz-Target": header} if header else {})
    request = plain_request(method, target, given_headers, body)
    try:
        route = router.route(request, service)
        assert isinstance(parser.parse(route, request, body), dict)
    except AwsError as error:
        assert (error.status or 400) < 600


@settings(max_examples=300, deadline=None)
@given(_TARGETS, st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(where: tuple[str, str, str, str], body: bytes) -> None:
    _attempt(where, {}, body)


@settings(max_examples=300, deadline=None)
@given(_TARGETS, _DOCUMENTS, st.booleans())
def test_any_document_is_parsed_or_refused(where: tuple[str, str, str, str], document: Any, cbor: bool) -> None:
    try:
        body = cbor2.dumps(document) if cbor else orjson.dumps(document)
    except (orjson.JSONEncodeError, OverflowError):  # integers that JSON does not carry
        body = repr(document).encode("utf-8", "replace")
    _attempt(where, {}, body)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["sns.Publish", "ec2.RunInstances", "iam.CreateRole", "sts.AssumeRole"]), st.lists(
    st.tuples(st.text(alphabet="TagsMemberKeyValuentry.0123456789٣²", max_size=30), st.text(max_size=10)), max_size=10))  # fmt: skip
def test_any_query_is_parsed_or_refused(operation: str, pairs: list[tuple[str, str]]) -> None:
    service, _, action = operation.partition(".")
    text = "&".join([f"Action={action}", *(f"{name}={value}" for name, value in pairs)])
    _attempt((service, "POST", "/", ""), {}, text.encode("utf-8", "surrogatepass"))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["x-amz-client-context", "expires", "content-length", "if-modified-since",
    "x-amz-meta-a", "content-md5", "x-amz-server-side-encryption-bucket-key-enabled", "range"]),
    st.text(alphabet=st.characters(max_codepoint=255), max_size=30)))  # fmt: skip
def test_any_headers_are_parsed_or_refused(headers: dict[str, str]) -> None:
    _attempt(("s3", "PUT", "/b/k", ""), headers, b"")
    _attempt(("s3", "GET", "/b/k", ""), headers, b"")
