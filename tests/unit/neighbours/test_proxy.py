"""Requests on their way to a server that notes what it gets, over real sockets."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from lambent.base.clock import SystemClock
from lambent.base.http import Exchange, HttpServer, Request, Response
from lambent.base.http_client import Origin, Unreachable
from lambent.neighbours.proxy import Neighbours
from lambent.neighbours.routes import EMBEDDED, NONE, UPSTREAM, Choice, Routes
from lambent.neighbours.signing import Signer
from lambent.wire.gateway import Gateway
from lambent.wire.operations import Operations
from lambent.wire.sigv4 import Accounts

SCOPE = "Credential={key}/20260101/eu-west-1/{service}/aws4_request, SignedHeaders=host, Signature=ab"


class Upstream:
    """Answers `answer`, in pieces when told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.answer = Response(200, (("Content-Type", "application/json"),), b"{}")
        self.pieces: list[bytes] = []

    def admit(self, request: Request) -> Response | None:
        return None

    def handle(self, exchange: Exchange) -> None:
        self.asked.append(exchange.request)
        if not self.pieces:
            exchange.respond(self.answer)
            return
        stream = exchange.stream(self.answer)
        assert stream is not None

        async def send() -> None:
            for piece in self.pieces:
                await stream.write(piece)
            stream.end()

        self._task = asyncio.get_running_loop().create_task(send())

    def too_large(self, request: Request) -> Response:
        return Response(413)

    def malformed(self, reason: str) -> Response:
        return Response(400)


