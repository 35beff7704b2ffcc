"""What roles, users and groups hold alike: inline and attached policies, boundaries, tags."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from lambent.base.db import Connection
from lambent.services.iam import documents, errors
from lambent.services.iam.directory import Directory, attachable, managed
from lambent.services.iam.records import Identity, Kind
from lambent.services.iam.shapes import Answer, check_tags, page, quoted, size, tag_list, tags_of
from lambent.wire.operations import Context, Operations, Parameters

_INLINE = {Kind.ROLE: 10_240, Kind.USER: 2_048, Kind.GROUP: 5_120}  # characters of all inline policies together
_ATTACHED = 10  # managed policies


class Holdings:
    """PutRolePolicy, AttachUserPolicy, TagRole and their kin: one handler for every kind of identity."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def register(self, operations: Operations) -> None:
        for kind in Kind:
            word = kind.capitalize()
            handlers = {
                f"Put{word}Policy": self.put_policy,
                f"Get{word}Policy": self.get_policy,
                f"Delete{word}Policy": self.delete_policy,
                f"List{word}Policies": self.list_policies,
                f"Attach{word}Policy": self.attach_policy,
                f"Detach{word}Policy": self.detach_policy,
                f"ListAttached{word}Policies": self.list_attached_policies,
            }
            if kind is not Kind.GROUP:
                handlers |= {
                    f"Put{word}PermissionsBoundary": self.put_boundary,
                    f"Delete{word}PermissionsBoundary": self.delete_boundary,
                    f"Tag{word}": self.tag,
                    f"Untag{word}": self.untag,
                    f"List{word}Tags": self.list_tags,
                }
            for operation, handler in handlers.items():
                operations.register("iam", operation, partial(handler, kind))

    async def _find(self, kind: Kind, context: Context, parameters: Parameters) -> Identity:
        return await self._directory.identity(context.caller.account, kind, _name(kind, parameters))

    # Inline policies

    async def put_policy(self, kind: Kind, context: Context, parameters: Parameters) -> Answer:
        name, text = parameters["PolicyName"], parameters["PolicyDocument"]
        errors.check_document(text, documents.Kind.IDENTITY)

        def change(_connection: Connection, identity: Identity) -> Identity:
            inline = {**identity.inline, name: text}
            if sum(size(document) for document in inline.values()) > _INLINE[kind]:
                raise errors.limit(f"Maximum policy size of {_INLINE[kind]} bytes exceeded for {kind} {identity.name}")
            return replace(identity, inline=inline)

        await self._directory.change(context.caller.account, kind, _name(kind, parameters), change)
        return {}

    async def get_policy(self, kind: Kind, context: Context, parameters: Parameters) -> Answer:
        identity, name = await self._find(kind, context, parameters), parameters["PolicyName"]
        text = _inline(identity, name)
        return {f"{kind.capitalize()}Name": identity.name, "PolicyName": name, "PolicyDocument": quoted(text)}

    async def delete_policy(self, kind: Kind, context: Context, parameters: Parameters) -> Answer:
        def change(_connection: Connection, identity: Identity) -> Identity:
            _inline(identity, parameters["PolicyName"])
            kept = {name: text for name, text in identity.inline.items() if name != parameters["PolicyName"]}
            return replace(identity, inline=kept)

        await self._directory.change(context.caller.account, kind, _name(kind, parameters), change)
        return {}

    async def list_policies(self, kind: Kind, context: Context, parameters: Parameters) -> Answer:
        identity = await self._find(kind, context, parameters)
        return page(parameters, "PolicyNames", sorted(identity.inline), str, str)

    # Managed policies

    async def attach_policy(self, kind: Kind, context: Context, parameters: Parameters) -> Answer:
        arn = parameters["PolicyArn"]

        def change(connection: Connection, identity: Identity) -> Identity:
            attachable(connection, identity.account, arn)
            if arn in identity.attached:
                return identity
            if len(identity.attached) >= _ATTACHED:
                raise errors.limit(f"Cannot exceed quota for PoliciesPer{kind.capitalize()}: {_ATTACHED}")
            return replace(identity, attached=(*identity.attached, arn))

        await self._directory.change(context.caller.account, kind, _name(kind, parameters), change)
        return {}

    async def detach_policy(self, kind: Kind, context: Context, parameters: Parameters) -> Answer:
        arn = parameters["PolicyArn"]

        def change(_connection: Connection, identity: Identity) -> Identity:
            if arn not in identity.attached:
                raise errors.no_policy(arn)
            return replace(identity, attached=tuple(held for held in identity.attached if held != arn))

        await self._directory.change(context.caller.account, kind, _name(kind, parameters), change)
        return {}

    async def list_attached_policies(self, kind: Kind, context: Context, parameters: Parameters) -> Answer:
        account, prefix = context.caller.account, parameters.get("PathPrefix", "/")
        identity = await self._find(kind, context, parameters)
        found = await self._directory.db.read(
            lambda connection: [managed(connection, account, arn) for arn in identity.attached]
        )
        shown = sorted(
            (policy for policy in found if policy is not None and policy.path.startswith(prefix)),
            key=lambda policy: policy.name,
        )
        return page(
            parameters,
            "AttachedPolicies",
            shown,
            lambda policy: policy.name,
            lambda policy: {"PolicyName": policy.name, "PolicyArn": policy.arn},
        )

    # Boundaries

    async def put_boundary(self, kind: Kind, context: Context, parameters: Parameters) -> Answer:
        arn = parameters["PermissionsBoundary"]

        def change(connection: Connection, identity: Identity) -> Identity:
            attachable(connection, identity.account, arn)
            return replace(identity, boundary=arn)

        await self._directory.change(context.caller.account, kind, _name(kind, parameters), change)
        return {}

    async def delete_boundary(self, kind: Kind, context: Context, parameters: Parameters) -> Answer:
        def change(_connection: Connection, identity: Identity) -> Identity:
            if identity.boundary is None:
                raise errors.no_entity(f"{kind.capitalize()} {identity.name} does not have a permission boundary.")
            return replace(identity, boundary=None)

        await self._directory.change(context.caller.account, kind, _name(kind, parameters), change)
        return {}

    # Tags

    async def tag(self, kind: Kind, context: Context, parameters: Parameters) -> Answer:
        given = tags_of(parameters["Tags"])

        def change(_connection: Connection, identity: Identity) -> Identity:
            folded = {key.lower() for key in given}
            kept = {key: value for key, value in identity.tags.items() if key.lower() not in folded}
            return replace(identity, tags=check_tags({**kept, **given}))

        await self._directory.change(context.caller.account, kind, _name(kind, parameters), change)
        return {}

    async def untag(self, kind: Kind, context: Context, parameters: Parameters) -> Answer:
        gone = {key.lower() for key in parameters["TagKeys"]}

        def change(_connection: Connection, identity: Identity) -> Identity:
            kept = {key: value for key, value in identity.tags.items() if key.lower() not in gone}
            return replace(identity, tags=kept)

        await self._directory.change(context.caller.account, kind, _name(kind, parameters), change)
        return {}

    async def list_tags(self, kind: Kind, context: Context, parameters: Parameters) -> Answer:
        tags = tag_list((await self._find(kind, context, parameters)).tags)
        ordered = sorted(tags, key=lambda tag: tag["Key"])
        return page(parameters, "Tags", ordered, lambda tag: tag["Key"], lambda tag: tag)


def _name(kind: Kind, parameters: Parameters) -> str:
    name: str = parameters[f"{kind.capitalize()}Name"]
    return name


def _inline(identity: Identity, name: str) -> str:
    if name not in identity.inline:
        raise errors.no_entity(f"The {identity.kind} policy with name {name} cannot be found.")
    return identity.inline[name]


def must_be_bare(identity: Identity) -> None:
    """DeleteConflict while policies hang on what is about to be deleted."""
    if identity.attached:
        raise errors.conflict("Cannot delete entity, must detach all policies first.")
    if identity.inline:
        raise errors.conflict("Cannot delete entity, must delete policies first.")
