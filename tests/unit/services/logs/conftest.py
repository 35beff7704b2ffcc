"""The log service on real files and a fake clock, asked through the in-process client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lambent.services.logs import service
from lambent.services.logs.data import Datum
from lambent.services.logs.store import LogStore
from lambent.testing import FakeClock
from lambent.wire.errors import AwsError
from lambent.wire.operations import Caller, Client, Operations

ACCOUNT, OTHER, REGION = "111111111111", "222222222222", "us-east-1"
GROUP = "/aws/lambda/f"


class LogsLab:
    def __init__(self, root: Path) -> None:
        self.directory = root / "logs"
        self.clock = FakeClock()

    async def start(self, bound: int = 64 << 20) -> None:
        self.store = LogStore(self.directory, self.clock, bound)
        await self.store.start()
        self.operations = Operations()
        self.published: list[Datum] = []
        self.subscriptions = service.register(self.store, self.operations, self.published.extend)
        self.client = Client(self.operations, self.clock)

    async def stop(self) -> None:
        await self.subscriptions.stop()
        await self.store.stop()

    @property
    def now(self) -> int:
        return int(self.clock.time() * 1000)

    def print(self, *messages: str, group: str = GROUP, stream: str = "s") -> None:
        """As a function does."""
        write = self.store.writer(ACCOUNT, REGION, group, stream)
        for message in messages:
            write(message)

    async def call(self, operation: str, *, account: str = ACCOUNT, **members: Any) -> Any:
        return await self.client.call("logs", operation, members, Caller(account, REGION))

    async def refusal(self, operation: str, **members: Any) -> tuple[str, str]:
        try:
            answer = await self.call(operation, **members)
        except AwsError as error:
            return error.code, str(error.message)
        raise AssertionError(f"no error but {answer}")

    async def put(self, *events: tuple[int, str], group: str = GROUP, stream: str = "s") -> Any:
        listed = [{"timestamp": timestamp, "message": message} for timestamp, message in events]
        return await self.call("PutLogEvents", logGroupName=group, logStreamName=stream, logEvents=listed)

    async def messages(self, operation: str = "FilterLogEvents", *, group: str = GROUP, **members: Any) -> list[str]:
        answer = await self.call(operation, logGroupName=group, **members)
        return [event["message"] for event in answer["events"]]


@pytest.fixture
async def logs(tmp_path: Path) -> AsyncIterator[LogsLab]:
    lab = LogsLab(tmp_path)
    await lab.start()
    yield lab
    await lab.stop()
