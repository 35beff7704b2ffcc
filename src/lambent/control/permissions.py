"""The policies of functions, versions and aliases: who else may use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from lambent.base.db import Connection, Database
from lambent.control import names, policies
from lambent.control.alias_store import AliasStore
from lambent.control.policies import Policy
from lambent.control.records import LATEST, Alias, Function, FunctionKey, partition_of
from lambent.control.resources import Resources
from lambent.control.store import FunctionStore, not_found
from lambent.wire import arn
from lambent.wire.errors import AwsError, not_built
from lambent.wire.operations import Context, Operations, Parameters

Answer = Mapping[str, Any]
Change = Callable[[str | None], str | None]
"""From a policy document to the next; None is no policy. May raise."""


class Permissions:
    """Handlers of the operations on resource policies, statement by statement and whole.

    A policy belongs to one qualifier: the function itself (`$LATEST`), a version, or an alias. Its revision is theirs,
    and changing it gives them another.
    """

    def __init__(self, db: Database, store: FunctionStore, aliases: AliasStore) -> None:
        self._policies = Resources(db, "policy")
        self._store = store
        self._aliases = aliases
        store.on_remove(self._let_go)

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "AddPermission": self.add_permission,
            "RemovePermission": self.remove_permission,
            "GetPolicy": self.get_policy,
            "PutResourcePolicy": self.put_resource_policy,
            "GetResourcePolicy": self.get_resource_policy,
            "DeleteResourcePolicy": self.delete_resource_policy,
        }.items():
            operations.register("lambda", operation, handler)

    async def add_permission(self, context: Context, parameters: Parameters) -> Answer:
        key, qualifier = names.qualified(context, parameters)
        if qualifier is not None and qualifier.startswith("$"):
            message = f"We currently do not support adding policies for {qualifier}."
            raise AwsError("InvalidParameterValueException", message, Type="User")
        await self._revision(key, qualifier)
        statement = policies.statement(
            parameters["StatementId"],
            policies.principal(parameters["Principal"], partition_of(key.region)),
            parameters["Action"],
            key.arn(qualifier),
            _condition(parameters),
        )
        await self._change(
            key, qualifier, parameters.get("RevisionId"), lambda text: Policy.of(text).plus(statement).document()
        )
        return {"Statement": orjson.dumps(statement).decode()}

    async def remove_permission(self, context: Context, parameters: Parameters) -> Answer:
        key, qualifier = names.qualified(context, parameters)
        await self._revision(key, qualifier)

        def change(text: str | None) -> str | None:
            if text is None:
                raise policies.no_policy()
            left = Policy.of(text).minus(parameters["StatementId"])
            return left.document() if left.statements else None

        await self._change(key, qualifier, parameters.get("RevisionId"), change)
        return {}

    async def get_policy(self, context: Context, parameters: Parameters) -> Answer:
        return await self._show(*names.qualified(context, parameters))

    async def put_resource_policy(self, context: Context, parameters: Parameters) -> Answer:
        key, qualifier = _resource(context, parameters["ResourceArn"])
        await self._revision(key, qualifier)
        policy = policies.read(parameters["Policy"], key.arn(qualifier))
        await self._change(key, qualifier, parameters.get("RevisionId"), lambda _: policy.document())
        return await self._show(key, qualifier)

    async def get_resource_policy(self, context: Context, parameters: Parameters) -> Answer:
        return await self._show(*_resource(context, parameters["ResourceArn"]))

    async def delete_resource_policy(self, context: Context, parameters: Parameters) -> Answer:
        key, qualifier = _resource(context, parameters["ResourceArn"])
        await self._revision(key, qualifier)

        def change(text: str | None) -> None:
            if text is None:
                raise _nothing()

        await self._change(key, qualifier, parameters.get("RevisionId"), change)
        return {}

    async def find(self, key: FunctionKey, qualifier: str | None) -> Policy | None:
        """The policy of a qualifier, where it has one."""
        stored = await self._policies.get(key, _name(key, qualifier))
        return Policy.of(stored["policy"]) if stored is not None else None

    async def _show(self, key: FunctionKey, qualifier: str | None) -> Answer:
        revision = await self._revision(key, qualifier)
        stored = await self._policies.get(key, _name(key, qualifier))
        if stored is None:
            raise _nothing()
        return {"Policy": stored["policy"], "RevisionId": revision}

    async def _revision(self, key: FunctionKey, qualifier: str | None) -> str:
        """The revision of what is named. Raises ResourceNotFoundException for what is not there."""
        function = await self._store.get(key)
        if function is None:
            raise not_found(key, qualifier)
        if names.is_version(qualifier):
            version = function if qualifier in (None, LATEST) else await self._store.get(key, qualifier)
            if version is None:
                raise not_found(key, qualifier)
            return version.revision_id
        alias = self._aliases.find(key, qualifier or "")
        if alias is None:
            message = f"Cannot find alias arn: {key.arn(qualifier)}"
            raise AwsError("ResourceNotFoundException", message, Type="User")
        return alias.revision_id

    async def _change(self, key: FunctionKey, qualifier: str | None, expected: str | None, change: Change) -> None:
        """Change the policy and the revision of what it belongs to, in one transaction."""

        def store(connection: Connection) -> None:
            stored = self._policies.find(connection, key, _name(key, qualifier))
            text = change(stored["policy"] if stored is not None else None)
            if text is None:
                self._policies.remove(connection, key, _name(key, qualifier))
            else:
                self._policies.put(connection, key, _name(key, qualifier), {"policy": text}, parent=key.name)

        if not names.is_version(qualifier):
            await self._aliases.update(key, qualifier or "", _same_alias, expected, also=store)
            return

        def check(function: Function) -> Function:
            names.check_revision(expected, function.revision_id)
            return function

        await self._store.amend(key, check, qualifier or LATEST, also=store)

    def _let_go(self, connection: Connection, key: FunctionKey, qualifier: str | None) -> None:
        if qualifier is None:
            self._policies.empty(connection, key, key.name)
        else:
            self._policies.remove(connection, key, _name(key, qualifier))


def _same_alias(alias: Alias) -> Alias:
    return alias


def _name(key: FunctionKey, qualifier: str | None) -> str:
    return f"{key.name}:{qualifier or LATEST}"


def _condition(parameters: Parameters) -> dict[str, dict[str, str]]:
    equal = {
        "lambda:FunctionUrlAuthType": parameters.get("FunctionUrlAuthType"),
        "aws:PrincipalOrgID": parameters.get("PrincipalOrgID"),
        "AWS:SourceAccount": parameters.get("SourceAccount"),
        "lambda:EventSourceToken": parameters.get("EventSourceToken"),
    }
    through_url = parameters.get("InvokedViaFunctionUrl")
    tests = {
        "StringEquals": equal,
        "Bool": {"lambda:InvokedViaFunctionUrl": None if through_url is None else str(through_url).lower()},
        "ArnLike": {"AWS:SourceArn": parameters.get("SourceArn")},
    }
    given = {test: {name: value for name, value in keys.items() if value} for test, keys in tests.items()}
    return {test: keys for test, keys in given.items() if keys}


def _resource(context: Context, resource: str) -> tuple[FunctionKey, str | None]:
    """The function and qualifier behind the ARN of a resource that may have a policy."""
    if resource.split(":")[5].startswith("runtime/"):
        raise not_built("resource policies of runtimes")
    named = arn.parse(resource, None, context.caller)
    return FunctionKey(named.account, named.region, named.name), named.qualifier


def _nothing() -> AwsError:
    return AwsError("ResourceNotFoundException", "The resource you requested does not exist.", Type="User")
