"""Managed policies and their versions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lambent.base.db import Connection
from lambent.services.iam import catalogue, documents, errors, store
from lambent.services.iam.directory import Directory, managed
from lambent.services.iam.records import Identity, Kind, ManagedPolicy, Version
from lambent.services.iam.shapes import (
    Answer,
    check_tags,
    date,
    page,
    path_of,
    quoted,
    size,
    tag_list,
    tags_of,
    unique_id,
)
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Operations, Parameters

_SIZE = 6_144  # characters
_VERSIONS = 5


class ManagedPolicies:
    """Handlers of CreatePolicy and what is done with policies that have an ARN."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "CreatePolicy": self.create_policy,
            "GetPolicy": self.get_policy,
            "ListPolicies": self.list_policies,
            "DeletePolicy": self.delete_policy,
            "CreatePolicyVersion": self.create_policy_version,
            "GetPolicyVersion": self.get_policy_version,
            "ListPolicyVersions": self.list_policy_versions,
            "SetDefaultPolicyVersion": self.set_default_policy_version,
            "DeletePolicyVersion": self.delete_policy_version,
            "ListEntitiesForPolicy": self.list_entities_for_policy,
            "TagPolicy": self.tag_policy,
            "UntagPolicy": self.untag_policy,
            "ListPolicyTags": self.list_policy_tags,
        }.items():
            operations.register("iam", operation, handler)

    async def create_policy(self, context: Context, parameters: Parameters) -> Answer:
        clock, text = self._directory.clock, _document(parameters["PolicyDocument"])
        now = clock.time()
        policy = ManagedPolicy(
            context.caller.account,
            parameters["PolicyName"],
            path_of(parameters),
            unique_id(clock, "ANPA"),
            now,
            now,
            (Version(1, text, now),),
            description=parameters.get("Description"),
            tags=tags_of(parameters.get("Tags", ())),
        )

        def work(connection: Connection) -> None:
            if not store.add_policy(connection, policy):
                raise errors.exists(f"A policy called {policy.name} already exists. Duplicate names are not allowed.")

        await self._directory.db.write(work)
        return {"Policy": _shape(policy, [])}

    async def get_policy(self, context: Context, parameters: Parameters) -> Answer:
        def work(connection: Connection) -> Answer:
            policy = _demand(connection, context.caller.account, parameters["PolicyArn"])
            return {"Policy": _shape(policy, store.identities(connection, context.caller.account), whole=True)}

        return await self._directory.db.read(work)

    async def list_policies(self, context: Context, parameters: Parameters) -> Answer:
        account, scope = context.caller.account, parameters.get("Scope", "All")
        prefix, usage = parameters.get("PathPrefix", "/"), parameters.get("PolicyUsageFilter")

        def work(connection: Connection) -> tuple[list[ManagedPolicy], list[Identity]]:
            found = list(catalogue.policies().values()) if scope != "Local" else []
            if scope != "AWS":
                found += store.policies(connection, account)
            return found, store.identities(connection, account)

        found, identities = await self._directory.db.read(work)
        policies = [policy for policy in found if policy.path.startswith(prefix)]
        bounds, attached = _used(identities)
        if usage == "PermissionsBoundary":
            policies = [policy for policy in policies if policy.arn in bounds]
        elif usage == "PermissionsPolicy" or parameters.get("OnlyAttached"):
            policies = [policy for policy in policies if policy.arn in attached]
        policies.sort(key=lambda policy: (policy.name.lower(), policy.arn))
        return page(
            parameters,
            "Policies",
            policies,
            lambda policy: f"{policy.name.lower()} {policy.arn}",
            lambda policy: _shape(policy, identities),
        )

    async def delete_policy(self, context: Context, parameters: Parameters) -> Answer:
        def work(connection: Connection) -> None:
            policy = _demand_own(connection, context, parameters)
            bounds, attached = _used(store.identities(connection, policy.account))
            if policy.arn in bounds or policy.arn in attached:
                raise errors.conflict("Cannot delete a policy attached to entities.")
            if len(policy.versions) > 1:
                raise errors.conflict(
                    "This policy has more than one version. Before you delete a policy, you must delete the policy's"
                    " versions. The default version is deleted with the policy."
                )
            store.remove_policy(connection, policy)

        await self._directory.db.write(work)
        return {}

    # Versions

    async def create_policy_version(self, context: Context, parameters: Parameters) -> Answer:
        text, now = _document(parameters["PolicyDocument"]), self._directory.clock.time()

        def change(policy: ManagedPolicy) -> ManagedPolicy:
            if len(policy.versions) >= _VERSIONS:
                raise errors.limit(
                    f"A managed policy can have up to {_VERSIONS} versions. Before you create a new version, you must"
                    " delete an existing version."
                )
            number = policy.last + 1
            default = number if parameters.get("SetAsDefault") else policy.default
            versions = (*policy.versions, Version(number, text, now))
            return replace(policy, versions=versions, last=number, default=default, updated=now)

        policy = await self._change(context, parameters, change)
        shape = _version_shape(policy, policy.versions[-1])
        return {"PolicyVersion": {name: value for name, value in shape.items() if name != "Document"}}

    async def get_policy_version(self, context: Context, parameters: Parameters) -> Answer:
        policy = await self._find(context, parameters)
        return {"PolicyVersion": _version_shape(policy, _demand_version(policy, parameters["VersionId"]))}

    async def list_policy_versions(self, context: Context, parameters: Parameters) -> Answer:
        policy = await self._find(context, parameters)
        newest_first = policy.versions[::-1]  # five at most: one page

        def shape(version: Version) -> Answer:
            return {name: value for name, value in _version_shape(policy, version).items() if name != "Document"}

        return {"Versions": [shape(version) for version in newest_first], "IsTruncated": False}

    async def set_default_policy_version(self, context: Context, parameters: Parameters) -> Answer:
        def change(policy: ManagedPolicy) -> ManagedPolicy:
            number = _demand_version(policy, parameters["VersionId"]).number
            return replace(policy, default=number, updated=self._directory.clock.time())

        await self._change(context, parameters, change)
        return {}

    async def delete_policy_version(self, context: Context, parameters: Parameters) -> Answer:
        def change(policy: ManagedPolicy) -> ManagedPolicy:
            gone = _demand_version(policy, parameters["VersionId"])
            if gone.number == policy.default:
                raise errors.conflict("Cannot delete the default version of a policy.")
            return replace(policy, versions=tuple(version for version in policy.versions if version is not gone))

        await self._change(context, parameters, change)
        return {}

    # Who holds them

    async def list_entities_for_policy(self, context: Context, parameters: Parameters) -> Answer:
        account, arn, prefix = context.caller.account, parameters["PolicyArn"], parameters.get("PathPrefix", "/")
        usage, wanted = parameters.get("PolicyUsageFilter"), parameters.get("EntityFilter")

        def work(connection: Connection) -> list[Identity]:
            _demand(connection, account, arn)
            return store.identities(connection, account)

        def holds(identity: Identity) -> bool:
            return (usage != "PermissionsBoundary" and arn in identity.attached) or (
                usage != "PermissionsPolicy" and arn == identity.boundary
            )

        found = [
            identity
            for identity in await self._directory.db.read(work)
            if holds(identity) and identity.path.startswith(prefix) and wanted in (None, identity.kind.capitalize())
        ]
        answer: dict[str, Any] = {"IsTruncated": False}
        for kind in Kind:
            word = kind.capitalize()
            answer[f"Policy{word}s"] = [
                {f"{word}Name": identity.name, f"{word}Id": identity.id} for identity in found if identity.kind is kind
            ]
        return answer

    # Tags

    async def tag_policy(self, context: Context, parameters: Parameters) -> Answer:
        given = tags_of(parameters["Tags"])
        folded = {key.lower() for key in given}

        def change(policy: ManagedPolicy) -> ManagedPolicy:
            kept = {key: value for key, value in policy.tags.items() if key.lower() not in folded}
            return replace(policy, tags=check_tags({**kept, **given}))

        await self._change(context, parameters, change)
        return {}

    async def untag_policy(self, context: Context, parameters: Parameters) -> Answer:
        gone = {key.lower() for key in parameters["TagKeys"]}

        def change(policy: ManagedPolicy) -> ManagedPolicy:
            return replace(policy, tags={key: value for key, value in policy.tags.items() if key.lower() not in gone})

        await self._change(context, parameters, change)
        return {}

    async def list_policy_tags(self, context: Context, parameters: Parameters) -> Answer:
        tags = sorted(tag_list((await self._find(context, parameters)).tags), key=lambda tag: tag["Key"])
        return page(parameters, "Tags", tags, lambda tag: tag["Key"], lambda tag: tag)

    async def _find(self, context: Context, parameters: Parameters) -> ManagedPolicy:
        account, arn = context.caller.account, parameters["PolicyArn"]
        return await self._directory.db.read(lambda connection: _demand(connection, account, arn))

    async def _change(
        self, context: Context, parameters: Parameters, change: Callable[[ManagedPolicy], ManagedPolicy]
    ) -> ManagedPolicy:
        def work(connection: Connection) -> ManagedPolicy:
            changed = change(_demand_own(connection, context, parameters))
            store.put_policy(connection, changed)
            return changed

        return await self._directory.db.write(work)


