"""`awslambda.streamifyResponse` of AWS's own Node.js client, read by boto3."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from support import deploy, invoke, needs, zip_files

MODULE = """
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
  switch (event.do) {
    case "pieces":
      stream.setContentType("text/plain");
      for (const piece of event.pieces) stream.write(piece);
      stream.end();
      break;
    case "pipe": await pipeline(Readable.from(["a", "b", "c"]), stream); break;
    case "large":
      for (let i = 0; i < event.size; i++) if (!stream.write("x".repeat(1 << 20))) await new Promise((done) => stream.once("drain", done));
      stream.end();
      break;
    case "http":
      stream = awslambda.HttpResponseStream.from(stream, { statusCode: 418, headers: { "X-A": "b" }, cookies: ["c=d"] });
      stream.write("tea");
      stream.end();
      break;
    case "fail early": throw new Error("before anything");
    case "fail late": stream.write("some"); throw new RangeError("in the middle");
    case "answers": stream.write("written"); stream.end(); return "ignored";
  }
});
"""


@pytest.fixture(scope="module", params=["nodejs22.x", "nodejs24.x"])
def function(request: pytest.FixtureRequest, server: Any) -> tuple[Any, str]:
    """(client, name)"""
    needs(request.param)
    client, name = server.client(), f"streams-{request.param[6:8]}"
    deploy(client, name, request.param, zip_files({"index.mjs": MODULE}), MemorySize=256)
    return client, name


def stream(function: tuple[Any, str], event: Any) -> tuple[bytes, dict[str, Any]]:
    """(all pieces, the last event)"""
    client, name = function
    response = client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event), LogType="Tail")
    events = list(response["EventStream"])
    return b"".join(event["PayloadChunk"]["Payload"] for event in events[:-1]), events[-1]["InvokeComplete"]


def test_pieces_and_pipes(function: tuple[Any, str]) -> None:
    pieces = ["one ", "zwei: ü ", "three"]
    content, complete = stream(function, {"do": "pieces", "pieces": pieces})
    assert content.decode() == "".join(pieces)
    assert "ErrorCode" not in complete
    assert b"END RequestId" in base64.b64decode(complete["LogResult"])
    assert stream(function, {"do": "pipe"})[0] == b"abc"


def test_more_than_an_answer_may_hold(function: tuple[Any, str]) -> None:
    content, complete = stream(function, {"do": "large", "size": 20})
    assert content == b"x" * (20 << 20)
    assert "ErrorCode" not in complete


def test_the_prelude_of_an_http_response(function: tuple[Any, str]) -> None:
    content, _complete = stream(function, {"do": "http"})
    prelude, body = content.split(b"\0" * 8)
    assert json.loads(prelude) == {"statusCode": 418, "headers": {"X-A": "b"}, "cookies": ["c=d"]}
    assert body == b"tea"


def test_errors_before_and_in_the_middle(function: tuple[Any, str]) -> None:
    content, complete = stream(function, {"do": "fail late"})
    assert content == b"some"
    assert complete["ErrorCode"] == "Unhandled"
    details = json.loads(complete["ErrorDetails"])
    assert (details["errorType"], details["errorMessage"]) == ("RangeError", "in the middle")
    content, complete = stream(function, {"do": "fail early"})
    assert complete["ErrorCode"] == "Unhandled"
    assert stream(function, {"do": "pipe"})[0] == b"abc"


def test_what_a_streaming_handler_returns_is_ignored(function: tuple[Any, str]) -> None:
    content, complete = stream(function, {"do": "answers"})
    assert content == b"written"
    assert b"Streaming handlers ignore return values." in base64.b64decode(complete["LogResult"])


def test_a_buffered_invocation_gets_the_whole(function: tuple[Any, str]) -> None:
    client, name = function
    answer, response = invoke(client, name, {"do": "pieces", "pieces": ['{"a":', "1}"]})
    assert answer == {"a": 1}
    assert "FunctionError" not in response
    answer, response = invoke(client, name, {"do": "fail late"})
    assert response["FunctionError"] == "Unhandled"
