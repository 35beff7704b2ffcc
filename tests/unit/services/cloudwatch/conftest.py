"""The metric service on a real database and a fake clock, asked through the in-process client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lambent.base.db import SqliteDatabase, migrate
from lambent.services.cloudwatch import service
from lambent.services.cloudwatch.store import MIGRATIONS, MetricStore
from lambent.testing import FakeClock
from lambent.wire.errors import AwsError
from lambent.wire.operations import Caller, Client, Operations

ACCOUNT, OTHER, REGION = "111111111111", "222222222222", "us-east-1"


class MetricsLab:
    def __init__(self, root: Path) -> None:
        self.path = root / "metrics.db"
        self.clock = FakeClock()

    async def start(self, bound: int = 64 << 20) -> None:
        self.db = SqliteDatabase(self.path)
        await migrate(self.db, MIGRATIONS)
        self.store = MetricStore(self.db, self.clock, bound)
        await self.store.start()
        self.operations = Operations()
        service.register(self.store, self.operations)
        self.client = Client(self.operations, self.clock)

    async def stop(self) -> None:
        await self.store.stop()
        await self.db.close()

    @property
    def now(self) -> datetime:
        return self.clock.now()

    @property
    def minute(self) -> datetime:
        return self.now.replace(second=0, microsecond=0)

    def ago(self, **parts: int) -> datetime:
        return self.now - timedelta(**parts)

    async def call(self, operation: str, *, account: str = ACCOUNT, **members: Any) -> Any:
        return await self.client.call("cloudwatch", operation, members, Caller(account, REGION))

    async def refusal(self, operation: str, **members: Any) -> tuple[str, str]:
        try:
            answer = await self.call(operation, **members)
        except AwsError as error:
            return error.code, str(error.message)
        raise AssertionError(f"no error but {answer}")

    async def put(self, name: str, *values: float, at: datetime | None = None, **members: Any) -> None:
        datum = {"MetricName": name, "Values": list(values), "Timestamp": at or self.now} | members
        await self.call("PutMetricData", Namespace="mine", MetricData=[datum])

    async def points(self, name: str, *statistics: str, period: int = 60, hours: int = 1, **members: Any) -> list[Any]:
        """In the order of their times."""
        plain = [one for one in statistics if one[0].isupper() and "(" not in one]
        extended = [one for one in statistics if one not in plain]
        more: dict[str, Any] = {"Statistics": plain} if plain else {}
        more |= {"ExtendedStatistics": extended} if extended else {}
        answer = await self.call(
            "GetMetricStatistics",
            Namespace="mine",
            MetricName=name,
            Period=period,
            **({"StartTime": self.ago(hours=hours), "EndTime": self.now + timedelta(minutes=1)} | more | members),
        )
        return sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])

    async def data(self, *queries: dict[str, Any], **members: Any) -> Any:
        times = {"StartTime": self.ago(hours=1), "EndTime": self.now + timedelta(minutes=1)}
        return await self.call("GetMetricData", MetricDataQueries=list(queries), **(times | members))


def stat(id: str, name: str, stat: str = "Sum", *, namespace: str = "mine", period: int = 60, **more: Any) -> Any:
    metric = {"Namespace": namespace, "MetricName": name, "Dimensions": more.pop("dimensions", [])}
    return {"Id": id, "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}} | more


@pytest.fixture
async def metrics(tmp_path: Path) -> AsyncIterator[MetricsLab]:
    lab = MetricsLab(tmp_path)
    await lab.start()
    yield lab
    await lab.stop()
