"""The tags of functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lambent.control import settings
from lambent.control.records import Function, FunctionKey
from lambent.control.store import FunctionStore, not_found
from lambent.wire import arn
from lambent.wire.errors import not_built
from lambent.wire.operations import Context, Operations, Parameters


class Tags:
    """Handlers of TagResource, UntagResource and ListTags."""

    def __init__(self, store: FunctionStore) -> None:
        self._store = store

    def register(self, operations: Operations) -> None:
        operations.register("lambda", "ListTags", self.list_tags)
        operations.register("lambda", "TagResource", self.tag_resource)
        operations.register("lambda", "UntagResource", self.untag_resource)

    async def list_tags(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        key = _function(context, parameters)
        function = await self._store.get(key)
        if function is None:
            raise not_found(key)
        return {"Tags": dict(function.tags)}

    async def tag_resource(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        key = _function(context, parameters)
        given = dict(parameters["Tags"])
        if not given:
            raise settings.invalid("An error occurred and the request cannot be processed.")

        def change(function: Function) -> Function:
            tags = {**function.tags, **given}
            settings.check_tags(tags)
            return replace(function, tags=tags)

        await self._store.amend(key, change)
        return {}

    async def untag_resource(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        key, names = _function(context, parameters), set(parameters["TagKeys"])

        def change(function: Function) -> Function:
            return replace(function, tags={name: tag for name, tag in function.tags.items() if name not in names})

        await self._store.amend(key, change)
        return {}


def _function(context: Context, parameters: Parameters) -> FunctionKey:
    resource: str = parameters["Resource"]
    kind = resource.split(":")[5]
    if kind != "function":
        raise not_built(f"tags of a {kind}")
    named = arn.parse(resource, None, context.caller)
    if named.qualifier is not None:
        raise settings.invalid(
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )
    return FunctionKey(named.account, named.region, named.name)
