"""The buckets: few, asked about by every request, and therefore in memory as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lambent.base.db import Connection, Database
from lambent.services.s3 import errors, store
from lambent.services.s3.records import Bucket
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Parameters


class Buckets:
    """Belongs to one event loop. What it shows is committed."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[str, Bucket] = {}

    async def load(self) -> None:
        self._known = {bucket.name: bucket for bucket in await self._db.read(store.buckets)}

    def find(self, name: str) -> Bucket | None:
        return self._known.get(name)

    def of_account(self, account: str) -> list[Bucket]:
        """In the order of their names."""
        return sorted((one for one in self._known.values() if one.account == account), key=lambda one: one.name)

    def named(self, context: Context, parameters: Parameters) -> Bucket:
        """The bucket that a request is about. NoSuchBucket; AccessDenied when it is not its `ExpectedBucketOwner`'s."""
        name = parameters["Bucket"].removeprefix("arn:aws:s3:::")
        bucket = self._known.get(name)
        if bucket is None:
            raise errors.no_bucket(name)
        expected = parameters.get("ExpectedBucketOwner")
        if expected is not None and expected != bucket.account:
            raise errors.access_denied()
        if not context.endpoint and context.caller.region != bucket.region:
            # Asked from inside: services do not follow. Clients outside are served whichever region they signed for.
            message = f"The bucket is in this region: {bucket.region}. Please use this region to retry the request"
            raise AwsError("PermanentRedirect", message, status=301, Bucket=name)
        return bucket

    async def create(self, bucket: Bucket) -> None:
        """Raises BucketAlreadyExists, BucketAlreadyOwnedByYou."""

        def work(connection: Connection) -> None:
            if (found := self._known.get(bucket.name)) is not None:
                raise already_there(found, bucket.account)
            made = store.insert_bucket(connection, bucket)
            connection.after_commit(lambda: self._note(made))

        await self._db.write(work)

    def _note(self, bucket: Bucket) -> None:
        self._known[bucket.name] = bucket

    async def delete(self, bucket: Bucket, also: Callable[[Connection], None]) -> None:
        """`also` removes in the same transaction what an empty bucket may still have. BucketNotEmpty."""

        def work(connection: Connection) -> None:
            if not store.is_empty(connection, bucket):
                versions = "You must delete all versions in the bucket."
                message = "The bucket you tried to delete is not empty" + (f". {versions}" if bucket.versioning else "")
                raise AwsError("BucketNotEmpty", message, status=409, BucketName=bucket.name)
            also(connection)
            store.delete_bucket(connection, bucket)
            connection.after_commit(lambda: self._forget(bucket))

        await self._db.write(work)

    def _forget(self, bucket: Bucket) -> None:
        found = self._known.get(bucket.name)
        if found is not None and found.id == bucket.id:
            del self._known[bucket.name]

    async def change(self, name: str, change: Callable[[Bucket], Bucket]) -> None:
        """`change` gets the newest state, inside the transaction. NoSuchBucket."""

        def work(connection: Connection) -> None:
            found = store.bucket(connection, name)
            if found is None:
                raise errors.no_bucket(name)
            changed = change(found)
            store.update_bucket(connection, changed)
            connection.after_commit(lambda: self._note(changed))

        await self._db.write(work)

    async def configure(self, name: str, kind: str, value: Any) -> None:
        """Set or, with None, remove a configuration."""

        def change(bucket: Bucket) -> Bucket:
            rest = {key: held for key, held in bucket.configurations.items() if key != kind}
            return replace(bucket, configurations=rest if value is None else rest | {kind: value})

        await self.change(name, change)


def already_there(found: Bucket, account: str) -> AwsError:
    if found.account == account:
        message = "Your previous request to create the named bucket succeeded and you already own it."
        return AwsError("BucketAlreadyOwnedByYou", message, status=409, BucketName=found.name)
    message = (
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system."
        " Please select a different name and try again."
    )
    return AwsError("BucketAlreadyExists", message, status=409, BucketName=found.name)
