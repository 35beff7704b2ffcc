"""Which operation a request asks for."""

from __future__ import annotations

import string
from typing import Any

import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.wire import models, router
from lambent.wire.errors import AwsError
from lambent.wire.router import Route

from .oracle import client_request, plain_request

ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello:live"
ENCODED_ARN = ARN.replace(":", "%3A")


def _route(method: str, target: str, service: str | None = "lambda", **headers: str) -> Route:
    given_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return router.route(plain_request(method, target, given_headers), service)


def _refusal(method: str, target: str, service: str | None = "lambda", **headers: str) -> AwsError:
    with pytest.raises(AwsError) as caught:
        _route(method, target, service, **headers)
    return caught.value


def _dummy(shape: Shape) -> Any:
    """A value that fits where a required member stands outside the body."""
    if isinstance(shape, StructureShape):
        return {}
    if isinstance(shape, ListShape):
        return [_dummy(shape.member)]
    if isinstance(shape, MapShape):
        return {"k": _dummy(shape.value)}
    if shape.metadata.get("enum"):
        return shape.metadata["enum"][0]
    if shape.serialization.get("hostLabel"):
        return "a"
    return {"integer": 1, "long": 1, "boolean": True, "timestamp": 0, "blob": b"x"}.get(shape.type_name, "a:b/c d")


def _dummies(service: str, operation: str) -> dict[str, Any]:
    shape = models.service(service).operation(operation).input_shape
    return {} if shape is None else {name: _dummy(shape.members[name]) for name in shape.required_members}


def _all(service: str) -> list[tuple[str, str]]:
    return [(service, name) for name in sorted(models.service(service).operation_names)]


# Sent to the same place: those that were superseded, and the one that lives at another host.
_SENT_AS = {
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "ListDirectoryBuckets": "ListBuckets",
}


@pytest.mark.parametrize(
    ("service", "operation"),
    [case for name in ("lambda", "s3", "apigateway", "scheduler", "pipes", "xray") for case in _all(name)],
)
def test_every_operation_is_found_by_what_botocore_sends(service: str, operation: str) -> None:
    parameters = _dummies(service, operation)
    route = router.route(client_request(service, operation, parameters), service)
    assert route.operation.name == _SENT_AS.get(operation, operation)
    shape = route.operation.input_shape
    labels = {} if shape is None else {
        member.serialization["name"]: parameters[name]
        for name, member in shape.members.items()
        if member.serialization.get("location") == "uri"
    }  # fmt: skip
    assert route.labels == {name: str(value) for name, value in labels.items()}


@pytest.mark.parametrize(
    ("method", "target", "operation", "labels"),
    [
        ("GET", "/2015-03-31/functions", "ListFunctions", {}),
        ("GET", "/2015-03-31/functions/", "ListFunctions", {}),
        ("GET", "/2015-03-31/functions/?MaxItems=1", "ListFunctions", {}),
        ("GET", "/2015-03-31/functions/hello/", "GetFunction", {"FunctionName": "hello"}),
        ("GET", f"/2015-03-31/functions/{ENCODED_ARN}?x-id=GetFunction", "GetFunction", {"FunctionName": ARN}),
        ("GET", f"/2015-03-31/functions/{ARN}", "GetFunction", {"FunctionName": ARN}),
        ("GET", "/2015-03-31/functions/a%2Fb", "GetFunction", {"FunctionName": "a/b"}),
        ("GET", "/2015-03-31/functions/a+b", "GetFunction", {"FunctionName": "a+b"}),
        ("POST", f"/2015-03-31/functions/{ENCODED_ARN}/invocations", "Invoke", {"FunctionName": ARN}),
        ("GET", "/2018-10-31/layers?find=LayerVersion&Arn=a", "GetLayerVersionByArn", {}),
        ("GET", "/2018-10-31/layers?find=Other", "ListLayers", {}),
        ("GET", "/2018-10-31/layers", "ListLayers", {}),
        ("DELETE", "/2017-03-31/tags/x", "UntagResource", {"Resource": "x"}),
    ],
)
def test_lambda_paths(method: str, target: str, operation: str, labels: dict[str, str]) -> None:
    route = _route(method, target)
    assert (route.operation.name, dict(route.labels)) == (operation, labels)


