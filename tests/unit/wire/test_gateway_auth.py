"""A gateway that asks for signatures: nothing reaches a handler by any way without one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lambent.base.clock import SystemClock
from lambent.base.db import Connection
from lambent.base.http import Exchange, Headers, Request, Response
from lambent.wire.callers import Caller
from lambent.wire.doorman import Doorman
from lambent.wire.gate import Access, Find, Guarded, needs
from lambent.wire.gateway import Gateway
from lambent.wire.operations import Context, Operations, Parameters
from lambent.wire.refusals import denied
from lambent.wire.signatures import Verifier
from lambent.wire.sigv4 import Accounts

ENDPOINT = "http://127.0.0.1:4566"
ARN = "arn:aws:iam::111111111111:user/u"
CALLS: dict[str, tuple[str, str, str, bytes, dict[str, str]]] = {  # service, method, target, body, headers
    "Invoke": ("lambda", "POST", "/2015-03-31/functions/f/invocations", b"{}", {}),
    "ListFunctions": ("lambda", "GET", "/2015-03-31/functions/", b"", {}),
    "PutObject": ("s3", "PUT", "/bucket/key", b"content", {}),
    "GetObject": ("s3", "GET", "/bucket/key", b"", {}),
    "ListKeys": ("kms", "POST", "/", b"{}", {"X-Amz-Target": "TrentService.ListKeys"}),
    "ListUsers": (
        "iam",
        "POST",
        "/",
        b"Action=ListUsers&Version=2010-05-08",
        {"Content-Type": "application/x-www-form-urlencoded"},
    ),
}


class Allowing:
    """A gate that lets one caller do what `allowed` says."""

    enforces = True

    def __init__(self) -> None:
        self.allowed = True

    def guard(self, service: str, find: Find, tables: object) -> None:
        pass

    async def authorize(self, caller: Caller, *accesses: Access) -> None:
        assert caller.proven
        assert (caller.account, caller.user, caller.source) == ("111111111111", "u", "192.0.2.1")
        if not self.allowed:
            raise denied(ARN, accesses[0].action, accesses[0].resource, "because of nothing")

    def decide(self, connection: Connection, caller: Caller, access: Access, guarded: Guarded) -> None:
        raise NotImplementedError


class Asked:
    """The server's end of a connection, and what the handlers saw."""

    def __init__(self) -> None:
        self.handled: list[str] = []
        self.gate = Allowing()
        self.operations = Operations()
        self.operations.gate = self.gate
        for service in {call[0] for call in CALLS.values()}:
            names = [name for name, call in CALLS.items() if call[0] == service]
            self.operations.declare(service, {name: needs(f"{service}:{name}") for name in names})
            for name in names:
                self.operations.register(service, name, self._handler(name))
        accounts = Accounts()
        accounts.issue("AKID", "111111111111", ARN, secret="secret")
        clock = SystemClock()
        self.gateway = Gateway(self.operations, clock, accounts, "us-east-1", Doorman(Verifier(accounts, clock)))

    def _handler(self, name: str) -> Any:
        async def handle(_context: Context, parameters: Parameters) -> Mapping[str, Any]:
            body = parameters.get("Body")
            if hasattr(body, "__aiter__"):
                async for _piece in body:
                    pass
            self.handled.append(name)
            return {}

        return handle

    async def send(self, request: Request) -> Response:
        answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

        class Connection:
            def answer(self, _request: Request, response: Response) -> None:
                answered.set_result(response)

            def start_stream(self, *_: object) -> None:
                raise NotImplementedError

            def close(self) -> None:
                answered.cancel()

            def pause_body(self) -> None:
                pass

            def resume_body(self) -> None:
                pass

        connection = Connection()
        if refusal := self.gateway.admit(request):
            return refusal
        if request.sink is not None:
            request.sink.start(connection)
            request.sink.feed(request.body)
            request.body = b""
        self.gateway.handle(Exchange(connection, request))
        return await asyncio.wait_for(answered, 30)


def made(name: str, secret: str | None = "secret", body: bytes | None = None) -> Request:
    service, method, target, content, headers = CALLS[name]
    signed = AWSRequest(method, ENDPOINT + target, {"Host": "127.0.0.1:4566", **headers}, content)
    if secret is not None:
        (S3SigV4Auth if service == "s3" else SigV4Auth)(Credentials("AKID", secret), service, "us-east-1").add_auth(
            signed
        )
    pairs = [(name.lower().encode(), str(value).encode()) for name, value in signed.headers.items()]
    sent = content if body is None else body
    request = Request(method, target, Headers([*pairs, (b"content-length", str(len(sent)).encode())]), sent)
    request.peer = "192.0.2.1"
    return request


@pytest.mark.parametrize("name", CALLS)
def test_only_who_has_signed_and_may_reaches_a_handler(name: str) -> None:
    async def work() -> None:
        asked = Asked()
        for request in (made(name, None), made(name, "wrong")):
            response = await asked.send(request)
            assert response.status in (400, 403), response
            assert asked.handled == []
        asked.gate.allowed = False
        assert b"is not authorized to perform" in (await asked.send(made(name))).body
        assert asked.handled == []
        asked.gate.allowed = True
        assert (await asked.send(made(name))).status == 200
        assert asked.handled == [name]

    asyncio.run(work())


def test_the_errors_have_the_shape_of_their_protocol() -> None:
    async def work() -> None:
        asked = Asked()
        response = await asked.send(made("ListUsers", None))
        assert b"<Code>MissingAuthenticationToken</Code>" in response.body
        response = await asked.send(made("ListKeys", None))
        assert json.loads(response.body)["__type"] == "MissingAuthenticationTokenException"
        response = await asked.send(made("Invoke", None))
        assert json.loads(response.body) == {"message": "Missing Authentication Token"}
        response = await asked.send(made("Invoke", body=b"[]"))
        assert dict(response.headers)["x-amzn-ErrorType"] == "InvalidSignatureException"

    asyncio.run(work())