class Process:
    """The embedded services, at an upstream's port."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def origin(self) -> Origin:
        if not self.port:
            raise Unreachable("it ended with status 1 (out of luck)")
        return Origin("127.0.0.1", self.port)


class Stage:
    def __init__(self) -> None:
        self.upstream = Upstream()
        self.accounts = Accounts()
        self.process = Process(0)
        self.variables: dict[str, str] = {}
        self._servers: list[HttpServer] = []

    async def open(self, chosen: dict[str, Choice], native: tuple[str, ...] = ("lambda",)) -> None:
        upstream = HttpServer(self.upstream)
        await upstream.start("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{upstream.port}"
        self.process.port = upstream.port
        chosen = {
            name: Choice(choice.mode, choice.url or self.url, choice.credentials) for name, choice in chosen.items()
        }
        operations = Operations()
        gateway = Gateway(operations, SystemClock(), self.accounts)
        routes = Routes(chosen, lambda: native)
        routes.check()
        signer = Signer(lambda name: self.variables.get(name, ""))
        built = ("cloudwatch", "ListMetrics")
        gateway.host(
            Neighbours(
                *(routes, self.process, signer, self.accounts, SystemClock(), "us-east-1"),
                is_built=lambda *asked: asked == built,
            )
        )
        server = HttpServer(gateway)
        await server.start("127.0.0.1", 0)
        self.port = server.port
        self._servers = [upstream, server]

    async def close(self) -> None:
        for server in self._servers:
            await server.stop()

    async def ask(
        self, method: str, target: str, body: Any = None, service: str = "sqs", key: str = "test", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        def go() -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            if service:
                named["Authorization"] = "AWS4-HMAC-SHA256 " + SCOPE.format(key=key, service=service)
            connection.request(method, target, body, named)
            response = connection.getresponse()
            answer = response.status, {n.lower(): v for n, v in response.getheaders()}, response.read()
            connection.close()
            return answer

        return await asyncio.to_thread(go)

    def client(self, service: str) -> Any:
        session = botocore.session.Session()
        return session.create_client(
            service,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.close()


async def test_a_request_reaches_its_upstream_as_it_came(stage):
    await stage.open({"sqs": Choice(UPSTREAM)})
    stage.upstream.answer = Response(201, (("X-Kept", "a b"), ("Connection", "x")), b"answer")
    status, headers, body = await stage.ask("POST", "/a%2Fb//c?x=%20y&z", b"body", Host="127.0.0.1:9", X_Mine="é")
    assert (status, headers["x-kept"], body) == (201, "a b", b"answer")
    (asked,) = stage.upstream.asked
    assert (asked.method, asked.target, asked.body) == ("POST", "/a%2Fb//c?x=%20y&z", b"body")
    assert asked.headers.get("host") == "127.0.0.1:9"
    assert asked.headers.get("x-mine") == "é"
    assert "Signature=ab" in asked.headers.get("authorization")


async def test_bodies_are_streamed_both_ways(stage):
    await stage.open({"s3": Choice(UPSTREAM)})
    stage.upstream.pieces = [bytes([number]) * 300_000 for number in range(20)]
    sent = [b"x" * 250_000] * 20
    status, headers, body = await stage.ask("PUT", "/bucket/key", iter(sent), service="s3")
    assert (status, headers["transfer-encoding"]) == (200, "chunked")
    assert body == b"".join(stage.upstream.pieces)
    assert stage.upstream.asked[0].body == b"".join(sent)


async def test_the_answer_to_a_head_keeps_its_length(stage):
    await stage.open({"s3": Choice(UPSTREAM)})
    stage.upstream.answer = Response(200, (("Content-Length", "1234"),))
    status, headers, body = await stage.ask("HEAD", "/bucket/key", service="s3")
    assert (status, headers["content-length"], body) == (200, "1234", b"")


async def test_embedded_services_learn_the_account_and_a_client_cannot_name_it(stage):
    await stage.open({})
    await stage.ask("POST", "/", b"{}", key="111122223333", X_Moto_Account_Id="999999999999")
    (asked,) = stage.upstream.asked
    assert asked.headers.get_all("x-moto-account-id") == ["111122223333"]


async def test_what_cannot_be_reached_is_named_with_the_setting(stage):
    await stage.open({"sqs": Choice(UPSTREAM, "http://127.0.0.1:1")})
    with pytest.raises(ClientError) as caught:
        await asyncio.to_thread(stage.client("sqs").list_queues)
    assert caught.value.response["Error"]["Code"] == "ServiceUnavailable"
    assert "http://127.0.0.1:1 answers for 'sqs' (the setting services)" in str(caught.value)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 502


async def test_a_body_does_not_wait_for_an_upstream_that_is_not_there(stage):
    await stage.open({"s3": Choice(UPSTREAM, "http://127.0.0.1:1")})
    status, _headers, body = await stage.ask("PUT", "/bucket/key", b"x" * 3_000_000, service="s3")
    assert (status, b"<Code>ServiceUnavailable</Code>" in body) == (502, True)


@pytest.mark.parametrize("service", ["sqs", "sns", "s3", "ec2", "cloudwatch", "sesv2"])
async def test_each_protocol_has_its_own_error(stage, service):
    await stage.open({"default": Choice(EMBEDDED)})
    stage.process.port = 0
    operation = {
        "sqs": "ListQueues", "sns": "ListTopics", "s3": "ListBuckets", "ec2": "DescribeVpcs", "cloudwatch": "ListMetrics",
        "sesv2": "GetAccount",
    }[service]  # fmt: skip
    with pytest.raises(ClientError, match=r"out of luck.*in memory") as caught:
        await asyncio.to_thread(stage.client(service)._make_api_call, operation, {})
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503


async def test_a_service_that_is_nowhere_says_so(stage):
    await stage.open({"default": Choice(NONE)})
    with pytest.raises(ClientError, match="does not implement the service 'sqs'") as caught:
        await asyncio.to_thread(stage.client("sqs").list_queues)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


async def test_what_moto_cannot_is_worded_for_the_client(stage):
    await stage.open({})
    failed = (("x-lambent-failure", "1"), ("Content-Type", "application/json"))
    stage.upstream.answer = Response(501, failed, json.dumps({"message": "no such action"}).encode())
    with pytest.raises(ClientError, match=r"this operation of 'sns'.*no such action") as caught:
        await asyncio.to_thread(stage.client("sns").list_topics)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    stage.upstream.answer = Response(500, failed, json.dumps({"message": "KeyError: 'x'"}).encode())
    with pytest.raises(ClientError, match=r"failed at this request: KeyError: 'x'"):
        await asyncio.to_thread(stage.client("sns").list_topics)


async def test_a_request_is_signed_anew_for_an_upstream_that_has_its_own_keys(stage):
    await stage.open({"sqs": Choice(UPSTREAM, "", "env:KEYS"), "s3": Choice(UPSTREAM, "", "env:KEYS")})
    stage.variables["KEYS"] = "AKIDUPSTREAM:secret"
    await asyncio.to_thread(stage.client("sqs").list_queues)
    await stage.ask("GET", "/key?list-type=2", service="s3", Host="bucket.s3.eu-west-1.amazonaws.com")
    queues, objects = stage.upstream.asked
    host = stage.url.removeprefix("http://")
    assert queues.headers.get_all("host") == objects.headers.get_all("host") == [host]
    credential = "AWS4-HMAC-SHA256 Credential=AKIDUPSTREAM/"
    assert queues.headers.get("authorization").startswith(credential)
    assert "/eu-west-1/sqs/aws4_request" in queues.headers.get("authorization")
    assert objects.target == "/bucket/key?list-type=2"
    assert len(objects.headers.get_all("authorization")) == 1


async def test_a_new_signature_is_one_that_the_upstream_would_make_itself(stage):
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    await stage.open({"s3": Choice(UPSTREAM, "", "env:KEYS")})
    stage.variables["KEYS"] = "AKIDUPSTREAM:secret:token"
    stage.upstream.answer = Response(200)
    put = {"Bucket": "bucket", "Key": "a b/ü", "Body": b"content" * 1000, "Metadata": {"k": "v"}}
    await asyncio.to_thread(lambda: stage.client("s3").put_object(**put))
    (asked,) = stage.upstream.asked
    signed = asked.headers.get("authorization").partition("SignedHeaders=")[2].partition(",")[0].split(";")
    again = AWSRequest(asked.method, stage.url + asked.target, data=asked.body)
    for name in signed:
        if name != "host":
            again.headers[name] = asked.headers.get(name)
    again.context["timestamp"] = asked.headers.get("x-amz-date")
    auth = S3SigV4Auth(Credentials("AKIDUPSTREAM", "secret", "token"), "s3", "eu-west-1")
    string = auth.string_to_sign(again, auth.canonical_request(again))
    assert asked.headers.get("authorization").endswith(auth.signature(string, again))
    assert b"content" in asked.body


async def test_credentials_that_are_not_there_are_named_without_a_secret(stage):
    await stage.open({"sqs": Choice(UPSTREAM, "", "env:KEYS"), "sns": Choice(UPSTREAM, "", "profile:nobody")})
    stage.variables["KEYS"] = "half-a-secret"
    with pytest.raises(ClientError, match=r"env:KEYS of 'sqs'") as caught:
        await asyncio.to_thread(stage.client("sqs").list_queues)
    assert "half-a-secret" not in str(caught.value)
    with pytest.raises(ClientError, match=r"profile:nobody of 'sns'.*the profile cannot be used"):
        await asyncio.to_thread(stage.client("sns").list_topics)


async def test_a_client_that_leaves_takes_its_request_along(stage):
    await stage.open({"s3": Choice(UPSTREAM)})
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    authorization = "AWS4-HMAC-SHA256 " + SCOPE.format(key="test", service="s3")
    head = f"PUT /b/k HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {authorization}\r\nContent-Length: 100\r\n\r\n"
    writer.write(head.encode() + b"half")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    status, _headers, _body = await stage.ask("GET", "/b/k", service="s3")
    assert status == 200
    assert [asked.method for asked in stage.upstream.asked] == ["GET"]  # half a body is no request


async def test_native_services_are_left_to_the_gateway(stage):
    await stage.open({})
    status, _headers, body = await stage.ask("GET", "/2015-03-31/functions/", service="lambda")
    assert (status, b"lambda.ListFunctions" in body) == (501, True)
    assert stage.upstream.asked == []


@pytest.mark.parametrize(
    ("target", "headers", "passed_on"),
    [
        ("/service/GraniteServiceVersion20100801/operation/PutMetricAlarm", {}, True),
        ("/service/GraniteServiceVersion20100801/operation/ListMetrics", {}, False),
        ("/", {"X_Amz_Target": "GraniteServiceVersion20100801.PutMetricAlarm"}, True),
        ("/", {"X_Amz_Target": "GraniteServiceVersion20100801.ListMetrics"}, False),
    ],
)
async def test_what_is_not_built_of_a_shared_service_is_the_defaults(
    stage: Stage, target: str, headers: dict[str, str], passed_on: bool
) -> None:
    await stage.open({}, native=("lambda", "cloudwatch"))
    await stage.ask("POST", target, b"", service="monitoring", **headers)
    assert bool(stage.upstream.asked) is passed_on
