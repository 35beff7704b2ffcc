"""The operations on concurrency, and GetAccountSettings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lambent.base.clock import Clock
from lambent.base.db import Connection
from lambent.control import markers, names, quotas, rows
from lambent.control.alias_store import AliasStore
from lambent.control.aliases import alias_not_found
from lambent.control.concurrency_store import ConcurrencyStore, refuse_double
from lambent.control.records import LATEST, FunctionKey, Provisioned
from lambent.control.settings import refuse_tenancy
from lambent.control.store import FunctionStore, not_found
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Operations, Parameters

_PAGE = 50

Answer = Mapping[str, Any]
Allocated = Callable[[FunctionKey, str], int]
"""How many initialised environments a version or an alias has: what the engine says."""


class Concurrency:
    """Handlers of the operations on reserved and provisioned concurrency."""

    def __init__(
        self,
        functions: FunctionStore,
        aliases: AliasStore,
        concurrency: ConcurrencyStore,
        clock: Clock,
        code_size: Callable[[str, str], int],
        allocated: Allocated,
    ) -> None:
        """`code_size` gives the bytes of code that an account stores in a region."""
        self._functions = functions
        self._aliases = aliases
        self._concurrency = concurrency
        self._clock = clock
        self._code_size = code_size
        self._allocated = allocated

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "PutFunctionConcurrency": self.put_function_concurrency,
            "GetFunctionConcurrency": self.get_function_concurrency,
            "DeleteFunctionConcurrency": self.delete_function_concurrency,
            "PutProvisionedConcurrencyConfig": self.put_provisioned_concurrency_config,
            "GetProvisionedConcurrencyConfig": self.get_provisioned_concurrency_config,
            "DeleteProvisionedConcurrencyConfig": self.delete_provisioned_concurrency_config,
            "ListProvisionedConcurrencyConfigs": self.list_provisioned_concurrency_configs,
            "GetAccountSettings": self.get_account_settings,
        }.items():
            operations.register("lambda", operation, handler)

    # Reserved

    async def put_function_concurrency(self, context: Context, parameters: Parameters) -> Answer:
        key = _function_only(context, parameters)
        executions: int = parameters["ReservedConcurrentExecutions"]

        def exists(connection: Connection) -> None:
            if rows.find(connection, key) is None:
                raise not_found(key, LATEST)

        await self._concurrency.reserve(key, executions, exists)
        return {"ReservedConcurrentExecutions": executions}

    async def get_function_concurrency(self, context: Context, parameters: Parameters) -> Answer:
        key = await self._function(context, parameters)
        reserved = self._concurrency.reserved(key)
        return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}

    async def delete_function_concurrency(self, context: Context, parameters: Parameters) -> Answer:
        await self._concurrency.release(await self._function(context, parameters))
        return {}

    # Provisioned

    async def put_provisioned_concurrency_config(self, context: Context, parameters: Parameters) -> Answer:
        key, qualifier = names.qualified(context, parameters)
        if qualifier in (None, LATEST):
            problem = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
            raise AwsError("InvalidParameterValueException", problem, Type="User")
        assert qualifier is not None
        config = Provisioned(
            key=key,
            qualifier=qualifier,
            version=self._version(key, qualifier),
            requested=parameters["ProvisionedConcurrentExecutions"],
            revision=self._clock.uuid(),
            last_modified=f"{self._clock.now():%Y-%m-%dT%H:%M:%S}+0000",
        )

        def check(connection: Connection) -> None:
            row = rows.find(connection, key, config.version)
            if row is None:
                raise not_found(key, qualifier)
            refuse_double(self._concurrency.provisioned(key), qualifier, self._aliases.of(key))
            refuse_tenancy(row.document, "Provisioned Concurrency")
            if row.document.snap_start != "None":
                problem = "Provisioned Concurrency is not supported for SnapStart enabled functions."
                raise AwsError("InvalidParameterValueException", problem, Type="User")

        return self._describe(await self._concurrency.provision(config, check))

    def _version(self, key: FunctionKey, qualifier: str) -> str:
        """The version behind a qualifier. Raises for aliases that are not there, or that split their invocations."""
        if names.is_version(qualifier):
            return qualifier
        alias = self._aliases.find(key, qualifier)
        if alias is None:
            raise alias_not_found(key, qualifier)
        if alias.function_version == LATEST:
            problem = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
            raise AwsError("InvalidParameterValueException", problem, Type="User")
        if alias.weights:
            problem = "Alias with weights can not be used with Provisioned Concurrency"
            raise AwsError("InvalidParameterValueException", problem, Type="User")
        return alias.function_version

    async def get_provisioned_concurrency_config(self, context: Context, parameters: Parameters) -> Answer:
        key, qualifier = _published(context, parameters)
        if not names.is_version(qualifier) and self._aliases.find(key, qualifier) is None:
            raise alias_not_found(key, qualifier)
        if names.is_version(qualifier) and await self._functions.get(key, qualifier) is None:
            raise not_found(key, qualifier)
        config = self._concurrency.provisioned(key).get(qualifier)
        if config is None:
            problem = "No Provisioned Concurrency Config found for this function"
            raise AwsError("ProvisionedConcurrencyConfigNotFoundException", problem, Type="User")
        return self._describe(config)

    async def delete_provisioned_concurrency_config(self, context: Context, parameters: Parameters) -> Answer:
        """Deleting what is not there succeeds, as on AWS."""
        key, qualifier = _published(context, parameters)
        if await self._functions.get(key) is None:
            raise not_found(key)
        await self._concurrency.unprovision(key, qualifier)
        return {}

    async def list_provisioned_concurrency_configs(self, context: Context, parameters: Parameters) -> Answer:
        key = await self._function(context, parameters)
        (after,) = markers.read(parameters["Marker"], ("",)) if parameters.get("Marker") else ("",)
        found = self._concurrency.provisioned(key)
        rest = [found[name] for name in sorted(found) if name > str(after)]
        page, marker = markers.cut(rest, min(parameters.get("MaxItems", _PAGE), _PAGE), lambda c: (c.qualifier,))
        shown = [{"FunctionArn": key.arn(config.qualifier), **self._describe(config)} for config in page]
        return markers.answer("ProvisionedConcurrencyConfigs", shown, marker)

    def _describe(self, config: Provisioned) -> dict[str, Any]:
        ready = min(config.requested, self._allocated(config.key, config.qualifier))
        shown: dict[str, Any] = {
            "RequestedProvisionedConcurrentExecutions": config.requested,
            "AvailableProvisionedConcurrentExecutions": ready,
            "AllocatedProvisionedConcurrentExecutions": ready,
            "Status": config.status,
            "LastModified": config.last_modified,
        }
        if config.status_reason is not None:
            shown["StatusReason"] = config.status_reason
        return shown

    # The account

    async def get_account_settings(self, context: Context, parameters: Parameters) -> Answer:
        place = (context.caller.account, context.caller.region)
        return {
            "AccountLimit": {
                "TotalCodeSize": quotas.TOTAL_CODE_SIZE,
                "CodeSizeUnzipped": quotas.CODE_SIZE_UNZIPPED,
                "CodeSizeZipped": quotas.CODE_SIZE_ZIPPED,
                "ConcurrentExecutions": quotas.CONCURRENT_EXECUTIONS,
                "UnreservedConcurrentExecutions": self._concurrency.unreserved(*place),
            },
            "AccountUsage": {
                "TotalCodeSize": self._code_size(*place),
                "FunctionCount": self._functions.count_of(*place),
            },
        }

    async def _function(self, context: Context, parameters: Parameters) -> FunctionKey:
        key = _function_only(context, parameters)
        if await self._functions.get(key) is None:
            raise not_found(key)
        return key


def _function_only(context: Context, parameters: Parameters) -> FunctionKey:
    """The function, named without any qualifier: $LATEST is refused too."""
    key, qualifier = names.qualified(context, {"FunctionName": parameters["FunctionName"]})
    if qualifier is not None:
        raise names.functions_only()
    return key


def _published(context: Context, parameters: Parameters) -> tuple[FunctionKey, str]:
    key, qualifier = names.qualified(context, parameters)
    if qualifier is None or qualifier == LATEST:
        problem = "The function resource provided must be an alias or a published version."
        raise AwsError("InvalidParameterValueException", problem, Type="User")
    return key, qualifier
