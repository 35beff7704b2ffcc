"""The operations on aliases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lambent.base.clock import Clock
from lambent.control import markers, names
from lambent.control.alias_store import AliasStore
from lambent.control.records import Alias, FunctionKey
from lambent.control.store import FunctionStore, not_found
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Operations, Parameters

_PAGE = 50

Answer = Mapping[str, Any]


class Aliases:
    """Handlers of CreateAlias, GetAlias, UpdateAlias, DeleteAlias and ListAliases."""

    def __init__(self, functions: FunctionStore, aliases: AliasStore, clock: Clock) -> None:
        self._functions = functions
        self._aliases = aliases
        self._clock = clock

    def register(self, operations: Operations) -> None:
        operations.register("lambda", "CreateAlias", self.create_alias)
        operations.register("lambda", "GetAlias", self.get_alias)
        operations.register("lambda", "UpdateAlias", self.update_alias)
        operations.register("lambda", "DeleteAlias", self.delete_alias)
        operations.register("lambda", "ListAliases", self.list_aliases)

    async def create_alias(self, context: Context, parameters: Parameters) -> Answer:
        alias = Alias(
            key=names.unqualified(context, parameters),
            name=parameters["Name"],
            function_version=parameters["FunctionVersion"],
            revision_id=self._clock.uuid(),
            description=parameters.get("Description", ""),
            weights=_weights(parameters),
        )
        return describe(await self._aliases.create(alias))

    async def get_alias(self, context: Context, parameters: Parameters) -> Answer:
        key = await self._function(context, parameters)
        alias = self._aliases.find(key, parameters["Name"])
        if alias is None:
            raise alias_not_found(key, parameters["Name"])
        return describe(alias)

    async def update_alias(self, context: Context, parameters: Parameters) -> Answer:
        changes: dict[str, Any] = {}
        if "FunctionVersion" in parameters:
            changes["function_version"] = parameters["FunctionVersion"]
        if "Description" in parameters:
            changes["description"] = parameters["Description"]
        if "RoutingConfig" in parameters:
            changes["weights"] = _weights(parameters)
        return describe(
            await self._aliases.update(
                await self._function(context, parameters),
                parameters["Name"],
                lambda alias: replace(alias, **changes),
                parameters.get("RevisionId"),
            )
        )

    async def delete_alias(self, context: Context, parameters: Parameters) -> Answer:
        """Deleting an alias that is not there succeeds, as on AWS."""
        key = await self._function(context, parameters)

        await self._aliases.delete(
            key, parameters["Name"], lambda connection: self._functions.let_go(connection, key, parameters["Name"])
        )
        return {}

    async def list_aliases(self, context: Context, parameters: Parameters) -> Answer:
        key = await self._function(context, parameters)
        most = min(parameters.get("MaxItems", _PAGE), _PAGE)
        page, marker = await self._aliases.page(key, parameters.get("FunctionVersion"), parameters.get("Marker"), most)
        return markers.answer("Aliases", [describe(alias) for alias in page], marker)

    async def _function(self, context: Context, parameters: Parameters) -> FunctionKey:
        key = names.unqualified(context, parameters)
        if await self._functions.get(key) is None:
            raise not_found(key)
        return key


def describe(alias: Alias) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "AliasArn": alias.arn,
        "Name": alias.name,
        "FunctionVersion": alias.function_version,
        "Description": alias.description,
        "RevisionId": alias.revision_id,
    }
    if alias.weights:
        shown["RoutingConfig"] = {"AdditionalVersionWeights": dict(alias.weights)}
    return shown


def alias_not_found(key: FunctionKey, name: str) -> AwsError:
    return AwsError("ResourceNotFoundException", f"Cannot find alias arn: {key.arn(name)}", Type="User")


def _weights(parameters: Parameters) -> dict[str, float]:
    return dict(parameters.get("RoutingConfig", {}).get("AdditionalVersionWeights", {}))
