"""What is told of an asynchronous event that has ended, and whom: records of version 1.0, as AWS writes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from lambent.control.records import LATEST, FunctionKey
from lambent.engine.invocation import Outcome
from lambent.sources.event_store import Event
from lambent.sources.schedule import Condition, End

_NAMES = {"sqs": "SQS queues", "sns": "SNS topics", "events": "EventBridge buses", "s3": "S3 buckets"}


def record(event: Event, end: End, outcome: Outcome | None, version: str, now: datetime) -> bytes:
    """The record as JSON. `outcome` is what the function's `version` came to; None when it did not run."""
    said: dict[str, Any] = {
        "version": "1.0",
        "timestamp": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03}Z",
        "requestContext": {
            "requestId": event.request_id,
            "functionArn": event.key.arn(event.qualifier or LATEST),
            "condition": end.condition.value,
            "approximateInvokeCount": end.runs,
        },
        "requestPayload": orjson.Fragment(event.payload),
    }
    if outcome is not None:
        context: dict[str, Any] = {"statusCode": 200, "executedVersion": version}
        if outcome.function_error is not None:
            context["functionError"] = outcome.function_error
        said |= {"responseContext": context, "responsePayload": _json(outcome.payload)}
    return orjson.dumps(said)


def _json(payload: bytes) -> Any:
    """Embedded as it is; text that is not JSON as a string."""
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload.decode("utf-8", "replace") if payload else None
    return orjson.Fragment(payload)


def destination(config: Mapping[str, Any], condition: Condition) -> str | None:
    """The ARN that an event invoke config names for this end."""
    side = "OnSuccess" if condition is Condition.SUCCESS else "OnFailure"
    arn: str | None = config.get("DestinationConfig", {}).get(side, {}).get("Destination")
    return arn or None


def function_named(arn: str) -> tuple[FunctionKey, str | None] | None:
    """The function that an ARN names, with its qualifier; None when it is of another service."""
    _, _, service, region, account, *rest = arn.split(":")
    if service != "lambda":
        return None
    return FunctionKey(account, region, rest[1]), rest[2] if len(rest) > 2 else None


def not_there(arn: str) -> str:
    """Why nothing can be delivered to a destination that is no function."""
    service = arn.split(":")[2]
    return f"Lambent has no {_NAMES.get(service, service)} yet"
