"""InvokeWithResponseStream end to end: functions that stream by the Runtime API, read by boto3 and raw clients.

AWS's Python runtime does not stream, so the function speaks the Runtime API itself: its module never returns.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import urllib.parse
from typing import Any

import pytest

from support import Server, create, eventually, invoke

STREAMING = """
import base64, http.client, json, os, socket, sys, time

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
PATH = "/2018-06-01/runtime/invocation/"
progress = 0


def connect():
    host, _, port = API.rpartition(":")
    return socket.create_connection((host, int(port)))


def post(request_id, headers=(), action="response"):
    sock = connect()
    lines = ["POST %s%s/%s HTTP/1.1" % (PATH, request_id, action), "Host: " + API, *headers]
    sock.sendall("\\r\\n".join(lines).encode() + b"\\r\\n\\r\\n")
    return sock


def chunk(sock, data):
    sock.sendall(b"%x\\r\\n%b\\r\\n" % (len(data), data))


def status(sock):
    answer = b""
    while b"\\r\\n\\r\\n" not in answer:
        more = sock.recv(65536)
        if not more:
            break
        answer += more
    sock.close()
    return int(answer.split()[1])


def stream(request_id, event):
    sock = post(request_id, ["Lambda-Runtime-Function-Response-Mode: streaming", "Transfer-Encoding: chunked",
                             "Content-Type: text/plain", "Trailer: Lambda-Runtime-Function-Error-Type"])
    for piece in event.get("pieces", []):
        chunk(sock, piece.encode())
        if event.get("pause"):
            time.sleep(event["pause"])
    left = event.get("megabytes", 0)
    global progress
    progress = 0
    try:
        for _ in range(left):
            chunk(sock, b"x" * (1 << 20))
            progress += 1
    except OSError:
        print("stopped after", progress)
        return None
    if event.get("exit"):
        os._exit(event["exit"])
    if event.get("break"):
        sock.close()
        return None
    if event.get("hang"):
        time.sleep(60)
    trailers = ""
    if event.get("error"):
        body = json.dumps({"errorType": "Midway", "errorMessage": event["error"]}).encode()
        trailers = "Lambda-Runtime-Function-Error-Type: Midway\\r\\nLambda-Runtime-Function-Error-Body: %s\\r\\n" % (
            base64.b64encode(body).decode())
    sock.sendall(b"0\\r\\n" + trailers.encode() + b"\\r\\n")
    return status(sock)


def once():
    client = http.client.HTTPConnection(API)
    client.request("GET", PATH + "next")
    answer = client.getresponse()
    request_id, event = answer.getheader("Lambda-Runtime-Aws-Request-Id"), json.loads(answer.read())
    client.close()
    if event.get("buffered") is not None:
        body = event["buffered"].encode()
        sock = post(request_id, ["Content-Length: %d" % len(body)])
        sock.sendall(body)
        code = status(sock)
    elif event.get("fails"):
        body = json.dumps({"errorType": "Early", "errorMessage": "no"}).encode()
        sock = post(request_id, ["Content-Length: %d" % len(body)], "error")
        sock.sendall(body)
        code = status(sock)
    elif event.get("mode"):
        code = status(post(request_id, ["Lambda-Runtime-Function-Response-Mode: " + event["mode"], "Content-Length: 0"]))
    elif event.get("report"):
        body = json.dumps({"progress": progress, "last": last}).encode()
        sock = post(request_id, ["Content-Length: %d" % len(body)])
        sock.sendall(body)
        return last
    else:
        code = stream(request_id, event)
    print("answered", code)
    return code


last = None
while True:
    last = once()
