"""Users."""

from __future__ import annotations

from dataclasses import replace

from lambent.base.db import Connection
from lambent.services.iam import errors, store
from lambent.services.iam.access_keys import AccessKeys
from lambent.services.iam.callers import user_name_of
from lambent.services.iam.directory import Directory, demand
from lambent.services.iam.holdings import must_be_bare
from lambent.services.iam.records import Identity, Kind
from lambent.services.iam.shapes import Answer, date, identity_shape, page, path_of, tags_of, unique_id
from lambent.wire.operations import Context, Operations, Parameters
from lambent.wire.sigv4 import Accounts


class Users:
    """Handlers of CreateUser and what else users alone have."""

    def __init__(self, directory: Directory, accounts: Accounts, keys: AccessKeys) -> None:
        self._directory = directory
        self._accounts = accounts
        self._keys = keys

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "CreateUser": self.create_user,
            "GetUser": self.get_user,
            "ListUsers": self.list_users,
            "UpdateUser": self.update_user,
            "DeleteUser": self.delete_user,
            "ListGroupsForUser": self.list_groups_for_user,
        }.items():
            operations.register("iam", operation, handler)

    async def create_user(self, context: Context, parameters: Parameters) -> Answer:
        clock = self._directory.clock
        user = Identity(
            Kind.USER,
            context.caller.account,
            parameters["UserName"],
            path_of(parameters),
            unique_id(clock, "AIDA"),
            clock.time(),
            tags_of(parameters.get("Tags", ())),
            boundary=parameters.get("PermissionsBoundary"),
        )
        await self._directory.create(user)
        return {"User": identity_shape(user)}

    async def get_user(self, context: Context, parameters: Parameters) -> Answer:
        """Without a name the caller; who signs with no key of a user is the root user."""
        account = context.caller.account
        name = parameters.get("UserName") or user_name_of(self._accounts, context.caller)
        if name is None:
            root = f"arn:aws:iam::{account}:root"
            return {"User": {"UserId": account, "Arn": root, "CreateDate": date(0)}}  # was always there
        return {"User": identity_shape(await self._directory.identity(account, Kind.USER, name))}

    async def list_users(self, context: Context, parameters: Parameters) -> Answer:
        prefix = parameters.get("PathPrefix", "/")
        users = await self._directory.identities(context.caller.account, Kind.USER)
        shown = [user for user in users if user.path.startswith(prefix)]
        return page(
            parameters, "Users", shown, lambda user: user.name.lower(), lambda user: identity_shape(user, tags=False)
        )

    async def update_user(self, context: Context, parameters: Parameters) -> Answer:
        def work(connection: Connection) -> None:
            user = demand(connection, context.caller.account, Kind.USER, parameters["UserName"])
            path = path_of(parameters, "NewPath") if "NewPath" in parameters else user.path
            renamed = replace(user, name=parameters.get("NewUserName", user.name), path=path)
            store.remove_identity(connection, user)
            if not store.add_identity(connection, renamed):
                raise errors.exists(f"User with name {renamed.name} already exists.")
            self._keys.move(connection, user, renamed)

        await self._directory.db.write(work)
        return {}

    async def delete_user(self, context: Context, parameters: Parameters) -> Answer:
        def work(connection: Connection) -> None:
            user = demand(connection, context.caller.account, Kind.USER, parameters["UserName"])
            must_be_bare(user)
            if store.access_keys(connection, user.account, user.name):
                raise errors.conflict("Cannot delete entity, must delete access keys first.")
            if user.groups:
                raise errors.conflict("Cannot delete entity, must remove users from group first.")
            store.remove_identity(connection, user)

        await self._directory.db.write(work)
        return {}

    async def list_groups_for_user(self, context: Context, parameters: Parameters) -> Answer:
        account = context.caller.account

        def work(connection: Connection) -> list[Identity]:
            user = demand(connection, account, Kind.USER, parameters["UserName"])
            return [demand(connection, account, Kind.GROUP, name) for name in user.groups]

        groups = sorted(await self._directory.db.read(work), key=lambda group: group.name.lower())
        return page(parameters, "Groups", groups, lambda group: group.name.lower(), identity_shape)
