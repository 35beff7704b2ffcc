"""Received or copied content becomes an object or a part, in one transaction with what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database
from lambent.services.s3 import checksums, conditions, store, uploads
from lambent.services.s3.attributes import Attributes
from lambent.services.s3.contents import Contents, Staged
from lambent.services.s3.names import key_of
from lambent.services.s3.records import NULL, Bucket, Part, Received, Version, Versioning
from lambent.wire.operations import Context, Parameters

Changed = Callable[[Connection, Bucket, str, Version, Context], None]
"""Called inside the transaction of each change with the event's name ("ObjectCreated:Put")."""


class Writes:
    def __init__(self, db: Database, contents: Contents, clock: Clock, changed: Changed) -> None:
        self._db = db
        self._contents = contents
        self._clock = clock
        self.changed = changed

    def version_id(self, versioning: Versioning) -> str:
        return self._clock.token(16) if versioning == "Enabled" else NULL

    async def put(
        self,
        context: Context,
        parameters: Parameters,
        bucket: Bucket,
        staged: Staged,
        received: Received,
        said: Attributes,
        tags: Mapping[str, str],
        event: str,
    ) -> Version:
        """Make the object `parameters["Key"]` of what was received. PreconditionFailed, NoSuchBucket."""
        key = key_of(parameters["Key"])
        version = Version(
            *(0, key, "", True, False, self._clock.time(), received.size, received.md5.hex(), received.content),
            attributes=said | {"Checksums": received.checksums, "ChecksumType": checksums.FULL},
            tags=tags,
        )

        def work(connection: Connection) -> Version:
            found = store.demand(connection, bucket)
            conditions.check_write(parameters, parameters["Key"], store.current(connection, bucket, key))
            put = replace(version, id=self.version_id(found.versioning))
            replaced = store.put(connection, found, put, found.versioning)
            connection.after_commit(staged.settle)
            connection.after_commit(lambda: self._contents.release(replaced))
            self.changed(connection, found, event, put, context)
            return put

        return await self._db.write(work)

    async def put_part(
        self, bucket: Bucket, key: bytes, identity: str, number: int, staged: Staged, received: Received
    ) -> Part:
        """Make part `number` of the upload `identity` of what was received. NoSuchUpload."""
        part = Part(
            *(number, received.content, received.size, received.md5.hex(), self._clock.time(), received.checksums)
        )

        def work(connection: Connection) -> None:
            uploads.demand(connection, bucket, key, identity)
            replaced = uploads.put_part(connection, identity, part)
            connection.after_commit(staged.settle)
            connection.after_commit(lambda: self._contents.release(replaced))

        await self._db.write(work)
        return part
