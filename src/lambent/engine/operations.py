"""The operations that run functions: Invoke, InvokeWithResponseStream and the deprecated InvokeAsync."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from lambent.control.records import LATEST, Function, FunctionKey
from lambent.control.store import FunctionStore
from lambent.engine.invocation import Invocation, Tail
from lambent.engine.invoker import Invoker, new_trace
from lambent.engine.response_streams import ResponseStreams
from lambent.wire import arn
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Operations, Parameters

_SETTLE_SECONDS = 5.0  # how long an invocation waits for a function that is still being created
_NOT_READY = "Lambda is initializing your function. It will be ready to invoke once your function state becomes ACTIVE."
EVENT_LIMIT = 1_048_576  # bytes of an asynchronous payload
OLD_EVENT_LIMIT = 262_144  # bytes of InvokeAsync's
_CLIENT_CONTEXT_LIMIT = 3583  # bytes of base64


class Aliases(Protocol):
    """What invocations ask of the control plane's aliases."""

    def route(self, key: FunctionKey, name: str) -> str | None:
        """The version that takes the next invocation of an alias; None when there is no such alias."""


class Queue(Protocol):
    """Takes what is to run without its caller waiting."""

    async def accept(
        self, request_id: str, key: FunctionKey, qualifier: str | None, payload: bytes, trace: str, tenant: str | None
    ) -> None:
        """Take an event, durable when this returns. `payload` is JSON."""


