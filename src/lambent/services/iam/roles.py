"""Roles."""

from __future__ import annotations

from dataclasses import replace

from lambent.base.db import Connection
from lambent.services.iam import documents, errors, store
from lambent.services.iam.directory import Directory, demand
from lambent.services.iam.holdings import must_be_bare
from lambent.services.iam.records import MAX_SESSION, Identity, Kind
from lambent.services.iam.shapes import Answer, identity_shape, page, path_of, size, tags_of, unique_id
from lambent.wire.operations import Context, Operations, Parameters

_TRUST = 2_048  # characters of a trust policy


class Roles:
    """Handlers of CreateRole and what else roles alone have."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "CreateRole": self.create_role,
            "GetRole": self.get_role,
            "ListRoles": self.list_roles,
            "UpdateRole": self.update_role,
            "UpdateRoleDescription": self.update_role_description,
            "UpdateAssumeRolePolicy": self.update_assume_role_policy,
            "DeleteRole": self.delete_role,
            "ListInstanceProfilesForRole": self.list_instance_profiles_for_role,
        }.items():
            operations.register("iam", operation, handler)

    async def create_role(self, context: Context, parameters: Parameters) -> Answer:
        clock = self._directory.clock
        role = Identity(
            Kind.ROLE,
            context.caller.account,
            parameters["RoleName"],
            path_of(parameters),
            unique_id(clock, "AROA"),
            clock.time(),
            tags_of(parameters.get("Tags", ())),
            boundary=parameters.get("PermissionsBoundary"),
            trust=_trust(parameters["AssumeRolePolicyDocument"]),
            description=parameters.get("Description"),
            max_session=parameters.get("MaxSessionDuration", MAX_SESSION),
        )
        await self._directory.create(role)
        return {"Role": identity_shape(role)}

    async def get_role(self, context: Context, parameters: Parameters) -> Answer:
        role = await self._directory.identity(context.caller.account, Kind.ROLE, parameters["RoleName"])
        return {"Role": {**identity_shape(role), "RoleLastUsed": {}}}

    async def list_roles(self, context: Context, parameters: Parameters) -> Answer:
        prefix = parameters.get("PathPrefix", "/")
        roles = await self._directory.identities(context.caller.account, Kind.ROLE)
        shown = [role for role in roles if role.path.startswith(prefix)]
        return page(
            parameters, "Roles", shown, lambda role: role.name.lower(), lambda role: identity_shape(role, tags=False)
        )

    async def update_role(self, context: Context, parameters: Parameters) -> Answer:
        def change(_connection: Connection, role: Identity) -> Identity:
            return replace(
                role,
                description=parameters.get("Description", role.description),
                max_session=parameters.get("MaxSessionDuration", MAX_SESSION),
            )

        await self._directory.change(context.caller.account, Kind.ROLE, parameters["RoleName"], change)
        return {}

    async def update_role_description(self, context: Context, parameters: Parameters) -> Answer:
        def change(_connection: Connection, role: Identity) -> Identity:
            return replace(role, description=parameters["Description"])

        role = await self._directory.change(context.caller.account, Kind.ROLE, parameters["RoleName"], change)
        return {"Role": identity_shape(role)}

    async def update_assume_role_policy(self, context: Context, parameters: Parameters) -> Answer:
        text = _trust(parameters["PolicyDocument"])

        def change(_connection: Connection, role: Identity) -> Identity:
            return replace(role, trust=text)

        await self._directory.change(context.caller.account, Kind.ROLE, parameters["RoleName"], change)
        return {}

    async def delete_role(self, context: Context, parameters: Parameters) -> Answer:
        def work(connection: Connection) -> None:
            role = demand(connection, context.caller.account, Kind.ROLE, parameters["RoleName"])
            must_be_bare(role)
            store.remove_identity(connection, role)

        await self._directory.db.write(work)
        return {}

    async def list_instance_profiles_for_role(self, context: Context, parameters: Parameters) -> Answer:
        """None: there are no instances, and no profile can be made."""
        await self._directory.identity(context.caller.account, Kind.ROLE, parameters["RoleName"])
        return {"InstanceProfiles": [], "IsTruncated": False}


def _trust(text: str) -> str:
    errors.check_document(text, documents.Kind.TRUST)
    if size(text) > _TRUST:
        raise errors.limit(f"Cannot exceed quota for ACLSizePerRole: {_TRUST}")
    return text
