"""Subscription filters: what a pattern lets through goes to a function, by way of the queue of asynchronous events.

Source: "Log group-level subscription filters" of AWS's guide: the event is `{"awslogs": {"data": …}}`, a message as
JSON in gzip in base64, of events of one stream.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from lambent.services.iam import documents, evaluator
from lambent.services.iam.evaluator import Policies, Question
from lambent.services.iam.principals import Principal
from lambent.services.logs import errors
from lambent.services.logs.blocks import Block, Line
from lambent.services.logs.filters import SUBSCRIPTIONS, Filter, Filters
from lambent.services.logs.records import GroupKey, GroupRecord, Place
from lambent.services.logs.store import LogStore
from lambent.services.logs.taps import Patterns
from lambent.wire.errors import AwsError, not_built
from lambent.wire.operations import Caller, Client, Context, Operations, Parameters

_MOST = 2  # filters of a group
_FUNCTION = re.compile(r"arn:aws[\w-]*:lambda:([a-z0-9-]+):(\d{12}):function:([\w-]+)(?::([\w$-]+))?")
_PRINCIPAL = "logs.amazonaws.com"
_MESSAGE = 400_000  # characters of the events of one message: it stays below an event's limit whatever they hold
_MOST_WAITING = 32 << 20  # bytes of messages that are not in the queue yet; what comes on top is lost
_HINT = "Make sure you have given CloudWatch Logs permission to execute your function."
_CANNOT = f"Could not execute the lambda function. {_HINT}"
_LOOP_SECONDS = 60.0  # between two warnings about a loop

_log = logging.getLogger("lambent.logs")
_Message = tuple[GroupKey, str, bytes]
"""(group, ARN of the function, event)"""


class Subscriptions:
    """The operations, and the tap that carries events out."""

    def __init__(self, store: LogStore, operations: Operations) -> None:
        self._store = store
        self._operations = operations
        self._lambda = Client(operations, store.clock)
        self._filters = Filters(store, SUBSCRIPTIONS, _MOST)
        self._patterns = Patterns()
        self._waiting: list[_Message] = []
        self._size = 0
        self._lost = 0
        self._carrier: asyncio.Task[None] | None = None
        self._warned = float("-inf")

    def register(self, operations: Operations) -> None:
        operations.register("logs", "PutSubscriptionFilter", self.put)
        operations.register("logs", "DescribeSubscriptionFilters", self.describe)
        operations.register("logs", "DeleteSubscriptionFilter", self.delete)
        self._store.taps.add(self)

    async def put(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        """InvalidParameterException for a function that is not there, may not be invoked, or would feed itself."""
        arn, key = (
            parameters["destinationArn"],
            GroupKey(context.caller.account, context.caller.region, parameters["logGroupName"]),
        )
        match = _FUNCTION.fullmatch(arn)
        if match is None:
            kind = arn.split(":")[2] if arn.count(":") > 4 else "?"
            if kind in ("kinesis", "firehose", "logs"):
                raise not_built(f"subscription filters to {kind} (they go to functions here)")
            raise errors.invalid(f"The destination {arn} is no function.")
        if parameters.get("emitSystemFields"):
            raise not_built("system fields of subscription filters")
        if (match[1], match[2]) != (context.caller.region, context.caller.account):
            raise errors.invalid("The function of a subscription filter must be of the same account and region.")
        if not await self._may_invoke(key, arn):
            raise errors.invalid(_CANNOT)
        if way := await self._loop(key, arn):
            raise errors.invalid(f"The function would be invoked by what it prints, without end: {' → '.join(way)}.")
        await self._filters.put(context.caller, parameters, ("destinationArn", "roleArn", "distribution"))
        return {}

    async def describe(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        shown, token = await self._filters.describe(context.caller, parameters)
        return {"subscriptionFilters": [{"distribution": "ByLogStream", **one} for one in shown], **token}

    async def delete(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        await self._filters.delete(context.caller, parameters, "The specified subscription filter does not exist.")
        return {}

    async def stop(self) -> None:
        """What is not in the queue by now is lost."""
        if self._carrier is not None:
            self._carrier.cancel()
            await asyncio.gather(self._carrier, return_exceptions=True)

    # In the thread that writes

    def take(self, key: GroupKey, record: GroupRecord, block: Block) -> None:
        for one in record.subscriptions.values():
            messages = list(self._messages(key, one, block))
            if messages:
                self._store.on_loop(lambda messages=messages: self._carry(messages))  # type: ignore[misc]

    def _messages(self, key: GroupKey, one: Filter, block: Block) -> Iterator[_Message]:
        for stream, lines in self._patterns.matched(one["filterPattern"], block.lines):
            for part in _parts(lines):
                content = {
                    "messageType": "DATA_MESSAGE",
                    "owner": key.account,
                    "logGroup": key.name,
                    "logStream": stream,
                    "subscriptionFilters": [one["filterName"]],
                    "logEvents": [
                        {"id": str(Place(at, sequence)), "timestamp": at, "message": text}
                        for at, sequence, text in part
                    ],
                }
                data = base64.b64encode(gzip.compress(orjson.dumps(content), 1, mtime=0)).decode()
                yield key, one["destinationArn"], orjson.dumps({"awslogs": {"data": data}})

    # On the loop

    def _carry(self, messages: Sequence[_Message]) -> None:
        for message in messages:
            if self._size + len(message[2]) > _MOST_WAITING:
                self._lost += 1
                continue
            self._size += len(message[2])
            self._waiting.append(message)
        if self._carrier is None or self._carrier.done():
            self._carrier = asyncio.get_running_loop().create_task(self._deliver())

    async def _deliver(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            lost, self._lost = self._lost, 0
            if lost:
                _log.error("%d messages to functions that subscribe to logs are lost: too many wait", lost)
            for key, arn, event in batch:
                try:
                    await self._hand_over(key, arn, event)
                except AwsError as error:
                    _log.warning("events of %s were not sent to %s: %s", key.name, arn, error)
                except Exception:
                    _log.exception("events of %s were not sent to %s", key.name, arn)
                finally:
                    self._size -= len(event)

    async def _hand_over(self, key: GroupKey, arn: str, event: bytes) -> None:
        if way := await self._loop(key, arn):
            now = self._store.clock.monotonic()
            if now - self._warned > _LOOP_SECONDS:
                self._warned = now
                _log.error("events of %s are not sent to %s, which would never end: %s", key.name, arn, " → ".join(way))
            return
        if not await self._may_invoke(key, arn):
            raise AwsError("AccessDeniedException", f"its policy does not allow {_PRINCIPAL} to invoke it")
        parameters = {"FunctionName": arn, "InvocationType": "Event", "Payload": event}
        await self._lambda.call("lambda", "Invoke", parameters, _as_service(key))

    async def _may_invoke(self, key: GroupKey, arn: str) -> bool:
        """Whether there is such a function and, while callers have to prove who they are, its policy lets us."""
        try:
            await self._lambda.call("lambda", "GetFunctionConfiguration", {"FunctionName": arn}, _as_service(key))
            if not self._operations.gate.enforces:
                return True
            answer = await self._lambda.call("lambda", "GetPolicy", {"FunctionName": arn}, _as_service(key))
        except AwsError:
            return False
        context = {"aws:sourcearn": (f"{key.arn}:*",), "aws:sourceaccount": (key.account,)}
        principal = Principal(service=_PRINCIPAL)
        question = Question(principal, "lambda:InvokeFunction", arn, key.account, context)
        policy = documents.parse(answer["Policy"], documents.Kind.RESOURCE, "the function's policy")
        return evaluator.evaluate(question, Policies(resource=policy, resource_decides=True)).allowed

    async def _loop(self, key: GroupKey, arn: str) -> list[str]:
        """The way by which what the function prints comes back to it; empty when there is none."""
        records = await self._store.run(lambda shelf: {one.key: one.record for one in shelf.groups.values()})
        waiting, seen = [(arn, [key.name])], set()
        while waiting:
            function, way = waiting.pop()
            if function in seen:
                continue
            seen.add(function)
            group = await self._group_of(key, function)
            if group is None:
                continue
            way = [*way, function, group.name]
            if group == key:
                return way
            record = records.get(group)
            waiting += [(one["destinationArn"], way) for one in (record.subscriptions if record else {}).values()]
        return []

    async def _group_of(self, key: GroupKey, arn: str) -> GroupKey | None:
        """Where a function's output goes."""
        try:
            found = await self._lambda.call(
                "lambda", "GetFunctionConfiguration", {"FunctionName": arn}, _as_service(key)
            )
        except AwsError:
            return None
        return GroupKey(key.account, key.region, found["LoggingConfig"]["LogGroup"])


def _as_service(key: GroupKey) -> Caller:
    return Caller(key.account, key.region, via=_PRINCIPAL)


def _parts(lines: Sequence[Line]) -> Iterator[Sequence[Line]]:
    """As many events at once as one message can hold."""
    part: list[Line] = []
    size = 0
    for line in lines:
        if part and size + len(line[2]) > _MESSAGE:
            yield part
            part, size = [], 0
        part.append(line)
        size += (len(line[2]) if line[2].isascii() else 4 * len(line[2])) + 100
    if part:
        yield part