class Invocations:
    """Handlers of Lambda's data plane."""

    def __init__(self, store: FunctionStore, aliases: Aliases, invoker: Invoker, queue: Queue) -> None:
        self._store = store
        self._aliases = aliases
        self._invoker = invoker
        self._queue = queue
        self._streams = ResponseStreams(invoker)

    def register(self, operations: Operations) -> None:
        operations.register("lambda", "Invoke", self.invoke)
        operations.register("lambda", "InvokeWithResponseStream", self.invoke_with_response_stream)
        operations.register("lambda", "InvokeAsync", self.invoke_async)

    async def invoke(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        """Run a function and answer what it returned; an event is only taken into the queue.

        ResourceNotFoundException for unknown functions and versions, ResourceConflictException while the function
        cannot be invoked, InvalidRequestContentException when the payload is not JSON, RequestEntityTooLargeException
        when an event is too large.
        """
        if parameters.get("InvocationType") == "Event":
            await self._accept(context, parameters, parameters.get("Payload") or b"{}", EVENT_LIMIT)
            return {"StatusCode": 202}
        invocation = await self._invocation(context, parameters)
        if invocation is None:
            return {"StatusCode": 204}
        outcome = await self._invoker.invoke(invocation)
        answer = {
            "StatusCode": 200,
            "ExecutedVersion": invocation.function.version,
            "Payload": outcome.payload,
        }
        if outcome.function_error is not None:
            answer["FunctionError"] = outcome.function_error
        if invocation.tail is not None:
            answer["LogResult"] = invocation.tail.encoded()
        return answer

    async def invoke_with_response_stream(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        """Run a function and answer what it returns as it comes; a function that does not stream, in a few pieces.

        Errors as `invoke`; what goes wrong once the function runs is told by the last event.
        """
        invocation = await self._invocation(context, parameters)
        if invocation is None:
            return {"StatusCode": 204}
        events = await self._streams.run(invocation)
        return {"StatusCode": 200, "ExecutedVersion": invocation.function.version, "EventStream": events}

    async def invoke_async(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        """Take an event into the queue; errors as `invoke`."""
        await self._accept(context, parameters, parameters["InvokeArgs"] or b"{}", OLD_EVENT_LIMIT)
        return {"Status": 202}

    async def _accept(self, context: Context, parameters: Parameters, payload: bytes, limit: int) -> None:
        if len(payload) > limit:
            message = f"{len(payload)} byte payload is too large for the Event invocation type (limit {limit} bytes)"
            raise AwsError("RequestEntityTooLargeException", message, status=413)
        name = arn.parse(parameters["FunctionName"], parameters.get("Qualifier"), context.caller)
        key = FunctionKey(name.account, name.region, name.name)
        function = self._store.serving(key, name.qualifier) or await self._routed(key, name.qualifier or LATEST)
        tenant = _tenant(function, parameters.get("TenantId"))
        _check_json(payload)
        _client_context(parameters.get("ClientContext"))  # checked, and then only for who waits for the answer
        trace = context.trace_header or new_trace()
        await self._queue.accept(context.request_id, key, name.qualifier, payload, trace, tenant)

    async def _invocation(self, context: Context, parameters: Parameters) -> Invocation | None:
        """What the parameters ask for; None for a dry run that would have gone well."""
        name = arn.parse(parameters["FunctionName"], parameters.get("Qualifier"), context.caller)
        key = FunctionKey(name.account, name.region, name.name)
        qualifier = name.qualifier
        function = self._store.serving(key, qualifier)
        if function is None:
            function = await self._routed(key, qualifier or LATEST)
        tenant = _tenant(function, parameters.get("TenantId"))
        payload = parameters.get("Payload") or b"{}"
        _check_json(payload)
        if parameters.get("InvocationType") == "DryRun":
            return None
        return Invocation(
            context.request_id,
            function,
            payload,
            key.arn(qualifier),
            context.trace_header or new_trace(),
            _client_context(parameters.get("ClientContext")),
            tenant,
            tail=Tail() if parameters.get("LogType") == "Tail" else None,
        )

    async def _routed(self, key: FunctionKey, qualifier: str) -> Function:
        """The version behind an alias, or one that is still being made; the fitting error when there is none."""
        version = self._aliases.route(key, qualifier) or qualifier
        if (function := self._store.serving(key, version)) is not None:
            return function
        known = await self._store.get(key, version)
        if known is None:
            missing = key.arn(qualifier)
            raise AwsError("ResourceNotFoundException", f"Function not found: {missing}", Type="User")
        if known.version != LATEST and known.snap_start != "None" and known.state == "Pending":
            raise AwsError("SnapStartNotReadyException", _NOT_READY, Type="User")
        await self._store.settled(key, _SETTLE_SECONDS, version)
        if (function := self._store.serving(key, version)) is not None:
            return function
        known = await self._store.get(key, version) or known
        raise AwsError(
            "ResourceConflictException",
            "The operation cannot be performed at this time. "
            f"The function is currently in the following state: {known.state}",
            Type="User",
        )


def _tenant(function: Function, given: str | None) -> str | None:
    """`given`, which functions with tenancy need and no other may have. Messages as AWS shows them."""
    if function.per_tenant and given is None:
        problem = "is enabled with tenancy configuration. Add a valid tenant ID in"
    elif given is not None and not function.per_tenant:
        problem = "is not enabled with tenancy configuration. Remove the tenant ID from"
    else:
        return given
    message = f"The invoked function {problem} your request and try again."
    raise AwsError("InvalidParameterValueException", message, Type="User")


def _check_json(payload: bytes) -> None:
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        reason = _unexpected_start(payload) or error
        message = f"Could not parse request body into json: Could not parse payload into json: {reason}"
        raise AwsError("InvalidRequestContentException", message, Type="User") from None


def _unexpected_start(payload: bytes) -> str | None:
    """In AWS's words, what is wrong with a payload whose first character begins no JSON value; None for any other."""
    before = len(payload) - len(payload.lstrip(b" \t\r\n"))
    if before == len(payload) or chr(payload[before]).isalnum() or payload[before] in b'{["-_$':
        return None
    code = payload[before]
    shown = "(CTRL-CHAR" if code < 0x20 or 0x7F <= code <= 0x9F else f"('{chr(code)}'"
    shown += f", code {code})" if shown == "(CTRL-CHAR" else f" (code {code}))"
    line, column = payload.count(b"\n", 0, before) + 1, before - payload.rfind(b"\n", 0, before)
    return (
        f"Unexpected character ({shown}): expected a valid value (JSON String, Number, Array, Object or token 'null',"
        " 'true' or 'false')\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled);"
        f" line: {line}, column: {column}]"
    )


def _client_context(header: str | None) -> str | None:
    """The JSON text behind the base64 of X-Amz-Client-Context."""
    if not header:
        return None
    message = "Client context must be a valid Base64-encoded JSON object."
    if len(header) > _CLIENT_CONTEXT_LIMIT:
        raise AwsError("InvalidRequestContentException", f"{message} It is larger than 3583 bytes.", Type="User")
    try:
        text = base64.b64decode(header, validate=True)
        orjson.loads(text)
        return text.decode("ascii", "strict") if text.isascii() else orjson_ascii(text)
    except (binascii.Error, orjson.JSONDecodeError):
        raise AwsError("InvalidRequestContentException", message, Type="User") from None


def orjson_ascii(text: bytes) -> str:
    """JSON in ASCII: the context travels on in an HTTP header."""
    import json

    return json.dumps(orjson.loads(text), separators=(",", ":"))