@pytest.mark.parametrize(
    ("method", "target", "headers", "operation", "labels"),
    [
        ("GET", "/", {}, "ListBuckets", {}),
        ("PUT", "/b", {}, "CreateBucket", {"Bucket": "b"}),
        ("PUT", "/b/", {}, "CreateBucket", {"Bucket": "b"}),
        ("PUT", "/b/k", {}, "PutObject", {"Bucket": "b", "Key": "k"}),
        ("PUT", "/b/k/", {}, "PutObject", {"Bucket": "b", "Key": "k/"}),
        ("PUT", "/b//", {}, "PutObject", {"Bucket": "b", "Key": "/"}),
        ("PUT", "/b//k//l%2F%20", {}, "PutObject", {"Bucket": "b", "Key": "/k//l/ "}),
        ("PUT", "/b/k", {"x_amz_copy_source": "c/d"}, "CopyObject", {"Bucket": "b", "Key": "k"}),
        ("PUT", "/b/k?partNumber=1&uploadId=u", {}, "UploadPart", {"Bucket": "b", "Key": "k"}),
        ("PUT", "/b/k?partNumber=1&uploadId=u", {"x_amz_copy_source": "c/d"}, "UploadPartCopy", {"Bucket": "b", "Key": "k"}),
        ("GET", "/b/k?uploadId=u", {}, "ListParts", {"Bucket": "b", "Key": "k"}),
        ("GET", "/b?list-type=2", {}, "ListObjectsV2", {"Bucket": "b"}),
        ("GET", "/b", {}, "ListObjects", {"Bucket": "b"}),
        ("GET", "/b?location", {}, "GetBucketLocation", {"Bucket": "b"}),
        ("POST", "/b/k?uploads", {}, "CreateMultipartUpload", {"Bucket": "b", "Key": "k"}),
    ],
)  # fmt: skip
def test_s3_paths(method: str, target: str, headers: dict[str, str], operation: str, labels: dict[str, str]) -> None:
    route = _route(method, target, "s3", **headers)
    assert (route.operation.name, dict(route.labels)) == (operation, labels)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/2015-03-31/nonsense"),
        ("PATCH", "/2015-03-31/functions"),
        ("PUT", "/2015-03-31/functions"),
        ("GET", "/2015-03-31/functions/a/b/c/d"),
        ("GET", "/"),
        ("GET", "*"),
        ("OPTIONS", "/2015-03-31/functions"),
        ("POST", "/2015-03-31/functions//invocations"),
        ("GET", "/2015-03-31/functions/a/configuration/%00"),
    ],
)
def test_paths_that_the_model_does_not_hold(method: str, target: str) -> None:
    error = _refusal(method, target)
    assert (error.code, error.status) == ("UnknownOperationException", 404)


@pytest.mark.parametrize(
    "target", ["DynamoDB_20120810.Nonsense", "DynamoDB_20120810.", "x", "", ".", "Other_1.PutItem", "é"]
)
def test_targets_that_the_model_does_not_hold(target: str) -> None:
    error = _refusal("POST", "/", "dynamodb", x_amz_target=target)
    assert (error.code, error.status) == ("UnknownOperationException", 400)


def test_a_service_of_one_name_and_two_models() -> None:
    assert _route("POST", "/", "dynamodb", x_amz_target="DynamoDB_20120810.GetItem").service.name == "dynamodb"
    streams = _route("POST", "/", "dynamodb", x_amz_target="DynamoDBStreams_20120810.GetRecords")
    assert (streams.service.name, streams.operation.name) == ("dynamodbstreams", "GetRecords")


@pytest.mark.parametrize(
    ("service", "operation", "scope"),
    [
        ("efs", "DescribeFileSystems", "elasticfilesystem"),
        ("opensearch", "ListDomainNames", "es"),
        ("sesv2", "ListEmailIdentities", "ses"),
        ("ses", "ListIdentities", "ses"),
        ("ses", "ListIdentities", "email"),
        ("bedrock-runtime", "InvokeModel", "bedrock"),
        ("apigatewayv2", "GetApis", "apigateway"),
        ("stepfunctions", "ListStateMachines", "states"),
        ("elbv2", "DescribeTargetGroups", "elasticloadbalancing"),
        ("timestream-write", "ListDatabases", "timestream"),
    ],
)
def test_services_that_sign_by_another_name(service: str, operation: str, scope: str) -> None:
    route = router.route(client_request(service, operation, _dummies(service, operation)), scope)
    assert (route.service.name, route.operation.name) == (service, operation)


