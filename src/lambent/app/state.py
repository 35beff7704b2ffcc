"""What everything else stands on: the data directory with all that outlives the server, and other registries."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import Callable
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
from lambent.base.registry_credentials import CredentialError, Credentials
from lambent.base.registry_credentials import from_file as logins_from
from lambent.base.remote_registry import RemoteRegistries
from lambent.base.trees import Trees
from lambent.config import Config, root_key, variable
from lambent.control import alias_store, concurrency_store, layer_store, plaintext
from lambent.control import resources as resources_module
from lambent.control import store as store_module
from lambent.services.ecr.store import MIGRATIONS as ECR_MIGRATIONS
from lambent.services.iam import store as iam_store
from lambent.services.kms import store as kms_store
from lambent.services.kms.root import from_file
from lambent.services.s3 import store as s3_store
from lambent.services.sts import sessions as sts_store
from lambent.sources import event_store

_STORES = (
    *(jobs_module, store_module, resources_module, layer_store, alias_store, concurrency_store, event_store),
    *(kms_store, iam_store, sts_store, s3_store, plaintext),
)


MIGRATIONS = (*(step for module in _STORES for step in module.MIGRATIONS), *ECR_MIGRATIONS)


@dataclass(frozen=True, slots=True)
class State:
    """The data directory, opened (one server holds it at a time), and the way to other registries."""

    data: Path
    db: SqliteDatabase
    blobs: LocalBlobs
    registry_blobs: LocalBlobs
    trees: Trees
    jobs: Jobs
    remotes: RemoteRegistries
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
    remotes = RemoteRegistries(Credentials(logins(config.registry_auth)), config.insecure_registries)
    closing.push_async_callback(remotes.stop)
    return State(
        data,
        db,
        LocalBlobs(data / "blobs"),
        LocalBlobs(data / "registry"),
        trees,
        Jobs(db, clock),
        remotes,
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


def logins(source: str) -> Callable[[], str]:
    """What reads the logins for other registries, each time anew. StartError when they cannot be read now."""
    kind, _, rest = source.partition(":")
    if kind == "none":
        return lambda: ""
    if kind == "env":
        return lambda: variable(rest)
    path = Path(rest).expanduser()
    if path.exists():
        try:
            logins_from(path)
        except CredentialError as error:
            raise StartError(str(error)) from None
    return lambda: logins_from(path)
