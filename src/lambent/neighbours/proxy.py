"""Requests for services that are not native, passed on to where they are answered; streamed both ways.

To the embedded services they go as they came, over a socket that only the server reaches, with the account that the
signature speaks for. To an upstream as they came too, the host that the client addressed included, or signed anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol

import orjson

from lambent.base.clock import Clock
from lambent.base.http import Exchange, Request, Response
from lambent.base.http_client import Answer, Origin, Unreachable, send
from lambent.neighbours import permission, recognition
from lambent.neighbours.permission import Permission
from lambent.neighbours.routes import EMBEDDED, NATIVE, NONE, SHARED, UPSTREAM, Choice, Routes
from lambent.neighbours.signing import Signer
from lambent.neighbours.transit import HOP, Transit
from lambent.wire import models, outgoing, refusals, serializer, sigv4
from lambent.wire.errors import AwsError, not_built
from lambent.wire.operations import Caller, Parameters
from lambent.wire.router import Route
from lambent.wire.sigv4 import Accounts
from lambent.wire.streams import Outgoing

_MOST_BODY = 5 << 30  # bytes: what S3 takes in one request
_ACCOUNT = "x-moto-account-id"
_API_CALL = "x-lambent-api-call"
_FAILURE = "x-lambent-failure"
_SHORT = 1 << 20  # bytes of a message
_MOST_ANSWER = 16 << 20  # bytes of an answer that is read whole
_UNREACHABLE = "ServiceUnavailable"

Headers = list[tuple[str, str]]


class Process(Protocol):
    """The embedded services."""

    async def origin(self) -> Origin:
        """Where they listen. Unreachable."""


class Neighbours:
    """A `lambent.wire.gateway.Guest` for every service that is not native."""

    def __init__(
        self,
        routes: Routes,
        embedded: Process,
        signer: Signer,
        accounts: Accounts,
        clock: Clock,
        region: str,
        permission: Permission | None = None,
        is_built: Callable[[str, str], bool] = lambda service, operation: True,
    ) -> None:
        """`region` is that of requests whose signature names none; `permission` is asked for, where anybody asks.

        `is_built` knows the operations of native services.
        """
        self._permission = permission
        self._is_built = is_built
        self._routes = routes
        self._embedded = embedded
        self._signer = signer
        self._accounts = accounts
        self._clock = clock
        self._region = region
        self._native: set[str] = set()  # signing names that mean native services only
        self.asked: set[str] = set()
        """Services that requests have been passed on for."""

    # The HTTP application

    def claims(self, request: Request) -> bool:
        if recognition.is_invocation(request):
            return False
        name = recognition.signing_name(request)
        if name in self._native and not recognition.is_api_call(request):
            return False
        service = recognition.service_of(request, name)
        if service is None:
            return False
        if self._choice(service, request).mode != NATIVE:
            return True
        meant = models.candidates(name) if name is not None else ()
        if name is not None and all(each not in SHARED and self._routes.of(each).mode == NATIVE for each in meant):
            self._native.add(name)
        return False

    def _choice(self, service: str, request: Request) -> Choice:
        choice = self._routes.of(service)
        if choice.mode == NATIVE and service in SHARED and self._routes.default.mode == EMBEDDED:
            operation = recognition.operation_of(request)
            if operation is not None and not self._is_built(service, operation):
                return self._routes.default
        return choice

    def admit(self, request: Request) -> Response | None:
        service = recognition.service_of(request, recognition.signing_name(request))
        assert service is not None  # it was claimed
        choice = self._choice(service, request)
        if choice.mode == NONE:
            return self._refuse(service, request, not_built(f"the service '{service}' (the setting services: none)"))
        self.asked.add(service)
        request.body_limit = _MOST_BODY
        request.sink = Transit(self._asking(service, choice, request))
        return None

    def too_large(self, request: Request) -> Response:
        error = AwsError("EntityTooLarge", f"A body may have {_MOST_BODY} bytes.", status=413)
        return self._refuse(None, request, error)

    def malformed(self, reason: str) -> Response:
        raise NotImplementedError  # what is not HTTP is nobody's in particular: the gateway answers

    def handle(self, exchange: Exchange) -> None:
        transit = exchange.request.sink
        assert isinstance(transit, Transit)
        transit.complete(exchange)

    def _refuse(self, service: str | None, request: Request, error: AwsError) -> Response:
        route = _route(service, request)
        return serializer.serialize_error(route, refusals.styled(error, route), self._clock.uuid())

    # From inside: a `lambent.wire.operations.Elsewhere`

    def answers(self, service: str) -> bool:
        return self._routes.of(service).mode in (EMBEDDED, UPSTREAM)

    async def call(self, service: str, operation: str, parameters: Parameters, caller: Caller) -> Mapping[str, Any]:
        """What the service answers that is elsewhere; a stream of bytes as `wire.streams.Outgoing`. AwsError."""
        asked, choice = outgoing.call(service, operation, parameters, caller), self._routes.of(service)
        self.asked.add(service)
        if choice.mode == EMBEDDED:
            answer = await self._ask_embedded(service, asked.request, asked.body)
        else:
            answer = await self._ask_upstream(service, choice, asked.request, asked.body)
        if asked.streams is None or answer.status >= 300:
            try:
                return asked.result(answer.status, answer.headers, await answer.whole(_MOST_ANSWER))
            except Unreachable as error:
                raise AwsError(_UNREACHABLE, f"The answer of '{service}' broke off: {error}.", status=502) from None
            finally:
                answer.close()
        result = asked.result(answer.status, answer.headers, b"")
        length = result.get("ContentLength", 0)
        return result | {asked.streams: Outgoing(length, _Pieces(answer), answer.status)}

    # Asking

    def _asking(
        self, service: str, choice: Choice, request: Request
    ) -> Callable[[Transit], Awaitable[Answer | Response]]:
        async def ask(transit: Transit) -> Answer | Response:
            body = transit if _has_body(request) else b""
            try:
                if self._permission is not None and not recognition.is_public(request):
                    if isinstance(body, Transit):
                        body = await body.whole(permission.MOST)
                    await self._permission.demand(service, request, body)
                if choice.mode == EMBEDDED:
                    return await self._ask_embedded(service, request, body)
                return await self._ask_upstream(service, choice, request, body)
            except AwsError as error:
                return self._refuse(service, request, error)

        return ask

    async def _ask_embedded(self, service: str, request: Request, body: Transit | bytes) -> Answer:
        headers = [*_passed_on(request), (_ACCOUNT, self._account(request))]
        if recognition.is_api_call(request):
            headers.append((_API_CALL, "1"))
        try:
            answer = await send(await self._embedded.origin(), request.method, request.target, headers, body)
            if any(name.lower() == _FAILURE for name, _value in answer.headers):
                raise await _failure(service, answer)
            return answer
        except Unreachable as error:
            raise AwsError(
                _UNREACHABLE,
                f"The embedded services (moto) answer for '{service}' and cannot be reached: {error}."
                " What they hold is in memory: when they end it is gone, and the next request starts them anew.",
                status=503,
            ) from error

    async def _ask_upstream(self, service: str, choice: Choice, request: Request, body: Transit | bytes) -> Answer:
        scope = recognition.scope(request)
        region = (scope.region if scope is not None else None) or self._region
        url = choice.url.replace("{region}", region)
        target, headers = request.target, _passed_on(request)
        if choice.credentials:
            source = choice.credentials
            target, headers, body = await self._signer.sign(service, source, url, region, request, headers, body)
        try:
            return await send(Origin.of(url), request.method, target, headers, body)
        except Unreachable as error:
            raise AwsError(
                _UNREACHABLE,
                f"{url} answers for '{service}' (the setting services) and cannot be reached: {error}.",
                status=502,
            ) from error

    def _account(self, request: Request) -> str:
        scope = recognition.scope(request)
        return self._accounts.account_of(scope.access_key_id) if scope is not None else sigv4.DEFAULT_ACCOUNT


class _Pieces:
    """The body of an answer, a `wire.streams.Pieces`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self._answer.read():
            yield piece

    async def aclose(self) -> None:
        self._answer.close()


