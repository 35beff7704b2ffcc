"""What outlives the server: the data directory, its lock, the database, blobs, unpacked trees, keys."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from lambent.app.failures import StartError
from lambent.base import jobs as jobs_module
from lambent.base.blobs import LocalBlobs
from lambent.base.clock import Clock
from lambent.base.db import SqliteDatabase, migrate
from lambent.base.files import write_durably
from lambent.base.jobs import Jobs
from lambent.base.lockfile import DirectoryLock
from lambent.base.trees import Trees
from lambent.config import Config, root_key
from lambent.control import alias_store, concurrency_store, layer_store, plaintext
from lambent.control import resources as resources_module
from lambent.control import store as store_module
from lambent.services.ecr.store import MIGRATIONS as ECR_MIGRATIONS
from lambent.services.iam import store as iam_store
from lambent.services.kms import store as kms_store
from lambent.services.kms.root import from_file
from lambent.services.sts import sessions as sts_store
from lambent.sources import event_store

_STORES = (
    *(jobs_module, store_module, resources_module, layer_store, alias_store, concurrency_store, event_store),
    *(kms_store, iam_store, sts_store, plaintext),
)


MIGRATIONS = (*(step for module in _STORES for step in module.MIGRATIONS), *ECR_MIGRATIONS)


@dataclass(frozen=True, slots=True)
class State:
    """The data directory, opened: one server holds it at a time."""

    data: Path
    db: SqliteDatabase
    blobs: LocalBlobs
    registry_blobs: LocalBlobs
    trees: Trees
    jobs: Jobs
    root_key: bytes  # everything secret in the directory lies under it
    signing_key: bytes  # behind the links to function code

    @property
    def tag(self) -> str:
        """Tells what belongs to this data directory's server from other servers' of the machine."""
        return hashlib.sha256(str(self.data.resolve()).encode()).hexdigest()[:12]


async def open_state(config: Config, clock: Clock, closing: AsyncExitStack) -> State:
    """Lock the data directory, bring its database to the newest schema. StartError, DirectoryInUse, DatabaseError."""
    data = _open_directory(config.data_dir)
    closing.callback(DirectoryLock(data).release)
    db = SqliteDatabase(data / "lambent.db")
    closing.push_async_callback(db.close)
    await migrate(db, MIGRATIONS)
    trees = await asyncio.to_thread(Trees, data / "trees")
    closing.push_async_callback(trees.close)
    return State(
        data,
        db,
        LocalBlobs(data / "blobs"),
        LocalBlobs(data / "registry"),
        trees,
        Jobs(db, clock),
        await asyncio.to_thread(root_key_of, config),
        await asyncio.to_thread(_signing_key, data / "presign.key"),
    )


def root_key_of(config: Config) -> bytes:
    """What everything secret in the data directory lies under. Blocks. ConfigError, RootKeyError."""
    return root_key(config.root_key) or from_file(config.data_dir / "root.key")


def _open_directory(path: Path) -> Path:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(path, 0o700)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartError(f"cannot use the data directory {path}: {reason}. Choose another with --data-dir") from error
    return path


def _signing_key(path: Path) -> bytes:
    """Made at the first start, readable by its owner only."""
    if not path.exists():
        write_durably(path, secrets.token_bytes(32))
    return path.read_bytes()
