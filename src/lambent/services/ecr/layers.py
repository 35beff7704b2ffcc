"""Layers on their way in, and the removal of those that nothing has any more."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field

from lambent.base.blobs import Blobs, BlobWriter
from lambent.base.clock import Clock
from lambent.services.ecr import errors
from lambent.services.ecr.names import RepositoryName
from lambent.services.ecr.store import KEEP_UNUSED, ImageStore

UPLOADS = 1000  # of all clients at once
_IDLE_SECONDS = 3600.0  # an upload that nobody goes on with for so long is given up


class WrongDigest(ValueError):
    """What was uploaded is not what its digest says. The upload is gone."""


@dataclass(slots=True)
class Upload:
    """A layer that a client sends in one or more requests, one at a time."""

    id: str
    repository: RepositoryName
    writer: BlobWriter
    used: float  # monotonic seconds
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def size(self) -> int:
        """Bytes received."""
        return self.writer.size


class Layers:
    """Uploads live with the process; a layer is durable, and part of its repository, once `finish` returns."""

    def __init__(
        self, store: ImageStore, blobs: Blobs, clock: Clock, keep: Callable[[], Collection[str]] = frozenset
    ) -> None:
        """`keep` tells which blobs others still need, though no repository has them."""
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._keep = keep
        self._uploads: dict[str, Upload] = {}
        self._landing: Counter[str] = Counter()
        self._landed: set[str] = set()  # since the sweep under way began
        self._sweeping = asyncio.Lock()

    # Uploads

    async def begin(self, repository: RepositoryName) -> Upload:
        """Raises RepositoryNotFoundException, and LimitExceededException when too many are under way."""
        await self._store.repository(repository)
        if len(self._uploads) >= UPLOADS:
            raise errors.too_many_uploads(UPLOADS)
        upload = Upload(self._clock.uuid(), repository, await self._blobs.writer(), self._clock.monotonic())
        self._uploads[upload.id] = upload
        return upload

    def find(self, repository: RepositoryName, upload_id: str) -> Upload:
        """Raises UploadNotFoundException."""
        upload = self._uploads.get(upload_id)
        if upload is None or upload.repository != repository:
            raise errors.no_upload(upload_id)
        upload.used = self._clock.monotonic()
        return upload

    async def finish(self, upload: Upload, digest: str) -> bool:
        """Make it the layer `digest` of its repository; False when that was there already. Raises WrongDigest."""
        self._uploads.pop(upload.id, None)
        async with self.landing(upload.writer.digest):
            blob = await upload.writer.commit()
            if (found := await self._digest(blob, digest.partition(":")[0])) != digest:
                raise WrongDigest(f"what was uploaded has the digest {found}, not {digest}")
            return await self._store.link(upload.repository, digest, blob, upload.size, self._clock.time())

    async def _digest(self, blob: str, algorithm: str) -> str:
        """Blobs are known by their sha256; any other digest is worked out from what is stored."""
        if algorithm == "sha256":
            return f"sha256:{blob}"
        found = hashlib.new(algorithm)
        async for piece in self._blobs.stream(blob):
            found.update(piece)
        return f"{algorithm}:{found.hexdigest()}"

    async def cancel(self, upload: Upload) -> None:
        self._uploads.pop(upload.id, None)
        await upload.writer.discard()

    async def mount(self, source: RepositoryName, target: RepositoryName, digest: str) -> bool:
        """Let `target` have a layer of `source` without a copy; False when `source` has none such."""
        layer = (await self._store.layers(source, [digest])).get(digest)
        if layer is None:
            return False
        async with self.landing(layer.blob):
            if not await self._blobs.exists(layer.blob):
                return False
            await self._store.link(target, digest, layer.blob, layer.size, self._clock.time())
        return True

    # Removal

    @contextlib.asynccontextmanager
    async def landing(self, blob: str) -> AsyncIterator[None]:
        """While it is open, and until the sweep under way has ended, the blob stays."""
        async with self._blobs.holding(blob):
            self._landing[blob] += 1
            try:
                yield
            finally:
                self._landing[blob] -= 1
                if not self._landing[blob]:
                    del self._landing[blob]
                self._landed.add(blob)

    async def sweep(self) -> list[str]:
        """Remove the bytes that no repository has; the digests that went."""
        async with self._sweeping:
            self._landed.clear()
            await self._store.forget_unused(self._clock.time() - KEEP_UNUSED)
            linked = await self._store.linked()
            return await self._blobs.collect(lambda: linked | self._landed | set(self._landing) | set(self._keep()))

    async def expire(self) -> None:
        """Give up the uploads that nobody goes on with."""
        oldest = self._clock.monotonic() - _IDLE_SECONDS
        for upload in [upload for upload in self._uploads.values() if upload.used < oldest]:
            if not upload.lock.locked():
                await self.cancel(upload)

    async def stop(self) -> None:
        for upload in list(self._uploads.values()):
            await self.cancel(upload)
