from __future__ import annotations

import json

import pytest

from lambent.cli.client import Client, Refused, Unreachable
from lambent.config import ClientConfig, ConfigError

CONFIG = ClientConfig("http://127.0.0.1:1", "eu-west-1", "111122223333", "secret", None)


def client_of(script) -> Client:
    return Client(ClientConfig(script.endpoint, "eu-west-1", "111122223333", "secret", "token"))


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4566", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999"])
def test_an_endpoint_that_is_none_is_explained(endpoint):
    with pytest.raises(ConfigError, match="must look like http://"):
        Client(ClientConfig(endpoint, "eu-west-1", "a", "b", None))


def test_nobody_there_says_how_to_start_a_server():
    with pytest.raises(Unreachable, match="Start one with: lambent serve"):
        Client(CONFIG).status()


def test_somebody_else_there_is_told_apart(script):
    script.answer(b"<html>hello</html>")
    with pytest.raises(Unreachable, match="is not Lambent"):
        client_of(script).status()


def test_an_answer_cut_short_is_no_crash(script):
    script.answers.append((200, {"transfer-encoding": "chunked"}, b"nonsense"))
    with pytest.raises(Unreachable, match="cannot talk to"):
        client_of(script).status()


def test_an_invoke_is_signed_for_its_region_and_carries_the_payload(script):
    script.answer(b'"ok"', X_Amz_Executed_Version="$LATEST")
    answer = client_of(script).invoke("hello", b'{"a": 1}', qualifier="live", tail=True)
    assert answer.body == b'"ok"'
    assert answer.headers["x-amz-executed-version"] == "$LATEST"
    (request,) = script.received
    assert (request.method, request.body) == ("POST", b'{"a": 1}')
    assert request.target == "/2015-03-31/functions/hello/invocations?Qualifier=live"
    assert request.headers["x-amz-log-type"] == "Tail"
    assert request.headers["x-amz-security-token"] == "token"
    assert "Credential=111122223333/" in request.headers["authorization"]
    assert "/eu-west-1/lambda/aws4_request" in request.headers["authorization"]


def test_an_arn_survives_the_path(script):
    script.answer(b"null")
    client_of(script).invoke("arn:aws:lambda:eu-west-1:111122223333:function:hello", b"", qualifier=None, tail=False)
    (request,) = script.received
    assert request.target.startswith("/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A111122223333")
    assert request.body == b""


def test_lambdas_own_error_names_its_code(script):
    body = json.dumps({"Type": "User", "Message": "Function not found: arn:hello"}).encode()
    script.answer(body, status=404, x_amzn_ErrorType="ResourceNotFoundException")
    with pytest.raises(Refused, match=r"^ResourceNotFoundException: Function not found: arn:hello$"):
        client_of(script).invoke("hello", b"", qualifier=None, tail=False)


def test_an_error_without_json_shows_its_text(script):
    script.answer(b"Bad Gateway", status=502)
    with pytest.raises(Refused, match=r"^HTTP 502: Bad Gateway$"):
        client_of(script).invoke("hello", b"", qualifier=None, tail=False)


def test_logs_are_asked_for_by_region_and_account(script):
    script.answer(b'{"events": [], "next": 7}')
    assert client_of(script).logs("hello", 5, 100) == {"events": [], "next": 7}
    assert script.received[0].target == "/_lambent/logs/hello?region=eu-west-1&account=111122223333&after=5&limit=100"


def test_a_refused_request_of_our_own_is_no_stranger(script):
    script.answer(b'{"message": "there is no function hello"}', status=404)
    with pytest.raises(Refused, match="there is no function hello"):
        client_of(script).logs("hello", 0, 100)