async def _failure(service: str, answer: Answer) -> AwsError:
    """moto itself has failed, or does not know the operation."""
    try:
        message = orjson.loads(await answer.whole(_SHORT))["message"]
    finally:
        answer.close()
    if answer.status == 501:
        return not_built(f"this operation of '{service}', which the embedded services (moto) answer for: {message}")
    text = f"The embedded services (moto), which answer for '{service}', failed at this request: {message}"
    return AwsError("InternalFailure", text, status=500)


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or (request.headers.get("content-length") or "0").strip("0") != ""


def _passed_on(request: Request) -> Headers:
    return [
        (name, value)
        for name, value in request.headers.items()
        if name not in HOP and name not in (_ACCOUNT, _API_CALL)
    ]


def _route(service: str | None, request: Request) -> Route | None:
    """What an error of `service` looks like to whoever asks: any of its operations, in the request's protocol."""
    if service is None:
        return None
    model = models.service(service)
    protocol = model.protocol
    if "x-amz-target" in request.headers and models.JSON in model.protocols:
        protocol = models.JSON
    elif request.path.startswith("/service/") and models.CBOR in model.protocols:
        protocol = models.CBOR
    elif (request.headers.get("content-type") or "").startswith("application/x-www-form-urlencoded"):
        protocol = next((each for each in model.protocols if each in (models.QUERY, models.EC2)), protocol)
    return Route(model, model.operation(min(model.operation_names)), protocol)
