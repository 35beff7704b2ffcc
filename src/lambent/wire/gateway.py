"""The public endpoint: every AWS request from its bytes to its answer.

Admission → scope → route → body → parameters → validation → handler → response. One list, in this order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import urllib.parse
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import orjson

from lambent.base.clock import Clock
from lambent.base.http import Application, Exchange, Request, Response
from lambent.base.http_bodies import BodyLost, BodyStream
from lambent.wire import bodies, buckets, eventstream, origins, refusals, router, serializer, sigv4
from lambent.wire.chunked import Verifier
from lambent.wire.doorman import Doorman
from lambent.wire.errors import AwsError, not_built
from lambent.wire.gate import Access
from lambent.wire.operations import Caller, Context, Handler, Operations, Parameters
from lambent.wire.plans import Plan, Plans
from lambent.wire.router import Route
from lambent.wire.sigv4 import DEFAULT_ACCOUNT, Accounts
from lambent.wire.streams import Outgoing, Receiving

_log = logging.getLogger("lambent.gateway")

_ADMINISTRATION = Access("lambent:Administer")  # what Lambent's own paths need: AdministratorAccess has it

OwnHandler = Callable[[Request], Awaitable[Response]]

INVOKE_LIMIT = 6_291_456  # bytes of a synchronous payload
UPLOAD_LIMIT = 70_167_211  # bytes of a request that carries a zip
_OTHER_LIMIT = 16 << 20
_STREAM_LIMIT = 5 << 30  # bytes of a body that goes to the disk as it comes: what S3 takes at once
_FRAMING_LIMIT = 1 << 27  # bytes more that its framing may take
_OWN_PREFIXES = ("/_lambent/", "/_localstack/")
_OWN_PATH = "/health"
_LIMITS = (
    (re.compile(r"/2015-03-31/functions/[^/]+/invocations/?"), INVOKE_LIMIT, "InvokeFunction"),
    (
        re.compile(r"/2021-11-15/functions/[^/]+/response-streaming-invocations/?"),
        INVOKE_LIMIT,
        "InvokeWithResponseStream",
    ),
    (re.compile(r"/2015-03-31/functions/?"), UPLOAD_LIMIT, "CreateFunction"),
    (re.compile(r"/2015-03-31/functions/[^/]+/code/?"), UPLOAD_LIMIT, "UpdateFunctionCode"),
    (re.compile(r"/2018-10-31/layers/[^/]+/versions/?"), UPLOAD_LIMIT, "PublishLayerVersion"),
)


def _limit(path: str) -> tuple[int, str]:
    """(bytes, the operation's name in the refusal) for a request to `path`."""
    for pattern, limit, name in _LIMITS:
        if pattern.fullmatch(path):
            return limit, name
    return _OTHER_LIMIT, ""


@lru_cache(maxsize=1024)
def _caller(account: str, region: str, access_key_id: str) -> Caller:
    return Caller(account, region, access_key_id)


def _is_signed(request: Request) -> bool:
    return "authorization" in request.headers or "X-Amz-" in request.query


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def _likely(request: Request) -> Route | None:
    """What a request without a readable signature seems to ask for: its errors are in that protocol."""
    for name in (None, "cloudwatch", "iam", "sts"):
        with contextlib.suppress(AwsError):
            return router.route(request, name)
    return None


class _Received(Receiving):
    """A body that comes in while its operation runs already."""

    answer: asyncio.Task[Response | None]

    def respond_to(self, exchange: Exchange) -> None:
        """Once there is an answer. An operation that has its whole body goes on although the client leaves."""

        def respond(task: asyncio.Task[Response | None]) -> None:
            response = None if task.cancelled() else task.result()
            if response is not None:
                exchange.respond(response)

        self.answer.add_done_callback(respond)


class Guest(Application, Protocol):
    """Another HTTP application on the same endpoint: the container registry's protocol is not AWS's."""

    def claims(self, request: Request) -> bool:
        """Whether the request is for it. Asked of every request: costs next to nothing."""


class Pages(Protocol):
    """Knows which web pages of others may ask S3: those that its buckets name."""

    def granted(self, request: Request) -> Sequence[tuple[str, str]] | None:
        """The headers that go with the answer; None for a page that may not ask."""


class Forms(Protocol):
    """Takes objects that are posted by HTML forms, which no service model describes."""

    async def post(self, context: Context, request: Request, body: BodyStream) -> Response:
        """The answer. Raises AwsError."""


class Gateway:
    """An HTTP application that speaks AWS."""

    def __init__(
        self,
        operations: Operations,
        clock: Clock,
        accounts: Accounts | None = None,
        region: str = "us-east-1",
        doorman: Doorman | None = None,
    ) -> None:
        """`region` is that of requests whose signature names none; `doorman` verifies them, None: nobody does."""
        self._doorman = doorman
        self._operations = operations
        self._clock = clock
        self._accounts = accounts or Accounts()
        self._region = region
        self._plans = Plans()
        self._own: list[tuple[str, OwnHandler]] = []
        self._open: list[str] = []
        self._guests: list[Guest] = []
        self._pages: Pages | None = None
        self._forms: Forms | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def route(self, prefix: str, handler: OwnHandler, *, open_to_all: bool = False) -> None:
        """Answer the paths below `prefix` (of `_OWN_PREFIXES`, or `_OWN_PATH`) by `handler`.

        Where signatures are verified, only administrators get an answer, unless it is `open_to_all`.
        """
        self._own.append((prefix, handler))
        if open_to_all:
            self._open.append(prefix)

    @staticmethod
    def is_own(request: Request) -> bool:
        """Whether the request is for a page of this server's own rather than for AWS's API."""
        path = request.path
        return path.startswith(_OWN_PREFIXES) or (path == _OWN_PATH and not _is_signed(request))

    def host(self, guest: Guest) -> None:
        """Hand the requests that `guest` claims over to it."""
        self._guests.append(guest)

    def invite(self, pages: Pages) -> None:
        """Let the web pages ask S3 that `pages` knows."""
        self._pages = pages

    def take(self, forms: Forms) -> None:
        """Hand the forms that are posted to buckets over to `forms`."""
        self._forms = forms

    def _is_form(self, request: Request) -> bool:
        kind = request.headers.first.get(b"content-type")
        if self._forms is None or kind is None or not kind.lower().startswith(b"multipart/form-data"):
            return False
        return self._is_for_s3(request)

    @staticmethod
    def _is_for_s3(request: Request) -> bool:
        with contextlib.suppress(AwsError):
            scope = sigv4.read(request)
            return router.service_of(request, scope.service if scope is not None else None) == "s3"
        return False

    def _granted(self, request: Request) -> Sequence[tuple[str, str]] | None:
        """Of a page's request: the headers of the answer, if it is for S3 and the bucket lets the page ask."""
        if self._pages is None or b"origin" not in request.headers.first:
            return None
        return self._pages.granted(request) if self._is_for_s3(request) else None

    def _guest(self, request: Request) -> Guest | None:
        for guest in self._guests:
            if guest.claims(request):
                return guest
        return None

    # The HTTP application

    def admit(self, request: Request) -> Response | None:
        invited = self._granted(request) is not None
        if self._doorman is None and (reason := origins.refusal(request, invited=invited)):  # a web page cannot sign
            error = AwsError("AccessDeniedException", reason, status=403)
            return serializer.serialize_error(None, error, self._clock.uuid())
        request.path = buckets.path_of(request)
        if guest := self._guest(request):
            return guest.admit(request)
        request.body_limit = _limit(request.path)[0]
        if request.method == "PUT" and not self.is_own(request):
            self._receive(request)
        elif request.method == "POST" and self._is_form(request):
            receiving = _Received(request)
            self._begin(request, receiving, self._take_form(request, receiving))
        return None

    def _receive(self, request: Request) -> None:
        """Begin with the operation at once where its handler reads the body as it comes."""
        try:
            scope = sigv4.read(request)
            plan = self._plans.find(request, scope.service if scope is not None else None)
        except AwsError:
            return  # told when the body is there
        if plan.takes is None:
            return
        receiving = _Received(request)
        self._begin(request, receiving, self._take(request, plan, scope, receiving))

    def _begin(self, request: Request, receiving: _Received, taking: Coroutine[Any, Any, Response | None]) -> None:
        request.sink, request.body_limit = receiving, _STREAM_LIMIT + _FRAMING_LIMIT
        receiving.answer = asyncio.get_running_loop().create_task(taking)
        self._tasks.add(receiving.answer)
        receiving.answer.add_done_callback(self._tasks.discard)

    async def _take_form(self, request: Request, receiving: Receiving) -> Response | None:
        """As `_take` for a form, which says in its fields who posts it."""
        request_id = self._clock.uuid()
        try:
            assert self._forms is not None
            return await self._forms.post(self._context(request, self._caller(None), request_id), request, receiving)
        except BodyLost:
            return None
        except AwsError as error:
            return serializer.serialize_s3_error(error, request_id)
        except Exception:
            return self._failed(request, None, request_id)
        finally:
            receiving.discard()

    async def _take(
        self, request: Request, plan: Plan, scope: sigv4.Scope | None, receiving: Receiving
    ) -> Response | None:
        """The answer to a request whose body is on its way; None when the client is gone."""
        request_id, incoming = self._clock.uuid(), receiving.incoming
        try:
            assert plan.takes is not None
            caller, incoming.verifier = await self._prove(plan, request, scope, None)
            parameters = {**plan.parameters_but_body(request), plan.takes: incoming}
            context = self._context(request, caller, request_id)
            result = await self._ask(plan, self._handler(plan), context, parameters)
            return serializer.serialize(plan.route, result, request_id)
        except BodyLost:
            return None
        except AwsError as error:
            return serializer.serialize_error(plan.route, refusals.styled(error, plan.route), request_id)
        except Exception:
            return self._failed(request, plan.route, request_id)
        finally:
            receiving.discard()

    def too_large(self, request: Request) -> Response:
        if guest := self._guest(request):
            return guest.too_large(request)
        limit, name = _limit(request.path)
        suffix = f" for the {name} operation" if name else ""
        message = f"Request must be smaller than {limit} bytes{suffix}"
        error = AwsError("RequestEntityTooLargeException", message, status=413)
        return serializer.serialize_error(None, error, self._clock.uuid())

    def malformed(self, reason: str) -> Response:
        error = AwsError("BadRequestException", f"This is not HTTP: {reason}", status=400)
        return serializer.serialize_error(None, error, self._clock.uuid())

    def handle(self, exchange: Exchange) -> None:
        if guest := self._guest(exchange.request):
            guest.handle(exchange)
            return
        if (granted := self._granted(exchange.request)) is not None:
            exchange.add_headers(granted)
            if exchange.request.method == "OPTIONS":  # the question whether the page may ask
                exchange.respond(Response(200))
                return
        receiving = exchange.request.sink
        if isinstance(receiving, _Received):
            receiving.complete()
            receiving.respond_to(exchange)
            return
        task = asyncio.get_running_loop().create_task(self._answer(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        exchange.on_close(lambda: _cancel(task))

    async def _answer(self, exchange: Exchange) -> None:
        request = exchange.request
        if self.is_own(request):
            exchange.respond(await self._answer_own(request))
            return
        request_id = self._clock.uuid()
        route: Route | None = None
        try:
            scope = sigv4.read(request)
            plan = self._plans.find(request, scope.service if scope is not None else None)
            route = plan.route
            response = await self._call(plan, exchange, scope, request_id)
        except AwsError as error:
            response = await self._refuse(request, route, error, request_id)
        except Exception:
            response = self._failed(request, route, request_id)
        if response is not None:
            exchange.respond(response)

    def _failed(self, request: Request, route: Route | None, request_id: str) -> Response:
        """The answer after an exception that nobody foresaw, which is being handled."""
        _log.exception("request %s: %s %s failed", request_id, request.method, request.path)
        failure = AwsError("ServiceException", "An internal error occurred.", status=500)
        return serializer.serialize_error(route, failure, request_id)

    async def _call(
        self, plan: Plan, exchange: Exchange, scope: sigv4.Scope | None, request_id: str
    ) -> Response | None:
        """The answer; None when it was a stream, which is over."""
        request, route = exchange.request, plan.route
        body = request.body
        caller, verifier = await self._prove(plan, request, scope, body)
        handler = self._handler(plan)
        if bodies.is_coded(request.headers):
            if verifier is not None:
                raise not_built("chunks that are signed one by one, but those of objects and parts")
            limit, framing_only = request.body_limit or _OTHER_LIMIT, route.service.name == "s3"
            body = bodies.decode_body(request.headers, body, limit=limit, framing_only=framing_only)
        parameters = plan.parameters(request, body)
        result = await self._ask(plan, handler, self._context(request, caller, request_id), parameters)
        if plan.stream is not None and (events := result.get(plan.stream)) is not None:
            await self._stream(exchange, route, result, events, request_id)
            return None
        if plan.outgoing is not None and isinstance(outgoing := result.get(plan.outgoing), Outgoing):
            head = serializer.serialize(route, {**result, plan.outgoing: b""}, request_id)
            await self._send(exchange, head._replace(status=outgoing.status), outgoing)
            return None
        return serializer.serialize(route, result, request_id)

    def _handler(self, plan: Plan) -> Handler:
        service, operation = plan.route.service.name, plan.route.operation.name
        handler = self._operations.find(service, operation)
        if handler is None:
            raise not_built(f"{service}.{operation}")
        return handler

    async def _ask(self, plan: Plan, handler: Handler, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        """What the handler answers, if the caller may ask."""
        gate = self._operations.gate
        if gate.enforces:
            caller, route = context.caller, plan.route
            accesses = self._operations.accesses(route.service.name, route.operation.name, caller, parameters)
            await gate.authorize(caller, *accesses)
        return await handler(context, parameters)

    async def _prove(
        self, plan: Plan, request: Request, scope: sigv4.Scope | None, body: bytes | None
    ) -> tuple[Caller, Verifier | None]:
        """Who calls, and who checks the chunks of a body that is signed by chunks. `body`: None while it is to come."""
        if self._doorman is None or plan.route.operation.auth_type == "none":
            return self._caller(scope), None
        caller, proof = await self._doorman.prove(request, body)
        return caller, proof.chunks

    def _context(self, request: Request, caller: Caller, request_id: str) -> Context:
        trace = request.headers.get("x-amzn-trace-id")
        return Context(caller, request_id, self._endpoint(request), trace)

    async def _send(self, exchange: Exchange, head: Response, outgoing: Outgoing) -> None:
        """Send a body as it is read, no faster than the client takes it."""
        try:
            stream = exchange.stream(head, outgoing.length)
            if stream is None:
                return
            try:
                async for piece in outgoing.pieces:
                    await stream.write(piece)
                stream.end()
            except Exception:
                _log.exception("the body of %s could not be read", exchange.request.path)
                stream.abort()
        finally:
            await outgoing.pieces.aclose()

    async def _stream(
        self, exchange: Exchange, route: Route, result: Mapping[str, Any], events: eventstream.Events, request_id: str
    ) -> None:
        """Send events as they come, no faster than the client takes them."""
        stream = exchange.stream(eventstream.head(route, result, request_id))
        if stream is None:
            await events.aclose()
            return
        try:
            await stream.write(eventstream.initial_response(route, result))
            async for name, members in events:
                await stream.write(eventstream.event(route, name, members))
        except Exception:
            _log.exception("request %s: the events of %s failed", request_id, route.operation.name)
            await stream.write(eventstream.failure("InternalFailure", "An internal error occurred."))
        finally:
            await events.aclose()
        stream.end()

    async def _refuse(self, request: Request, route: Route | None, error: AwsError, request_id: str) -> Response:
        """An error in the protocol of what was asked. Who has not proven who they are learns nothing else first."""
        if self._doorman is not None and route is None:
            route = _likely(request)
            if route is None or route.operation.auth_type != "none":
                try:
                    await self._doorman.prove(request, request.body)
                except AwsError as refusal:
                    error = refusal
        if route is None and self._is_for_s3(request):
            return serializer.serialize_s3_error(error, request_id)
        return serializer.serialize_error(route, refusals.styled(error, route), request_id)

    def _caller(self, scope: sigv4.Scope | None) -> Caller:
        if scope is None:
            return Caller(DEFAULT_ACCOUNT, self._region)
        key = scope.access_key_id
        return _caller(self._accounts.account_of(key), scope.region or self._region, key)

    @staticmethod
    def _endpoint(request: Request) -> str:
        host = request.headers.get("host") or "127.0.0.1"
        return f"http://{host}"

    # Our own paths

    async def _answer_own(self, request: Request) -> Response:
        if self._doorman is not None and not request.path.startswith(tuple(self._open)):
            try:
                caller, _proof = await self._doorman.prove(request, request.body)
                await self._operations.gate.authorize(caller, _ADMINISTRATION)
                asked = urllib.parse.parse_qs(request.query).get("account", [caller.account])
                if asked != [caller.account]:
                    raise AwsError("AccessDeniedException", "An administrator sees their own account.", status=403)
            except AwsError as error:
                return serializer.serialize_error(None, error, self._clock.uuid())
        for prefix, handler in self._own:
            if request.path.startswith(prefix):
                try:
                    return await handler(request)
                except Exception:
                    _log.exception("%s %s failed", request.method, request.path)
                    return Response(500, (("Content-Type", "application/json"),), b'{"message":"internal error"}')
        path = urllib.parse.unquote(request.path)
        body = orjson.dumps({"message": f"there is nothing at {path}"})
        return Response(404, (("Content-Type", "application/json"),), body)