@pytest.mark.parametrize("service", ["nonsense", "", "Lambda", "../lambda"])
def test_services_that_aws_does_not_have(service: str) -> None:
    error = _refusal("GET", "/", service)
    assert error.status == 501
    assert error.message is not None
    assert f"'{service}'" in error.message


def test_unsigned_lambda_paths_are_known_by_their_date() -> None:
    assert _route("POST", "/2015-03-31/functions/f/invocations", None).operation.name == "Invoke"
    assert _refusal("POST", "/2015-03-31/nonsense", None).status == 404


@pytest.mark.parametrize(
    ("target", "service"),
    [("DynamoDB_20120810.GetItem", "dynamodb"), ("AmazonSQS.SendMessage", "sqs"), ("TrentService.Encrypt", "kms")],
)
def test_unsigned_targets_are_known_by_their_prefix(target: str, service: str) -> None:
    assert _route("POST", "/", None, x_amz_target=target).service.name == service


@pytest.mark.parametrize("action", ["AssumeRoleWithWebIdentity", "AssumeRoleWithSAML"])
def test_federation_is_unsigned_and_known_by_its_action(action: str) -> None:
    found = _route("POST", f"/?Action={action}&Version=2011-06-15", None)
    assert (found.service.name, found.operation.name) == ("sts", action)


def test_what_is_unsigned_and_nobody_else_s_is_for_s3() -> None:
    found = _route("GET", "/bucket/key", None)
    assert (found.service.name, found.operation.name) == ("s3", "GetObject")
    assert _refusal("POST", "/", None, x_amz_target="Nonsense.GetItem").status == 501


@pytest.mark.parametrize(
    ("headers", "body", "query"),
    [
        ({"content-type": "application/x-www-form-urlencoded; charset=utf-8"}, b"Version=1&Action=ListUsers", ""),
        ({}, b"Action=ListUsers", ""),
        ({}, b"", "?Action=ListUsers&Version=2010-05-08"),
    ],
)
def test_query_actions(headers: dict[str, str], body: bytes, query: str) -> None:
    request = plain_request("POST", f"/{query}", headers, body)
    assert router.route(request, "iam").operation.name == "ListUsers"


def test_an_unknown_action_is_named() -> None:
    with pytest.raises(AwsError) as caught:
        router.route(plain_request("POST", "/", {}, b"Action=Nonsense"), "iam")
    assert (caught.value.code, caught.value.status) == ("InvalidAction", 400)
    assert caught.value.message == "The action Nonsense is not valid for this web service."


def test_rpc_v2_paths() -> None:
    route = _route("POST", "/service/GraniteServiceVersion20100801/operation/PutMetricData", "monitoring")
    assert (route.operation.name, route.protocol) == ("PutMetricData", models.CBOR)
    assert _refusal("POST", "/service/GraniteServiceVersion20100801/operation/Nonsense", "monitoring").status == 404
    assert _refusal("POST", "/service/x/operation/PutItem", "dynamodb").status == 404


_TEXT = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=255), max_size=60)
_PATHS = _TEXT.map("/{}".format) | st.lists(
    st.sampled_from(["2015-03-31", "functions", "invocations", "layers", "tags", "", "%", "%2F", "?", "service", "operation"]),
    max_size=8,
).map("/".join)  # fmt: skip
_SERVICES = st.sampled_from(["lambda", "s3", "dynamodb", "iam", "ec2", "monitoring", None]) | st.text(max_size=8)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "NONSENSE"]),
    _PATHS,
    _SERVICES,
    st.none() | st.text(alphabet=string.printable, max_size=40),
    st.binary(max_size=40),
)
def test_whatever_is_asked_is_routed_or_refused(
    method: str, target: str, service: str | None, header: str | None, body: bytes
) -> None:
    request = plain_request(method, target, {} if header is None else {"x-amz-target": header}, body)
    try:
        assert isinstance(router.route(request, service), Route)
    except AwsError as error:
        assert error.status is not None
        assert 400 <= error.status <= 501
