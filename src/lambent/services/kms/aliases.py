"""The operations on aliases: names for keys that can be moved from one to another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lambent.base.db import Connection
from lambent.services.kms import access, store
from lambent.services.kms.records import Alias, arn
from lambent.services.kms.vault import Vault, invalid, page
from lambent.wire.errors import AwsError
from lambent.wire.operations import Caller, Context, Operations, Parameters

_NAME = re.compile(r"alias/[a-zA-Z0-9/_-]+")

Answer = Mapping[str, Any]


class Aliases:
    """Handlers of the operations on aliases."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "CreateAlias": self.create_alias,
            "UpdateAlias": self.update_alias,
            "DeleteAlias": self.delete_alias,
            "ListAliases": self.list_aliases,
        }.items():
            operations.register("kms", operation, handler)

    async def create_alias(self, context: Context, parameters: Parameters) -> Answer:
        caller, name = context.caller, _own_name(parameters["AliasName"])
        now = self._vault.clock.time()

        def work(connection: Connection) -> None:
            key = access.find(connection, caller, parameters["TargetKeyId"], now, aliases=False)
            self._vault.authorize(connection, key, caller, "CreateAlias")
            access.refuse_managed(key, caller, "CreateAlias")
            access.refuse_pending(key)
            if store.find_alias(connection, caller.account, caller.region, name) is not None:
                taken = arn(caller.account, caller.region, name)
                raise AwsError("AlreadyExistsException", f"An alias with the name {taken} already exists")
            store.put_alias(connection, Alias(caller.account, caller.region, name, key.id, now, now))

        await self._vault.db.write(work)
        return {}

    async def update_alias(self, context: Context, parameters: Parameters) -> Answer:
        caller, name = context.caller, _own_name(parameters["AliasName"])
        now = self._vault.clock.time()

        def work(connection: Connection) -> None:
            alias = _demand(connection, caller, name)
            key = access.find(connection, caller, parameters["TargetKeyId"], now, aliases=False)
            self._vault.authorize(connection, key, caller, "UpdateAlias")
            access.refuse_managed(key, caller, "UpdateAlias")
            access.refuse_pending(key)
            store.put_alias(connection, replace(alias, target=key.id, updated=now))

        await self._vault.db.write(work)
        return {}

    async def delete_alias(self, context: Context, parameters: Parameters) -> Answer:
        caller, name = context.caller, _own_name(parameters["AliasName"])

        def work(connection: Connection) -> None:
            alias = _demand(connection, caller, name)
            key = store.find_key(connection, alias.target)
            if key is not None and caller.proven:
                self._vault.authorize(connection, key, caller, "DeleteAlias")
            store.remove_alias(connection, alias)

        await self._vault.db.write(work)
        return {}

    async def list_aliases(self, context: Context, parameters: Parameters) -> Answer:
        caller, most, after = context.caller, parameters.get("Limit", 50), parameters.get("Marker", "")
        now = self._vault.clock.time()

        def work(connection: Connection) -> list[Alias]:
            target = None
            if "KeyId" in parameters:
                target = access.find(connection, caller, parameters["KeyId"], now, aliases=False).id
            found = store.aliases(connection, caller.account, caller.region, target=target)
            return [alias for alias in found if alias.name > after]

        aliases = await self._vault.db.read(work)
        shown = [
            {
                "AliasName": alias.name,
                "AliasArn": alias.arn,
                "TargetKeyId": alias.target,
                "CreationDate": datetime.fromtimestamp(alias.created, UTC),
                "LastUpdatedDate": datetime.fromtimestamp(alias.updated, UTC),
            }
            for alias in aliases
        ]
        return page(shown, "Aliases", [alias.name for alias in aliases], most)


def _own_name(name: str) -> str:
    """The name of an alias that its account may make and move: `alias/aws/…` are AWS's."""
    if not name.startswith("alias/"):
        raise invalid("Invalid identifier")
    if not _NAME.fullmatch(name):
        raise invalid(f"{name} contains invalid characters for an alias")
    if name.startswith("alias/aws/"):
        raise AwsError("NotAuthorizedException", None, status=400)
    return name


def _demand(connection: Connection, caller: Caller, name: str) -> Alias:
    alias = store.find_alias(connection, caller.account, caller.region, name)
    if alias is None:
        raise AwsError("NotFoundException", f"Alias {arn(caller.account, caller.region, name)} is not found.")
    return alias
