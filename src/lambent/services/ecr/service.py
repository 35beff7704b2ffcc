"""The whole of the registry, wired: its store, its operations, its HTTP interface and its housekeeping."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Collection
from dataclasses import replace

import orjson

from lambent.base.blobs import Blobs
from lambent.base.clock import Clock
from lambent.base.db import Connection, Database
from lambent.services.ecr import lifecycle
from lambent.services.ecr.blobs_api import BlobsApi
from lambent.services.ecr.images import Images
from lambent.services.ecr.layers import Layers
from lambent.services.ecr.manifests_api import ManifestsApi
from lambent.services.ecr.names import Registry, RepositoryName
from lambent.services.ecr.records import Repository
from lambent.services.ecr.registry import RegistryApi
from lambent.services.ecr.repositories import Repositories
from lambent.services.ecr.store import ImageStore, demand
from lambent.services.ecr.tokens import Tokens
from lambent.services.ecr.uploads_api import UploadsApi
from lambent.wire.errors import AwsError
from lambent.wire.gate import Access, Gate, Guarded
from lambent.wire.operations import Operations
from lambent.wire.sigv4 import Accounts

_HOUSEKEEPING_SECONDS = 600.0

_log = logging.getLogger("lambent.ecr")


_REPOSITORY = re.compile(r"arn:aws[\w-]*:ecr:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):repository/(?P<name>.+)")


def _guarded(connection: Connection, access: Access) -> Guarded | None:
    """The policy and the tags of the repository that an ARN names."""
    match = _REPOSITORY.fullmatch(access.resource)
    if match is None:
        return None
    try:
        repository = demand(connection, RepositoryName(Registry(match["account"], match["region"]), match["name"]))
    except AwsError:
        return None
    return Guarded(_about_itself(repository.policy), repository.tags)


def _about_itself(policy: str | None) -> str | None:
    """The policy of a repository names no resource: the repository is the resource."""
    if policy is None:
        return None
    document = orjson.loads(policy)
    statements = document.get("Statement", [])
    listed = statements if isinstance(statements, list) else [statements]
    return orjson.dumps({**document, "Statement": [{"Resource": "*", **one} for one in listed]}).decode()


class Ecr:
    """Between `start` and `stop` it cleans up behind deletions, lifecycle policies and uploads that were given up."""

    def __init__(
        self,
        db: Database,
        blobs: Blobs,
        clock: Clock,
        key: bytes,
        default: Registry,
        keep: Callable[[], Collection[str]] = frozenset,
        gate: Gate | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        """`blobs` are the registry's own; `key` signs passwords; `default` is whose registry nobody's requests mean.

        `keep` tells which blobs others still need, though no repository has them.
        """
        self._clock = clock
        self._dirty = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.store = ImageStore(db)
        self.layers = Layers(self.store, blobs, clock, keep)
        tokens = Tokens(key, clock)
        self._repositories = Repositories(self.store, tokens, clock, self._dirty.set)
        self._images = Images(self.store, self.layers, tokens, clock, self._dirty.set)
        self.registry = RegistryApi(
            ManifestsApi(self.store, clock, self._dirty.set),
            BlobsApi(self.store, blobs, self._dirty.set),
            UploadsApi(self.layers),
            tokens,
            default,
            gate,
            accounts,
        )
        if gate is not None:
            gate.guard("ecr", _guarded, ("ecr_repositories",))

    def register(self, operations: Operations) -> None:
        self._repositories.register(operations)
        self._images.register(operations)

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep_house())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.layers.stop()

    async def _keep_house(self) -> None:
        while True:
            try:
                await self.clean()
            except Exception:
                _log.exception("cleaning the registry failed")
            try:
                async with asyncio.timeout(_HOUSEKEEPING_SECONDS):
                    await self._dirty.wait()
            except TimeoutError:
                pass
            self._dirty.clear()

    async def clean(self) -> None:
        """Expire images by their repositories' policies, give up old uploads, remove what nothing has any more."""
        for repository in await self.store.every_repository():
            if repository.lifecycle is not None:
                await self._expire(repository, repository.lifecycle)
        await self.layers.expire()
        await self.layers.sweep()

    async def _expire(self, repository: Repository, text: str) -> None:
        now = self._clock.time()
        for image, _priority in lifecycle.evaluate(lifecycle.read(text), await self.store.images(repository.name), now):
            try:
                await self.store.remove(repository.name, image.digest, None, untag_only=False)
            except AwsError as error:
                _log.info("lifecycle of %s: %s stays: %s", repository.name.name, image.digest, error.message)
        await self.store.change(repository.name, lambda current: replace(current, lifecycle_evaluated=now))
