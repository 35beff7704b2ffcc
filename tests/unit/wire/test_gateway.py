"""The public endpoint over a real socket."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from lambent.base.clock import SystemClock
from lambent.base.http import HttpServer, Request, Response
from lambent.wire.errors import AwsError
from lambent.wire.gateway import INVOKE_LIMIT, UPLOAD_LIMIT, Gateway
from lambent.wire.operations import Context, Operations, Parameters
from lambent.wire.sigv4 import Accounts

FUNCTIONS = "/2015-03-31/functions"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass
class Endpoint:
    """A gateway at a port, and handlers that note what they were asked."""

    operations: Operations = field(default_factory=Operations)
    accounts: Accounts = field(default_factory=Accounts)
    asked: list[tuple[Context, Parameters]] = field(default_factory=list)
    port: int = 0

    def answers(self, service: str, operation: str, result: Mapping[str, Any] | Exception) -> None:
        async def handler(context: Context, parameters: Parameters) -> Mapping[str, Any]:
            self.asked.append((context, parameters))
            if isinstance(result, Exception):
                raise result
            return result

        self.operations.register(service, operation, handler)

    async def send(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        return await asyncio.to_thread(self._send, method, target, body, headers)

    def _send(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, target)
            lengths = {} if "Content_Length" in headers else {"Content-Length": str(len(body))}
            for name, value in {**lengths, **headers}.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def client(self, service: str, key: str = "test", region: str = "eu-west-1") -> Any:
        session = botocore.session.Session()
        return session.create_client(
            service,
            region_name=region,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=key,
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=20),
        )


class Events:
    """Two pieces, then whatever `end` is."""

    def __init__(self, end: Exception | None = None) -> None:
        self.closed = 0
        self._end = end

    async def __aiter__(self) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        yield "PayloadChunk", {"Payload": b"one"}
        yield "PayloadChunk", {"Payload": b"two"}
        if self._end is not None:
            raise self._end
        yield "InvokeComplete", {"LogResult": "bG9n"}

    async def aclose(self) -> None:
        self.closed += 1


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    found = Endpoint()
    gateway = Gateway(found.operations, SystemClock(), found.accounts, region="ap-south-1")

    async def own(request: Request) -> Response:
        if request.path.endswith("broken"):
            raise RuntimeError("secret detail")
        return Response(200, (("Content-Type", "text/plain"),), request.path.encode())

    gateway.route("/_lambent/things/", own)
    server = HttpServer(gateway)
    await server.start("127.0.0.1", 0)
    found.port = server.port
    yield found
    await server.stop()


async def test_an_answer_carries_a_request_id_that_the_handler_knows(endpoint: Endpoint) -> None:
    endpoint.answers("lambda", "ListFunctions", {"Functions": []})
    answer = await endpoint.send("GET", FUNCTIONS)
    assert (answer.status, answer.document) == (200, {"Functions": []})
    request_id = answer.headers["x-amzn-RequestId"]
    assert UUID.fullmatch(request_id)
    assert endpoint.asked[0][0].request_id == request_id


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (AwsError("ResourceNotFoundException", "gone", Type="User"), 404, {"Type": "User", "Message": "gone"}),
        (AwsError("ResourceConflictException", "busy"), 409, {"Type": "User", "message": "busy"}),
        (AwsError("AccessDeniedException", None, status=403), 403, {"Message": None}),
        (AwsError("ValidationException", "bad", status=400), 400, {"message": "bad"}),
        (
            AwsError("TooManyRequestsException", "Rate exceeded", Reason="CallerRateLimitExceeded"),
            429,
            {"Type": "User", "Reason": "CallerRateLimitExceeded", "message": "Rate exceeded"},
        ),
    ],
)
async def test_errors_look_as_lambdas_do(
    endpoint: Endpoint, error: AwsError, status: int, body: dict[str, Any]
) -> None:
    endpoint.answers("lambda", "GetFunction", error)
    answer = await endpoint.send("GET", f"{FUNCTIONS}/f")
    assert (answer.status, answer.document) == (status, body)
    assert answer.headers["x-amzn-ErrorType"] == error.code
    assert UUID.fullmatch(answer.headers["x-amzn-RequestId"])


async def test_parameters_that_break_the_model_never_reach_the_handler(endpoint: Endpoint) -> None:
    endpoint.answers("lambda", "GetFunction", {})
    answer = await endpoint.send("GET", f"{FUNCTIONS}/f%21")
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "ValidationException")
    assert answer.document["message"].startswith("1 validation error detected: Value 'f!' at 'functionName'")
    assert list(answer.document) == ["message"]
    assert endpoint.asked == []


async def test_an_operation_without_a_handler_is_named(endpoint: Endpoint) -> None:
    answer = await endpoint.send("GET", f"{FUNCTIONS}/f")
    assert answer.status == 501
    assert answer.headers["x-amzn-ErrorType"] == "NotImplementedException"
    assert answer.document["message"] == "Lambent does not implement lambda.GetFunction yet."


async def test_what_no_model_holds_is_unknown(endpoint: Endpoint) -> None:
    answer = await endpoint.send("GET", "/2015-03-31/nonsense")
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (404, "UnknownOperationException")


async def test_an_unexpected_failure_gives_nothing_away(endpoint: Endpoint) -> None:
    endpoint.answers("lambda", "GetFunction", RuntimeError("secret detail"))
    answer = await endpoint.send("GET", f"{FUNCTIONS}/f")
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (500, "ServiceException")
    assert answer.document == {"Type": "Service", "Message": "An internal error occurred."}
    assert b"secret" not in answer.body


async def test_a_result_that_cannot_be_serialised_is_a_failure_too(endpoint: Endpoint) -> None:
    endpoint.answers("lambda", "ListFunctions", {"Functions": [{"FunctionName": object()}]})
    answer = await endpoint.send("GET", FUNCTIONS)
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (500, "ServiceException")


@pytest.mark.parametrize(
    ("target", "length", "message"),
    [
        (f"{FUNCTIONS}/f/invocations", INVOKE_LIMIT, "Request must be smaller than 6291456 bytes for the InvokeFunction operation"),
        (FUNCTIONS, UPLOAD_LIMIT, "Request must be smaller than 70167211 bytes for the CreateFunction operation"),
        ("/2018-10-31/layers/l/versions", UPLOAD_LIMIT, "Request must be smaller than 70167211 bytes for the PublishLayerVersion operation"),
    ],
)  # fmt: skip
async def test_requests_that_are_too_large(endpoint: Endpoint, target: str, length: int, message: str) -> None:
    answer = await endpoint.send("POST", target, Content_Length=str(length + 1))
    assert answer.status == 413
    assert answer.headers["x-amzn-ErrorType"] == "RequestEntityTooLargeException"
    assert answer.document == {"message": message}


async def test_a_payload_of_the_limit_is_taken(endpoint: Endpoint) -> None:
    endpoint.answers("lambda", "Invoke", {"StatusCode": 200, "Payload": b"null"})
    answer = await endpoint.send("POST", f"{FUNCTIONS}/f/invocations", bytes(INVOKE_LIMIT))
    assert (answer.status, answer.body) == (200, b"null")
    assert len(endpoint.asked[0][1]["Payload"]) == INVOKE_LIMIT


async def test_coded_bodies_are_decoded(endpoint: Endpoint) -> None:
    endpoint.answers("lambda", "Invoke", {"StatusCode": 200})
    target = f"{FUNCTIONS}/f/invocations"
    assert (await endpoint.send("POST", target, gzip.compress(b"{}"), Content_Encoding="gzip")).status == 200
    assert endpoint.asked[0][1]["Payload"] == b"{}"
    answer = await endpoint.send("POST", target, gzip.compress(bytes(INVOKE_LIMIT + 1)), Content_Encoding="gzip")
    assert answer.status == 413


@pytest.mark.parametrize(
    ("key", "account"),
    [("123456789012", "123456789012"), ("test", "000000000000"), ("AKIAIOSFODNN7EXAMPLE", "000000000000"), ("ASIA1", "210987654321")],
)  # fmt: skip
async def test_account_and_region_come_from_the_credential_scope(endpoint: Endpoint, key: str, account: str) -> None:
    endpoint.accounts.issue("ASIA1", "210987654321")
    endpoint.answers("lambda", "ListFunctions", {"Functions": []})
    await asyncio.to_thread(endpoint.client("lambda", key, "eu-west-3").list_functions)
    context = endpoint.asked[0][0]
    assert (context.caller.account, context.caller.region) == (account, "eu-west-3")
    assert context.caller.access_key_id == key
    assert context.endpoint == f"http://127.0.0.1:{endpoint.port}"


async def test_an_unsigned_request_is_of_the_default_account_and_region(endpoint: Endpoint) -> None:
    endpoint.answers("lambda", "ListFunctions", {"Functions": []})
    await endpoint.send("GET", FUNCTIONS, X_Amzn_Trace_Id="Root=1-2-3")
    context = endpoint.asked[0][0]
    assert (context.caller.account, context.caller.region) == ("000000000000", "ap-south-1")
    assert context.caller.access_key_id == ""
    assert context.trace_header == "Root=1-2-3"


async def test_a_signature_that_cannot_be_read_is_incomplete(endpoint: Endpoint) -> None:
    answer = await endpoint.send("GET", FUNCTIONS, Authorization="AWS4-HMAC-SHA256 Credential=x")
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "IncompleteSignatureException")
    assert UUID.fullmatch(answer.headers["x-amzn-RequestId"])


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("sqs", "list_queues", {}),
        ("iam", "list_users", {}),
        ("ec2", "describe_instances", {}),
        ("s3", "list_buckets", {}),
        ("cloudwatch", "list_dashboards", {}),
        ("dynamodb", "list_tables", {}),
    ],
)
async def test_clients_of_every_protocol_learn_what_is_not_built(
    endpoint: Endpoint, service: str, operation: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ClientError) as caught:
        await asyncio.to_thread(getattr(endpoint.client(service), operation), **arguments)
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert f"Lambent does not implement {service}." in response["Error"]["Message"]


async def test_clients_of_other_protocols_are_answered(endpoint: Endpoint) -> None:
    endpoint.answers("sts", "GetCallerIdentity", {"Account": "1", "Arn": "a", "UserId": "u"})
    found = await asyncio.to_thread(endpoint.client("sts").get_caller_identity)
    assert (found["Account"], found["Arn"], found["UserId"]) == ("1", "a", "u")


async def test_our_own_paths_are_below_one_prefix(endpoint: Endpoint) -> None:
    answer = await endpoint.send("GET", "/_lambent/things/1")
    assert (answer.status, answer.body) == (200, b"/_lambent/things/1")
    missing = await endpoint.send("GET", "/_lambent/n%C3%BCx")
    assert (missing.status, missing.document) == (404, {"message": "there is nothing at /_lambent/nüx"})
    broken = await endpoint.send("GET", "/_lambent/things/broken")
    assert (broken.status, broken.document) == (500, {"message": "internal error"})


async def test_what_is_not_http_is_refused_as_aws_errors_are(endpoint: Endpoint) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
    writer.write(b"nonsense\r\n\r\n")
    found = await reader.read()
    writer.close()
    assert found.startswith(b"HTTP/1.1 400 ")
    assert b"x-amzn-ErrorType: BadRequestException" in found


async def test_a_client_that_leaves_cancels_its_handler(endpoint: Endpoint) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(_context: Context, _parameters: Parameters) -> Mapping[str, Any]:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return {}

    endpoint.operations.register("lambda", "ListFunctions", handler)
    _reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
    writer.write(f"GET {FUNCTIONS} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await asyncio.wait_for(started.wait(), 20)
    writer.close()
    await asyncio.wait_for(cancelled.wait(), 20)


async def test_a_stream_of_events(endpoint: Endpoint) -> None:
    events = Events()
    answer = {"StatusCode": 200, "ExecutedVersion": "3", "EventStream": events}
    endpoint.answers("lambda", "InvokeWithResponseStream", answer)
    client = endpoint.client("lambda")
    response = await asyncio.to_thread(client.invoke_with_response_stream, FunctionName="f")
    assert response["ExecutedVersion"] == "3"
    assert await asyncio.to_thread(list, response["EventStream"]) == [
        {"PayloadChunk": {"Payload": b"one"}},
        {"PayloadChunk": {"Payload": b"two"}},
        {"InvokeComplete": {"LogResult": "bG9n"}},
    ]
    assert events.closed == 1


async def test_a_stream_that_fails_tells_so(endpoint: Endpoint) -> None:
    events = Events(RuntimeError("secret"))
    endpoint.answers("lambda", "InvokeWithResponseStream", {"StatusCode": 200, "EventStream": events})
    client = endpoint.client("lambda")
    response = await asyncio.to_thread(client.invoke_with_response_stream, FunctionName="f")
    with pytest.raises(EventStreamError, match="InternalFailure") as caught:
        await asyncio.to_thread(list, response["EventStream"])
    assert "secret" not in str(caught.value)
    assert events.closed == 1


async def test_a_stream_can_be_absent(endpoint: Endpoint) -> None:
    endpoint.answers("lambda", "InvokeWithResponseStream", {"StatusCode": 204})
    answer = await endpoint.send("POST", "/2021-11-15/functions/f/response-streaming-invocations")
    assert (answer.status, answer.body) == (204, b"")