def _document(text: str) -> str:
    errors.check_document(text, documents.Kind.IDENTITY)
    if size(text) > _SIZE:
        raise errors.limit(f"Cannot exceed quota for PolicySize: {_SIZE}")
    return text


def _demand(connection: Connection, account: str, arn: str) -> ManagedPolicy:
    policy = managed(connection, account, arn)
    if policy is None:
        raise errors.no_policy(arn)
    return policy


def _demand_own(connection: Connection, context: Context, parameters: Parameters) -> ManagedPolicy:
    policy = _demand(connection, context.caller.account, parameters["PolicyArn"])
    if policy.account == catalogue.OWNER:
        raise AwsError("AccessDenied", f"The policy {policy.arn} is AWS's and cannot be changed.", status=403)
    return policy


def _demand_version(policy: ManagedPolicy, version_id: str) -> Version:
    version = policy.version(version_id)
    if version is None:
        raise errors.no_entity(f"Policy {policy.arn} version {version_id} does not exist or is not attachable.")
    return version


def _used(identities: list[Identity]) -> tuple[list[str], list[str]]:
    """The ARNs of boundaries and of attached policies, each as often as it is used."""
    bounds = [identity.boundary for identity in identities if identity.boundary is not None]
    return bounds, [arn for identity in identities for arn in identity.attached]


def _shape(policy: ManagedPolicy, identities: list[Identity], *, whole: bool = False) -> Answer:
    bounds, attached = _used(identities)
    shape: dict[str, Any] = {
        "PolicyName": policy.name,
        "PolicyId": policy.id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": f"v{policy.default}",
        "AttachmentCount": attached.count(policy.arn),
        "PermissionsBoundaryUsageCount": bounds.count(policy.arn),
        "IsAttachable": True,
        "CreateDate": date(policy.created),
        "UpdateDate": date(policy.updated),
    }
    if whole and policy.description is not None:
        shape["Description"] = policy.description
    if policy.tags:
        shape["Tags"] = tag_list(policy.tags)
    return shape


def _version_shape(policy: ManagedPolicy, version: Version) -> Answer:
    return {
        "Document": quoted(version.text),
        "VersionId": version.id,
        "IsDefaultVersion": version.number == policy.default,
        "CreateDate": date(version.created),
    }