"""


@pytest.fixture(scope="module")
def function(server: Server) -> str:
    create(server.client(), "streaming", STREAMING, Timeout=20)
    return "streaming"


def stream(client: Any, name: str, event: Any, **arguments: Any) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    """(the chunks put together, InvokeComplete, the response)."""
    response = client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event), **arguments)
    events = list(response["EventStream"])
    chunks = [event["PayloadChunk"]["Payload"] for event in events[:-1]]
    return b"".join(chunks), events[-1]["InvokeComplete"], response


@pytest.mark.isolations
def test_pieces_arrive_while_the_function_runs(server: Server, lambda_client: Any, name: str) -> None:
    create(lambda_client, name, STREAMING, Timeout=60)
    event = {"pieces": ["one"], "hang": True}
    response = lambda_client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event))
    assert response["StatusCode"] == 200
    assert response["ExecutedVersion"] == "$LATEST"
    assert response["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    assert next(iter(response["EventStream"])) == {"PayloadChunk": {"Payload": b"one"}}
    assert "END RequestId" not in log(server, name)
    response["EventStream"].close()


def test_pieces_come_in_order(lambda_client: Any, function: str) -> None:
    pieces = [str(number) for number in range(2000)]
    content, complete, _response = stream(lambda_client, function, {"pieces": pieces})
    assert (content.decode(), complete) == ("".join(pieces), {})


def test_the_tail_comes_with_the_last_event(lambda_client: Any, function: str) -> None:
    content, complete, response = stream(lambda_client, function, {"pieces": ["a"]}, LogType="Tail")
    assert content == b"a"
    log = base64.b64decode(complete["LogResult"]).decode()
    request_id = response["ResponseMetadata"]["RequestId"]
    assert f"START RequestId: {request_id} Version: $LATEST\n" in log
    assert f"REPORT RequestId: {request_id}\t" in log


def test_what_does_not_stream_is_answered_too(lambda_client: Any, function: str) -> None:
    assert stream(lambda_client, function, {"buffered": '{"a": 1}'})[:2] == (b'{"a": 1}', {})
    large = '"' + "x" * 1_000_000 + '"'
    assert stream(lambda_client, function, {"buffered": large})[:2] == (large.encode(), {})
    create(lambda_client, "unstreamed", "def handler(event, context):\n    return event['a']\n")
    assert stream(lambda_client, "unstreamed", {"a": "ü"})[:2] == (b'"\\u00fc"', {})
    content, complete, _response = stream(lambda_client, "unstreamed", {})
    assert (content, complete["ErrorCode"]) == (b"", "Unhandled")
    assert json.loads(complete["ErrorDetails"])["errorType"] == "KeyError"


def test_a_streaming_function_answers_invoke(lambda_client: Any, function: str) -> None:
    response = lambda_client.invoke(FunctionName=function, Payload=json.dumps({"pieces": ["[1,", "2]"]}))
    assert response["Payload"].read() == b"[1,2]"
    answer, response = invoke(lambda_client, function, {"pieces": ["[1,"], "error": "half way"})
    assert response["FunctionError"] == "Unhandled"
    assert answer == {"errorType": "Midway", "errorMessage": "half way"}
    answer, response = invoke(lambda_client, function, {"megabytes": 7})
    assert answer["errorType"] == "Function.ResponseSizeTooLarge"
    assert stream(lambda_client, function, {"pieces": ["ok"]})[0] == b"ok"


def test_errors_before_and_in_the_middle(lambda_client: Any, function: str) -> None:
    content, complete, _response = stream(lambda_client, function, {"pieces": ["half"], "error": "ü"})
    assert content == b"half"
    assert complete["ErrorCode"] == "Unhandled"
    assert json.loads(complete["ErrorDetails"]) == {"errorType": "Midway", "errorMessage": "ü"}
    content, complete, _response = stream(lambda_client, function, {"fails": True})
    assert (content, complete["ErrorCode"]) == (b"", "Unhandled")
    assert json.loads(complete["ErrorDetails"])["errorType"] == "Early"
    content, complete, _response = stream(lambda_client, function, {"pieces": ["a"], "break": True})
    assert content == b"a"
    assert json.loads(complete["ErrorDetails"])["errorType"] == "Runtime.TruncatedResponse"
    content, complete, _response = stream(lambda_client, function, {"mode": "sideways"})
    assert json.loads(complete["ErrorDetails"])["errorType"] == "Runtime.InvalidResponseModeHeader"
    assert invoke(lambda_client, function, {"report": True})[0]["last"] == 400


def test_a_crash_in_the_middle(lambda_client: Any, function: str) -> None:
    content, complete, response = stream(lambda_client, function, {"pieces": ["half"], "exit": 3})
    assert content == b"half"
    details = json.loads(complete["ErrorDetails"])
    assert details["errorType"] == "Runtime.ExitError"
    assert response["ResponseMetadata"]["RequestId"] in details["errorMessage"]
    assert stream(lambda_client, function, {"pieces": ["again"]})[0] == b"again"


def test_a_timeout_in_the_middle(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, STREAMING, Timeout=1)
    content, complete, _response = stream(lambda_client, name, {"pieces": ["half"], "hang": True}, LogType="Tail")
    assert content == b"half"
    assert complete["ErrorCode"] == "Unhandled"
    assert json.loads(complete["ErrorDetails"])["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert "Status: timeout" in base64.b64decode(complete["LogResult"]).decode()
    assert stream(lambda_client, name, {"pieces": ["again"]})[0] == b"again"


def raw_stream(server: Server, name: str, event: Any, receive_buffer: int = 1 << 16) -> socket.socket:
    """A client that has sent its request and read nothing."""
    address = urllib.parse.urlsplit(server.endpoint)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(30)
    sock.connect((address.hostname, address.port))
    body = json.dumps(event).encode()
    path = f"/2021-11-15/functions/{name}/response-streaming-invocations"
    sock.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return sock


def test_a_slow_client_slows_the_function(server: Server, lambda_client: Any, name: str) -> None:
    """The function is stopped by its timeout while it waits for the client to read."""
    create(lambda_client, name, STREAMING, Timeout=2)
    with raw_stream(server, name, {"megabytes": 60}) as sock:
        answer = http.client.HTTPResponse(sock)
        memory = resident(server)
        eventually(lambda: "Task timed out" in log(server, name), 15)
        assert "Task timed out" in log(server, name)
        assert resident(server) - memory < 30 << 20
        answer.begin()
        assert answer.getheader("content-type") == "application/vnd.amazon.eventstream"
        content = answer.read()
    assert b"Task timed out after 2.00 seconds" in content[-1000:]
    assert len(content) < 40 << 20


def test_a_client_that_leaves_does_not_stop_the_function(server: Server, lambda_client: Any, name: str) -> None:
    create(lambda_client, name, STREAMING, Timeout=20)
    with raw_stream(server, name, {"megabytes": 40}) as sock:
        sock.recv(1000)
    assert eventually(lambda: "answered 202" in log(server, name), 20)
    assert invoke(lambda_client, name, {"report": True})[0]["progress"] == 40


def test_two_hundred_megabytes_and_no_more(lambda_client: Any, function: str) -> None:
    response = lambda_client.invoke_with_response_stream(FunctionName=function, Payload=json.dumps({"megabytes": 205}))
    size, complete = 0, {}
    for event in response["EventStream"]:
        size += len(event["PayloadChunk"]["Payload"]) if "PayloadChunk" in event else 0
        complete = event.get("InvokeComplete", {})
    assert 199 << 20 < size <= 200 << 20
    assert json.loads(complete["ErrorDetails"])["errorType"] == "Function.ResponseSizeTooLarge"


def test_what_the_platform_refuses(lambda_client: Any, function: str) -> None:
    with pytest.raises(lambda_client.exceptions.ResourceNotFoundException):
        stream(lambda_client, "nobody", {})
    with pytest.raises(lambda_client.exceptions.InvalidRequestContentException):
        lambda_client.invoke_with_response_stream(FunctionName=function, Payload=b"{")
    response = lambda_client.invoke_with_response_stream(FunctionName=function, InvocationType="DryRun")
    assert response["StatusCode"] == 204


def log(server: Server, name: str) -> str:
    client = http.client.HTTPConnection(urllib.parse.urlsplit(server.endpoint).netloc)
    client.request("GET", f"/_lambent/logs/{name}")
    text = client.getresponse().read().decode()
    client.close()
    return text


def resident(server: Server) -> int:
    """Bytes of memory of the server."""
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * 4096
