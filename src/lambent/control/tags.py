"""The tags of whatever can have tags: functions, code signing configurations, event source mappings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from lambent.base.db import Connection
from lambent.control import settings
from lambent.control.records import Function, FunctionKey
from lambent.control.resources import Resources, home_of, is_of, name_of
from lambent.control.store import FunctionStore, not_found
from lambent.wire import arn
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Operations, Parameters

Change = Callable[[Mapping[str, str]], dict[str, str]]


class Owner(Protocol):
    """Keeps the tags of one kind of resource."""

    async def tags(self, context: Context, resource: str) -> Mapping[str, str]:
        """The tags of what the ARN `resource` names. Raises ResourceNotFoundException."""

    async def change_tags(self, context: Context, resource: str, change: Change) -> None:
        """Replace the tags by what `change` makes of them; what it raises comes out and nothing has changed."""


class Tags:
    """Handlers of TagResource, UntagResource and ListTags."""

    def __init__(self, owners: Mapping[str, Owner]) -> None:
        """`owners` by the word that stands for their kind in ARNs: `function`, `code-signing-config`."""
        self._owners = owners

    def register(self, operations: Operations) -> None:
        operations.register("lambda", "ListTags", self.list_tags)
        operations.register("lambda", "TagResource", self.tag_resource)
        operations.register("lambda", "UntagResource", self.untag_resource)

    async def list_tags(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        return {"Tags": dict(await self._owner(parameters).tags(context, parameters["Resource"]))}

    async def tag_resource(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        owner, given = self._owner(parameters), dict(parameters["Tags"])

        def change(tags: Mapping[str, str]) -> dict[str, str]:
            if not given:
                raise settings.invalid("An error occurred and the request cannot be processed.")
            changed = {**tags, **given}
            settings.check_tags(changed)
            return changed

        await owner.change_tags(context, parameters["Resource"], change)
        return {}

    async def untag_resource(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        names = set(parameters["TagKeys"])

        def change(tags: Mapping[str, str]) -> dict[str, str]:
            return {name: value for name, value in tags.items() if name not in names}

        await self._owner(parameters).change_tags(context, parameters["Resource"], change)
        return {}

    def _owner(self, parameters: Parameters) -> Owner:
        resource: str = parameters["Resource"]
        kind = resource.split(":")[5]
        if owner := self._owners.get(kind):
            return owner
        noun = kind.replace("-", " ").capitalize()
        raise AwsError("ResourceNotFoundException", f"{noun} not found: {resource}", Type="User")


class TaggedFunctions:
    """The tags of functions; their versions and aliases have none."""

    def __init__(self, store: FunctionStore) -> None:
        self._store = store

    async def tags(self, context: Context, resource: str) -> Mapping[str, str]:
        key = _function(context, resource)
        function = await self._store.get(key)
        if function is None:
            raise not_found(key)
        return function.tags

    async def change_tags(self, context: Context, resource: str, change: Change) -> None:
        def changed(function: Function) -> Function:
            return replace(function, tags=change(function.tags))

        await self._store.amend(_function(context, resource), changed)


class TaggedResources:
    """The tags of named documents, in their member `Tags`. The name is the last part of the ARN."""

    def __init__(self, resources: Resources, missing: Callable[[str], AwsError]) -> None:
        """`missing` makes the error for an ARN of nothing."""
        self._resources = resources
        self._missing = missing

    async def tags(self, context: Context, resource: str) -> Mapping[str, str]:
        document = (
            await self._resources.get(home_of(resource), name_of(resource)) if is_of(resource, context.caller) else None
        )
        if document is None:
            raise self._missing(resource)
        tags: Mapping[str, str] = document.get("Tags", {})
        return tags

    async def change_tags(self, context: Context, resource: str, change: Change) -> None:
        home, name = home_of(resource), name_of(resource)

        def work(connection: Connection) -> None:
            document = self._resources.find(connection, home, name)
            if document is None or not is_of(resource, context.caller):
                raise self._missing(resource)
            self._resources.amend(connection, home, name, {**document, "Tags": change(document.get("Tags", {}))})

        await self._resources.db.write(work)


def _function(context: Context, resource: str) -> FunctionKey:
    named = arn.parse(resource, None, context.caller)
    if named.qualifier is not None:
        raise settings.invalid(
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )
    return FunctionKey(named.account, named.region, named.name)
