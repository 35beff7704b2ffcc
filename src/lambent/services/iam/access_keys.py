"""Access keys of users. A secret is shown once, in the answer that makes it, and lies sealed ever after."""

from __future__ import annotations

import secrets
from dataclasses import replace

from lambent.base.db import Connection
from lambent.base.sealing import seal
from lambent.services.iam import errors, store
from lambent.services.iam.callers import user_name_of
from lambent.services.iam.directory import Directory, demand
from lambent.services.iam.records import AccessKey, Identity, Kind
from lambent.services.iam.shapes import Answer, date, page, unique_id
from lambent.wire.errors import not_built
from lambent.wire.operations import Context, Operations, Parameters
from lambent.wire.sigv4 import Accounts

_KEYS = 2  # of a user
_SECRET_BYTES = 30  # 40 characters


class AccessKeys:
    """Handlers of CreateAccessKey and its kin. The server knows whose every key is."""

    def __init__(self, directory: Directory, accounts: Accounts, root_key: bytes) -> None:
        self._directory = directory
        self._accounts = accounts
        self._root_key = root_key

    async def start(self) -> None:
        """Know the keys of earlier runs again."""

        def work(connection: Connection) -> list[tuple[AccessKey, Identity | None]]:
            keys = store.every_access_key(connection)
            return [(key, store.find_identity(connection, key.account, Kind.USER, key.user)) for key in keys]

        for key, user in await self._directory.db.read(work):
            if user is not None:
                self._accounts.issue(key.id, key.account, user.arn)

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "CreateAccessKey": self.create_access_key,
            "ListAccessKeys": self.list_access_keys,
            "UpdateAccessKey": self.update_access_key,
            "DeleteAccessKey": self.delete_access_key,
        }.items():
            operations.register("iam", operation, handler)

    async def create_access_key(self, context: Context, parameters: Parameters) -> Answer:
        name, clock = self._user(context, parameters), self._directory.clock
        secret, key_id = secrets.token_urlsafe(_SECRET_BYTES), unique_id(clock, "AKIA", 16)
        sealed = seal(self._root_key, secret.encode(), f"access key {key_id}".encode())

        def work(connection: Connection) -> AccessKey:
            user = demand(connection, context.caller.account, Kind.USER, name)
            if len(store.access_keys(connection, user.account, user.name)) >= _KEYS:
                raise errors.limit(f"Cannot exceed quota for AccessKeysPerUser: {_KEYS}")
            key = AccessKey(key_id, user.account, user.name, clock.time(), sealed)
            store.put_access_key(connection, key)
            connection.after_commit(lambda: self._accounts.issue(key.id, key.account, user.arn))
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
            store.put_access_key(connection, replace(key, active=parameters["Status"] == "Active"))

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
            self._accounts.issue(key_id, renamed.account, renamed.arn)

        for key in store.access_keys(connection, user.account, user.name):
            store.put_access_key(connection, replace(key, user=renamed.name))
            connection.after_commit(lambda key_id=key.id: issue_again(key_id))  # type: ignore[misc]

    def _user(self, context: Context, parameters: Parameters) -> str:
        """The user that is named, else the caller."""
        name = parameters.get("UserName") or user_name_of(self._accounts, context.caller)
        if name is None:
            raise not_built("access keys of the root user")
        return str(name)


def _demand(connection: Connection, account: str, name: str, key_id: str) -> AccessKey:
    user = demand(connection, account, Kind.USER, name)
    for key in store.access_keys(connection, account, user.name):
        if key.id == key_id:
            return key
    raise errors.no_entity(f"The Access Key with id {key_id} cannot be found.")


def _shape(key: AccessKey) -> dict[str, object]:
    return {"UserName": key.user, "AccessKeyId": key.id, "Status": key.status, "CreateDate": date(key.created)}
