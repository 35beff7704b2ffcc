"""Groups and who is in them. A user knows their groups; a group does not know its users."""

from __future__ import annotations

from dataclasses import replace

from lambent.base.db import Connection
from lambent.services.iam import errors, store
from lambent.services.iam.directory import Directory, demand
from lambent.services.iam.holdings import must_be_bare
from lambent.services.iam.records import Identity, Kind
from lambent.services.iam.shapes import Answer, identity_shape, page, path_of, unique_id
from lambent.wire.operations import Context, Operations, Parameters

_GROUPS = 10  # of a user


class Groups:
    """Handlers of CreateGroup and what else groups alone have."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "CreateGroup": self.create_group,
            "GetGroup": self.get_group,
            "ListGroups": self.list_groups,
            "UpdateGroup": self.update_group,
            "DeleteGroup": self.delete_group,
            "AddUserToGroup": self.add_user_to_group,
            "RemoveUserFromGroup": self.remove_user_from_group,
        }.items():
            operations.register("iam", operation, handler)

    async def create_group(self, context: Context, parameters: Parameters) -> Answer:
        clock = self._directory.clock
        group = Identity(
            Kind.GROUP,
            context.caller.account,
            parameters["GroupName"],
            path_of(parameters),
            unique_id(clock, "AGPA"),
            clock.time(),
        )
        await self._directory.create(group)
        return {"Group": identity_shape(group)}

    async def get_group(self, context: Context, parameters: Parameters) -> Answer:
        def work(connection: Connection) -> tuple[Identity, list[Identity]]:
            group = demand(connection, context.caller.account, Kind.GROUP, parameters["GroupName"])
            return group, _members(connection, group)

        group, users = await self._directory.db.read(work)
        answer = page(
            parameters, "Users", users, lambda user: user.name.lower(), lambda user: identity_shape(user, tags=False)
        )
        return {"Group": identity_shape(group), **answer}

    async def list_groups(self, context: Context, parameters: Parameters) -> Answer:
        prefix = parameters.get("PathPrefix", "/")
        groups = await self._directory.identities(context.caller.account, Kind.GROUP)
        shown = [group for group in groups if group.path.startswith(prefix)]
        return page(parameters, "Groups", shown, lambda group: group.name.lower(), identity_shape)

    async def update_group(self, context: Context, parameters: Parameters) -> Answer:
        def work(connection: Connection) -> None:
            group = demand(connection, context.caller.account, Kind.GROUP, parameters["GroupName"])
            path = path_of(parameters, "NewPath") if "NewPath" in parameters else group.path
            renamed = replace(group, name=parameters.get("NewGroupName", group.name), path=path)
            store.remove_identity(connection, group)
            if not store.add_identity(connection, renamed):
                raise errors.exists(f"Group with name {renamed.name} already exists.")
            for user in _members(connection, group):
                names = tuple(renamed.name if name == group.name else name for name in user.groups)
                store.put_identity(connection, replace(user, groups=names))

        await self._directory.db.write(work)
        return {}

    async def delete_group(self, context: Context, parameters: Parameters) -> Answer:
        def work(connection: Connection) -> None:
            group = demand(connection, context.caller.account, Kind.GROUP, parameters["GroupName"])
            must_be_bare(group)
            if _members(connection, group):
                raise errors.conflict("Cannot delete entity, must remove users from group first.")
            store.remove_identity(connection, group)

        await self._directory.db.write(work)
        return {}

    async def add_user_to_group(self, context: Context, parameters: Parameters) -> Answer:
        def change(connection: Connection, user: Identity) -> Identity:
            group = demand(connection, user.account, Kind.GROUP, parameters["GroupName"])
            if group.name in user.groups:
                return user
            if len(user.groups) >= _GROUPS:
                raise errors.limit(f"Cannot exceed quota for GroupsPerUser: {_GROUPS}")
            return replace(user, groups=(*user.groups, group.name))

        await self._directory.change(context.caller.account, Kind.USER, parameters["UserName"], change)
        return {}

    async def remove_user_from_group(self, context: Context, parameters: Parameters) -> Answer:
        def change(connection: Connection, user: Identity) -> Identity:
            group = demand(connection, user.account, Kind.GROUP, parameters["GroupName"])
            return replace(user, groups=tuple(name for name in user.groups if name != group.name))

        await self._directory.change(context.caller.account, Kind.USER, parameters["UserName"], change)
        return {}


def _members(connection: Connection, group: Identity) -> list[Identity]:
    users = store.identities(connection, group.account, Kind.USER)
    return [user for user in users if group.name in user.groups]
