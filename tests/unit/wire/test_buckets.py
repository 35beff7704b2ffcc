"""Where a request names its bucket."""

from __future__ import annotations

import pytest

from lambent.base.http import Headers, Request
from lambent.wire.buckets import bucket_of, path_of


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("my.bucket.s3.amazonaws.com", "my.bucket"),
        ("b-1.s3.eu-west-1.amazonaws.com", "b-1"),
        ("b-1.s3-eu-west-1.amazonaws.com:80", "b-1"),
        ("b-1.s3.dualstack.us-east-1.amazonaws.com", "b-1"),
        ("b-1.s3-accelerate.amazonaws.com", "b-1"),
        ("b-1.s3.localhost:4566", "b-1"),
        ("b-1.s3.us-west-2.localhost", "b-1"),
        ("b-1.localhost:4566", "b-1"),
        ("b-1.s3.localhost.localstack.cloud:4566", "b-1"),
        ("s3.amazonaws.com", None),
        ("s3.eu-west-1.amazonaws.com", None),
        ("s3.localhost:4566", None),
        ("localhost:4566", None),
        ("127.0.0.1:4566", None),
        ("lambda.us-east-1.amazonaws.com", None),
        ("abc.lambda-url.us-east-1.localhost", None),
        ("abc.execute-api.localhost", None),
        ("000000000000.dkr.ecr.us-east-1.localhost", None),
        ("b-1.s3.example.com", None),
        ("", None),
        ("[", None),
    ],
)
def test_hosts(host: str, bucket: str | None) -> None:
    assert bucket_of(host) == bucket


def request(target: str, **values: str) -> Request:
    return Request("GET", target, Headers([(name.encode(), value.encode()) for name, value in values.items()]))


def test_only_what_may_be_for_s3_is_read_so() -> None:
    host = {"host": "bucket.localhost:4566"}
    signed = "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"
    assert path_of(request("/a//b%20c?x=1", **host)) == "/bucket/a//b%20c"
    assert path_of(request("/a", **host, authorization=signed.format("s3"))) == "/bucket/a"
    assert path_of(request("/a", **host, authorization=signed.format("lambda"))) == "/a"
    assert path_of(request("/a?X-Amz-Credential=k%2F20260101%2Fus-east-1%2Fs3%2Faws4_request", **host)) == "/bucket/a"
    assert path_of(request("/a?X-Amz-Credential=k%2F20260101%2Fus-east-1%2Fsqs%2Faws4_request", **host)) == "/a"


def test_once_is_enough() -> None:
    one = request("/a", host="bucket.localhost:4566")
    one.path = path_of(one)
    assert path_of(one) == "/bucket/a"
