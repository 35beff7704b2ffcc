"""Access keys of users. A secret is shown once, in the answer that makes it, and lies sealed ever after."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import replace

from lambent.base.clock import Clock
from lambent.base.db import Connection
from lambent.base.sealing import seal, unseal
from lambent.services.iam import errors, store
from lambent.services.iam.callers import user_name_of
from lambent.services.iam.directory import Directory, demand
from lambent.services.iam.records import AccessKey, Identity, Kind
from lambent.services.iam.shapes import Answer, date, page, unique_id
from lambent.wire.errors import AwsError, not_built
from lambent.wire.operations import Context, Operations, Parameters
from lambent.wire.sigv4 import Accounts

KEYS = 2  # of a user
_SECRET_BYTES = 30  # 40 characters
_USES_SECONDS = 60.0

_log = logging.getLogger("lambent.iam")


class AccessKeys:
    """Handlers of CreateAccessKey and its kin. The server knows whose every key is."""

    def __init__(self, directory: Directory, accounts: Accounts, root_key: bytes) -> None:
        self._directory = directory
        self._accounts = accounts
        self._root_key = root_key
        self.on_recall: Callable[[], None] = lambda: None
        """Called when another process turns out to have changed the directory."""
        self._stored: dict[str, tuple[float, str, str]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Know the keys of earlier runs again."""

        def work(connection: Connection) -> list[tuple[AccessKey, Identity | None]]:
            keys = store.every_access_key(connection)
            return [(key, store.find_identity(connection, key.account, Kind.USER, key.user)) for key in keys]

        for key, user in await self._directory.db.read(work):
            if user is not None:
                self._issue(key, user)
        self._accounts.last_used.update(await self._directory.db.read(store.key_uses))
        self._task = asyncio.get_running_loop().create_task(self._keep_uses())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._store_uses()

    async def _keep_uses(self) -> None:
        """Uses are noted in memory, and written now and then: no request waits for a disk to say that it came."""
        while True:
            await asyncio.sleep(_USES_SECONDS)
            try:
                await self._store_uses()
            except Exception:
                _log.exception("when access keys were last used could not be stored")

    async def _store_uses(self) -> None:
        uses = self._accounts.last_used
        changed = {key: use for key, use in uses.items() if self._stored.get(key) != use and key.startswith("AKIA")}
        if changed:
            await self._directory.db.write(lambda connection: store.put_key_uses(connection, changed))
            self._stored.update(changed)

    async def get_access_key_last_used(self, context: Context, parameters: Parameters) -> Answer:
        key_id = parameters["AccessKeyId"]
        issued = self._accounts.issued(key_id)
        if issued is None or not issued.user or issued.account != context.caller.account:
            message = f"User: {context.caller.account} is not authorized to perform: iam:GetAccessKeyLastUsed"
            raise AwsError("AccessDenied", f"{message} on resource: access key {key_id}", status=403)
        use = self._accounts.last_used.get(key_id)
        told: dict[str, object] = {"ServiceName": "N/A", "Region": "N/A"}
        if use is not None:
            told = {"LastUsedDate": date(use[0]), "ServiceName": use[1], "Region": use[2]}
        return {"UserName": issued.user, "AccessKeyLastUsed": told}

    async def recall(self, key_id: str, _token: str = "") -> bool:
        """Whether the key has been made by another process (`lambent admin create-key`): from now on it is known."""

        def work(connection: Connection) -> tuple[AccessKey, Identity] | None:
            key = store.find_access_key(connection, key_id)
            user = store.find_identity(connection, key.account, Kind.USER, key.user) if key is not None else None
            return (key, user) if key is not None and user is not None else None

        if self._accounts.issued(key_id) is not None:
            return False
        found = await self._directory.db.read(work)
        if found is not None:
            self._issue(*found)
            self.on_recall()
        return found is not None

    def _issue(self, key: AccessKey, user: Identity) -> None:
        secret = unseal(self._root_key, key.sealed, _about(key.id)).decode()
        self._accounts.issue(key.id, key.account, user.arn, secret=secret, active=key.active)

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "CreateAccessKey": self.create_access_key,
            "ListAccessKeys": self.list_access_keys,
            "UpdateAccessKey": self.update_access_key,
            "DeleteAccessKey": self.delete_access_key,
            "GetAccessKeyLastUsed": self.get_access_key_last_used,
        }.items():
            operations.register("iam", operation, handler)

    async def create_access_key(self, context: Context, parameters: Parameters) -> Answer:
        name = self._user(context, parameters)
        made, secret = make_key(self._directory.clock, self._root_key, context.caller.account, name)

        def work(connection: Connection) -> AccessKey:
            user = demand(connection, context.caller.account, Kind.USER, name)
            if len(store.access_keys(connection, user.account, user.name)) >= KEYS:
                raise errors.limit(f"Cannot exceed quota for AccessKeysPerUser: {KEYS}")
            key = replace(made, user=user.name)
            store.put_access_key(connection, key)
            connection.after_commit(lambda: self._issue(key, user))
            return key

        return {"AccessKey": {**_shape(await self._directory.db.write(work)), "SecretAccessKey": secret}}

    async def list_access_keys(self, context: Context, parameters: Parameters) -> Answer:
        name = self._user(context, parameters)

        def work(connection: Connection) -> list[AccessKey]:
            user = demand(connection, context.caller.account, Kind.USER, name)
            return store.access_keys(connection, user.account, user.name)

        keys = sorted(await self._directory.db.read(work), key=lambda key: key.id)
        return page(parameters, "AccessKeyMetadata", keys, lambda key: key.id, _shape)

    async def update_access_key(self, context: Context, parameters: Parameters) -> Answer:
        name = self._user(context, parameters)

        def work(connection: Connection) -> None:
            key = _demand(connection, context.caller.account, name, parameters["AccessKeyId"])
            active = parameters["Status"] == "Active"
            store.put_access_key(connection, replace(key, active=active))
            connection.after_commit(lambda: self._accounts.replace(key.id, active=active))

        await self._directory.db.write(work)
        return {}

    async def delete_access_key(self, context: Context, parameters: Parameters) -> Answer:
        name = self._user(context, parameters)

        def work(connection: Connection) -> None:
            key = _demand(connection, context.caller.account, name, parameters["AccessKeyId"])
            store.remove_access_key(connection, key)
            connection.after_commit(lambda: self._accounts.forget(key.id))

        await self._directory.db.write(work)
        return {}

    def move(self, connection: Connection, user: Identity, renamed: Identity) -> None:
        """The keys of a user who has another name or path now."""

        def issue_again(key_id: str) -> None:
            self._accounts.replace(key_id, arn=renamed.arn)

        for key in store.access_keys(connection, user.account, user.name):
            store.put_access_key(connection, replace(key, user=renamed.name))
            connection.after_commit(lambda key_id=key.id: issue_again(key_id))  # type: ignore[misc]

    def _user(self, context: Context, parameters: Parameters) -> str:
        """The user that is named, else the caller."""
        name = parameters.get("UserName") or user_name_of(self._accounts, context.caller)
        if name is None:
            raise not_built("access keys of the root user")
        return str(name)


def make_key(clock: Clock, root_key: bytes, account: str, user: str) -> tuple[AccessKey, str]:
    """A new key, and its secret, which is in the key only sealed under `root_key`."""
    secret, key_id = secrets.token_urlsafe(_SECRET_BYTES), unique_id(clock, "AKIA", 16)
    return AccessKey(key_id, account, user, clock.time(), seal(root_key, secret.encode(), _about(key_id))), secret


def _about(key_id: str) -> bytes:
    return f"access key {key_id}".encode()


def _demand(connection: Connection, account: str, name: str, key_id: str) -> AccessKey:
    user = demand(connection, account, Kind.USER, name)
    for key in store.access_keys(connection, account, user.name):
        if key.id == key_id:
            return key
    raise errors.no_entity(f"The Access Key with id {key_id} cannot be found.")


def _shape(key: AccessKey) -> dict[str, object]:
    return {"UserName": key.user, "AccessKeyId": key.id, "Status": key.status, "CreateDate": date(key.created)}
