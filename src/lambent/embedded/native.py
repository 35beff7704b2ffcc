"""The server's own services, as moto calls them: real functions, real roles, real logs."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from lambent.embedded.settings import Settings

_SYNCHRONOUS_SECONDS = 920  # a function may run for 900

_settings: Settings


def use(settings: Settings) -> None:
    global _settings
    _settings = settings


def endpoint() -> str:
    """Where the server listens."""
    return _settings.endpoint


def is_native(service: str) -> bool:
    """Whether the server itself answers for `service` (botocore's name)."""
    return service in _settings.native


@cache
def client(service: str, account: str, region: str) -> Any:
    """A boto3 client of the server's endpoint that speaks for `account`."""
    return boto3.client(
        service,
        endpoint_url=_settings.endpoint,
        region_name=region,
        aws_access_key_id=account,
        aws_secret_access_key="embedded",  # noqa: S106
        config=Config(
            retries={"total_max_attempts": 1},
            read_timeout=_SYNCHRONOUS_SECONDS,
            max_pool_connections=50,
            parameter_validation=False,
            s3={"addressing_style": "path"},
        ),
    )


def send_event(function: str, account: str, region: str, event: Any) -> None:
    """Invoke asynchronously, as AWS's services do: the event is durable with Lambda, which retries. ClientError."""
    body = event if isinstance(event, str | bytes) else json.dumps(event)
    client("lambda", account, region).invoke(FunctionName=function, InvocationType="Event", Payload=body)


def ask(function: str, account: str, region: str, event: Any) -> tuple[bytes, str | None]:
    """Invoke and wait: (the answer, "Handled" or "Unhandled" when the function failed). ClientError."""
    body = event if isinstance(event, str | bytes) else json.dumps(event)
    answer = client("lambda", account, region).invoke(FunctionName=function, Payload=body)
    return answer["Payload"].read(), answer.get("FunctionError")


__all__ = ["ClientError", "ask", "client", "is_native", "send_event", "use"]
