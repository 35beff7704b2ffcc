"""The whole of S3, wired: its store, its operations and its housekeeping."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database
from lambent.base.jobs import Jobs
from lambent.services.s3 import store
from lambent.services.s3.buckets import Buckets
from lambent.services.s3.buckets_api import BucketsApi
from lambent.services.s3.configurations import Configurations
from lambent.services.s3.contents import Contents
from lambent.services.s3.copies_api import CopiesApi
from lambent.services.s3.cors import Cors
from lambent.services.s3.forms import Forms
from lambent.services.s3.intake import Intake
from lambent.services.s3.listing_api import ListingApi
from lambent.services.s3.notifications import Notifications
from lambent.services.s3.objects_api import ObjectsApi
from lambent.services.s3.uploads_api import UploadsApi
from lambent.services.s3.writes import Writes
from lambent.wire.gate import Access, Guarded
from lambent.wire.operations import Client, Operations

_log = logging.getLogger("lambent.s3")


class S3:
    """Between `start` and `stop` it gives the disk back that a crash has left taken."""

    def __init__(self, db: Database, root: Path, clock: Clock, jobs: Jobs, client: Client) -> None:
        """`root`: where contents lie. `client` reaches those that are told of changes. Blocks briefly."""
        self._db = db
        self._task: asyncio.Task[None] | None = None
        self.buckets = Buckets(db)
        self.contents = Contents(root, clock)
        self.pages = Cors(self.buckets)
        intake = Intake()
        means = (db, self.buckets, self.contents)
        notifications = Notifications(self.buckets, jobs, client, clock)
        writes = Writes(db, self.contents, clock, notifications.changed)
        objects = ObjectsApi(*means, intake, clock, writes)
        self._objects, self._clock = objects, clock
        self._apis = (
            BucketsApi(*means, clock),
            Configurations(self.buckets),
            objects,
            CopiesApi(*means, writes),
            UploadsApi(*means, intake, clock, writes),
            notifications,
            ListingApi(db, self.buckets),
        )

    def forms(self, operations: Operations) -> Forms:
        """What takes objects from HTML forms."""
        return Forms(self._objects, operations, self._clock)

    def register(self, operations: Operations) -> None:
        for api in self._apis:
            api.register(operations)
        operations.gate.guard("s3", self.guarded, ("s3_buckets",))

    def guarded(self, _connection: Connection, access: Access) -> Guarded | None:
        """What the bucket of an access has to say."""
        bucket = self.buckets.find(access.resource.removeprefix("arn:aws:s3:::").partition("/")[0])
        if bucket is None:
            return None
        tags = {tag["Key"]: tag["Value"] for tag in bucket.configurations.get("tagging", {}).get("TagSet", ())}
        on_bucket = "/" not in access.resource
        return Guarded(bucket.configurations.get("policy"), tags if on_bucket else {}, account=bucket.account)

    async def start(self) -> None:
        await self.buckets.load()
        self._task = asyncio.get_running_loop().create_task(self._sweep())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _sweep(self) -> None:
        try:
            await self.sweep()
        except Exception:
            _log.exception("the disk could not be searched for what a crash has left")

    async def sweep(self) -> int:
        """Remove the contents that no object has; how many."""

        async def named() -> set[str]:
            return await self._db.read(store.contents)

        removed = await self.contents.sweep(named)
        if removed:
            _log.info("%d files that no object has were removed", removed)
        return removed
