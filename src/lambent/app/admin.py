"""The first administrator: made in the data directory itself, whether a server holds it or not."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
from dataclasses import dataclass, replace

from lambent.app.failures import StartError
from lambent.app.state import MIGRATIONS, root_key_of
from lambent.base.clock import SystemClock
from lambent.base.db import Connection, SqliteDatabase, migrate
from lambent.base.lockfile import DirectoryInUse, DirectoryLock
from lambent.config import Config
from lambent.services.iam import store
from lambent.services.iam.access_keys import KEYS, make_key
from lambent.services.iam.records import Identity, Kind

ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"


@dataclass(frozen=True, slots=True)
class Pair:
    """An access key; `secret` is shown this once and never again."""

    user: str  # its ARN
    key: str
    secret: str


def create_key(config: Config, account: str, name: str) -> Pair:
    """An access key of the user `name`, who is made if need be and gets AdministratorAccess. Raises StartError.

    A server that runs on the directory finds the key when somebody signs with it. Blocks.
    """
    return asyncio.run(_create_key(config, account, name))


async def _create_key(config: Config, account: str, name: str) -> Pair:
    data = config.data_dir
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock: DirectoryLock | None = None
    with contextlib.suppress(DirectoryInUse):  # the server has brought the database to its newest schema
        lock = DirectoryLock(data)
    db = SqliteDatabase(data / "lambent.db")
    try:
        if lock is not None:
            await migrate(db, MIGRATIONS)
        root = root_key_of(config)
        clock = SystemClock()
        key, secret = make_key(clock, root, account, name)

        def work(connection: Connection) -> Identity:
            user = store.find_identity(connection, account, Kind.USER, name)
            if user is None:
                unique = "AIDA" + base64.b32encode(secrets.token_bytes(10)).decode()
                user = Identity(Kind.USER, account, name, "/", unique, clock.time())
                store.add_identity(connection, user)
            if len(store.access_keys(connection, account, user.name)) >= KEYS:
                raise StartError(
                    f"{user.arn} has {KEYS} access keys already, as many as a user may have. Delete one with"
                    " `aws iam delete-access-key`, or choose another name with --user"
                )
            if ADMINISTRATOR not in user.attached:
                user = replace(user, attached=(*user.attached, ADMINISTRATOR))
                store.put_identity(connection, user)
            store.put_access_key(connection, replace(key, user=user.name))
            return user

        user = await db.write(work)
        return Pair(user.arn, key.id, secret)
    finally:
        await db.close()
        if lock is not None:
            lock.release()
