"""S3 on a real database, real files and a fake clock, asked through the in-process client."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from lambent.base import jobs as jobs_module
from lambent.base.db import SqliteDatabase, migrate
from lambent.base.jobs import Jobs
from lambent.services.s3 import store
from lambent.services.s3.service import S3
from lambent.testing import FakeClock
from lambent.wire.errors import AwsError
from lambent.wire.operations import Caller, Client, Operations
from lambent.wire.streams import opened

ACCOUNT, REGION = "111111111111", "us-east-1"
MEBI = 1 << 20


class S3Lab:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock()

    async def start(self) -> None:
        self.db = SqliteDatabase(self.root / "lambent.db")
        await migrate(self.db, [*jobs_module.MIGRATIONS, *store.MIGRATIONS])
        self.operations = Operations()
        self.client = Client(self.operations, self.clock)
        self.jobs = Jobs(self.db, self.clock, pause=lambda _: 0.001)
        self.service = S3(self.db, self.root / "objects", self.clock, self.jobs, self.client)
        self.service.register(self.operations)
        await self.service.start()
        await self.jobs.start()

    async def stop(self) -> None:
        await self.jobs.stop()
        await self.service.stop()
        await self.db.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def call(self, operation: str, *, account: str = ACCOUNT, region: str = REGION, **members: Any) -> Any:
        return await self.client.call("s3", operation, members, Caller(account, region))

    async def refusal(self, operation: str, **members: Any) -> AwsError:
        try:
            answer = await self.call(operation, **members)
        except AwsError as error:
            return error
        raise AssertionError(f"not refused: {answer}")

    async def bucket(self, name: str = "bucket", *, versioning: str | None = None, **members: Any) -> str:
        await self.call("CreateBucket", Bucket=name, **members)
        if versioning is not None:
            await self.version(versioning, name)
        return name

    async def version(self, status: str, name: str = "bucket") -> None:
        await self.call("PutBucketVersioning", Bucket=name, VersioningConfiguration={"Status": status})

    async def put(self, key: str, body: bytes = b"", *, bucket: str = "bucket", **members: Any) -> Any:
        return await self.call("PutObject", Bucket=bucket, Key=key, Body=body, **members)

    async def get(self, key: str, *, bucket: str = "bucket", **members: Any) -> Any:
        """The answer with its body read."""
        answer = await self.call("GetObject", Bucket=bucket, Key=key, **members)
        return {**answer, "Body": await read(answer["Body"])}

    async def body(self, key: str, **members: Any) -> bytes:
        found: bytes = (await self.get(key, **members))["Body"]
        return found

    async def keys(self, bucket: str = "bucket", **members: Any) -> list[str]:
        """Of all pages."""
        found, more = [], {}
        while True:
            page = await self.call("ListObjectsV2", Bucket=bucket, **members, **more)
            found += [item["Key"] for item in page.get("Contents", ())]
            if not page["IsTruncated"]:
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    async def upload(self, key: str, *parts: bytes, bucket: str = "bucket", **members: Any) -> Any:
        """In parts, from beginning to end."""
        begun = await self.call("CreateMultipartUpload", Bucket=bucket, Key=key, **members)
        named = {"Bucket": bucket, "Key": key, "UploadId": begun["UploadId"]}
        done = []
        for number, part in enumerate(parts, 1):
            answer = await self.call("UploadPart", **named, PartNumber=number, Body=part)
            done.append({"PartNumber": number, "ETag": answer["ETag"]})
        return await self.call("CompleteMultipartUpload", **named, MultipartUpload={"Parts": done})

    async def jobs_done(self) -> None:
        """Everything that is to be told has been."""
        while self.jobs._tasks:
            await asyncio.sleep(0.001)

    def files(self) -> set[str]:
        """The contents on the disk."""
        return {path.name for path in (self.root / "objects").glob("??/*")}


async def read(body: Any) -> bytes:
    async with opened(body) as pieces:
        return b"".join([piece async for piece in pieces])
