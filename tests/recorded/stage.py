"""Lambent's API in this process: botocore's client, the whole wire and the control plane, no socket, no sandbox."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Coroutine, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import botocore.session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

from lambent.base.http import Exchange, Headers, Request, Response
from lambent.control import functions
from lambent.engine.operations import Invocations
from lambent.wire.gateway import Gateway
from lambent.wire.sigv4 import Accounts
from unit.control.lab import ACCOUNT, REGION, Lab, key_of

T = TypeVar("T")


class Stage:
    """A control plane on an event loop of its own thread. What the engine does waits for `ready`."""

    def __init__(self, root: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stage", daemon=True)
        self._thread.start()
        self.lab = self.run(Lab.open(root))
        Invocations(self.lab.store, self.lab.aliases, _NoEngine(), _Taken()).register(self.lab.operations)  # type: ignore[arg-type]
        self._gateway = Gateway(self.lab.operations, self.lab.clock, Accounts(), REGION)

    def close(self) -> None:
        self.run(self.lab.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def ready(self, function: str) -> None:
        """Let the engine do what it has to do for a function."""
        self.run(self.lab.ready(function))

    def put_object(self, bucket: str, key: str, body: bytes) -> None:
        """Into S3; the bucket is made where it is missing."""
        self.run(self.lab.put_object(bucket, key, body))

    def send(self, request: Request) -> Response:
        """What the HTTP server does with a complete request."""
        return self.run(self._send(request))

    async def _send(self, request: Request) -> Response:
        refusal = self._gateway.admit(request)
        if refusal is not None:
            return refusal
        if request.body_limit is not None and len(request.body) > request.body_limit:
            return self._gateway.too_large(request)
        answer = _Answer()
        self._gateway.handle(Exchange(answer, request))
        return await answer.future

    def client(self, account: str = ACCOUNT, region: str = REGION) -> Any:
        """A client of the Lambda API whose requests come here; there is one for each account and region."""
        client = _client(account, region)
        client.meta.events.unregister("before-send.lambda", unique_id="stage")
        client.meta.events.register("before-send.lambda", self._carry, unique_id="stage")
        return client

    def _carry(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        target = request.url.removeprefix(_ENDPOINT)
        pairs = [(name.lower().encode(), _bytes(value)) for name, value in request.headers.items()]
        body = request.body or b""
        if not isinstance(body, bytes | bytearray | str):
            body = body.read()
        answer = self.send(Request(request.method, target, Headers(pairs), _bytes(body)))
        headers = botocore.awsrequest.HeadersDict(answer.headers)
        return AWSResponse(request.url, answer.status, headers, _Raw(answer.body))


class _NoEngine:
    """Invocations come this far only when their request is in order."""


class _Taken:
    """A queue that nobody empties."""

    async def accept(self, *event: Any) -> None:
        pass


class _Answer:
    """A connection of which only the answer is wanted."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    def answer(self, request: Request, response: Response) -> None:
        self.future.set_result(response)

    def close(self) -> None:
        self.future.cancel()


class _Raw(io.BytesIO):
    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self.read()


_ENDPOINT = "http://127.0.0.1:4566"


@cache
def _client(account: str, region: str) -> Any:
    return botocore.session.Session().create_client(
        "lambda",
        region_name=region,
        endpoint_url=_ENDPOINT,
        aws_access_key_id=account,
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )


def _bytes(value: str | bytes | bytearray) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


__all__ = ["ACCOUNT", "REGION", "Stage", "functions", "key_of"]
