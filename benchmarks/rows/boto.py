"""Warm invokes as a program sees them that uses boto3: most of the time is the SDK's own."""

from __future__ import annotations

import asyncio
import time

import boto3
import wire
from botocore.config import Config
from stand import CODE, RUNTIME, Stand, timed_invoke
from table import put

CONTENDERS = ("lambent", "ministack", "awslambdaric", "socket")


async def measure(stand: Stand) -> None:
    connection = await stand.connect()
    if stand.contender.deploys:
        await wire.create(connection, "boto", RUNTIME, CODE)
    await timed_invoke(connection, "boto")
    connection.close()
    put(stand.figures, "warm, boto3", await asyncio.to_thread(invokes, stand.port, stand.options.seconds))


def invokes(port: int, seconds: float) -> list[float]:
    """Seconds of each invoke of the function "boto", one after the other for `seconds`."""
    client = boto3.client(
        "lambda",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        client.invoke(FunctionName="boto", Payload=b'{"name": "Ada"}')["Payload"].read()
        taken.append(time.perf_counter() - begin)
    client.close()
    return taken
