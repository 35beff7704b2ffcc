"""The operations on grants: use of a key, lent to somebody."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lambent.base.db import Connection
from lambent.services.kms import access, store
from lambent.services.kms.records import Grant, Key
from lambent.services.kms.vault import Vault, invalid, page
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Operations, Parameters

Answer = Mapping[str, Any]


class Grants:
    """Handlers of the operations on grants."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "CreateGrant": self.create_grant,
            "ListGrants": self.list_grants,
            "ListRetirableGrants": self.list_retirable_grants,
            "RevokeGrant": self.revoke_grant,
            "RetireGrant": self.retire_grant,
        }.items():
            operations.register("kms", operation, handler)

    async def create_grant(self, context: Context, parameters: Parameters) -> Answer:
        """One with the same name and content again is the one there is."""
        grantee = parameters.get("GranteePrincipal") or parameters.get("GranteeServicePrincipal")
        if not grantee:
            raise invalid("GranteePrincipal is required.")
        grants: list[Grant] = []

        def change(connection: Connection, key: Key) -> None:
            access.refuse_unusable(key)
            if parameters.get("DryRun"):
                message = "The request would have succeeded, but the DryRun option is set."
                raise AwsError("DryRunOperationException", message, status=412)
            grant = Grant(
                key_id=key.id,
                id=secrets.token_hex(32),
                token=secrets.token_urlsafe(96),
                created=self._vault.clock.time(),
                issuer=access.root_of(context.caller),
                grantee=grantee,
                operations=tuple(parameters["Operations"]),
                retiring=parameters.get("RetiringPrincipal") or parameters.get("RetiringServicePrincipal"),
                name=parameters.get("Name"),
                constraints=parameters.get("Constraints"),
            )
            same = next((one for one in store.grants(connection, key.id) if _is_same(one, grant)), None)
            grants.append(same or store.put_grant(connection, grant))

        await self._vault.change(context.caller, parameters["KeyId"], "CreateGrant", change)
        return {"GrantToken": grants[0].token, "GrantId": grants[0].id}

    async def list_grants(self, context: Context, parameters: Parameters) -> Answer:
        key = await self._vault.look(context.caller, parameters["KeyId"], "ListGrants")
        access.refuse_pending(key)
        found = await self._vault.db.read(lambda c: store.grants(c, key.id))
        grantee = parameters.get("GranteePrincipal") or parameters.get("GranteeServicePrincipal")
        wanted = [
            grant
            for grant in found
            if parameters.get("GrantId", grant.id) == grant.id and (grantee or grant.grantee) == grant.grantee
        ]
        return _page(wanted, {key.id: key.arn}, parameters)

    async def list_retirable_grants(self, context: Context, parameters: Parameters) -> Answer:
        retiring = parameters.get("RetiringPrincipal") or parameters.get("RetiringServicePrincipal")
        caller = context.caller

        def work(connection: Connection) -> tuple[list[Grant], dict[str, str]]:
            found = [grant for grant in store.grants(connection) if grant.retiring == retiring]
            keys = {grant.key_id: store.find_key(connection, grant.key_id) for grant in found}
            arns = {name: key.arn for name, key in keys.items() if key is not None and key.region == caller.region}
            return [grant for grant in found if grant.key_id in arns], arns

        return _page(*await self._vault.db.read(work), parameters)

    async def revoke_grant(self, context: Context, parameters: Parameters) -> Answer:
        def change(connection: Connection, key: Key) -> None:
            access.refuse_pending(key)
            grant = _demand(store.grants(connection, key.id), parameters["GrantId"])
            store.remove_grant(connection, grant)

        await self._vault.change(context.caller, parameters["KeyId"], "RevokeGrant", change)
        return {}

    async def retire_grant(self, context: Context, parameters: Parameters) -> Answer:
        """By its token, or by its id and key; only the grantee's or the retiring principal's account, or the key's."""
        caller, now = context.caller, self._vault.clock.time()

        def work(connection: Connection) -> None:
            if token := parameters.get("GrantToken"):
                grant = next((one for one in store.grants(connection) if one.token == token), None)
                if grant is None:
                    raise AwsError("InvalidGrantTokenException", None)
                key = store.find_key(connection, grant.key_id)
            elif "KeyId" in parameters and "GrantId" in parameters:
                key = access.find(connection, caller, parameters["KeyId"], now, aliases=False)
                grant = _demand(store.grants(connection, key.id), parameters["GrantId"])
            else:
                raise invalid("Must provide either grant token, or key ID and grant ID.")
            owners = {access.account_of(who) for who in (grant.retiring, grant.grantee) if who}
            if key is None or caller.account not in {key.account, *owners}:
                raise AwsError("AccessDeniedException", None, status=400)
            if caller.proven:
                named = [who for who in (grant.retiring, grant.grantee) if who]
                self._vault.authorize_retiring(connection, key, caller, named)
            store.remove_grant(connection, grant)

        await self._vault.db.write(work)
        return {}


def _is_same(one: Grant, other: Grant) -> bool:
    return other.name is not None and _content(one) == _content(other)


def _content(grant: Grant) -> tuple[Any, ...]:
    return grant.name, grant.grantee, grant.retiring, sorted(grant.operations), grant.constraints


def _demand(grants: list[Grant], identity: str) -> Grant:
    grant = next((one for one in grants if one.id == identity), None)
    if grant is None:
        raise AwsError("NotFoundException", f"Grant ID {identity} not found")
    return grant


def _page(grants: list[Grant], arns: Mapping[str, str], parameters: Parameters) -> Answer:
    most, after = parameters.get("Limit", 50), parameters.get("Marker", "")
    left = [grant for grant in grants if grant.id > after]
    return page([_describe(grant, arns) for grant in left], "Grants", [grant.id for grant in left], most)


def _describe(grant: Grant, arns: Mapping[str, str]) -> dict[str, Any]:
    shown = {
        "KeyId": arns[grant.key_id],
        "GrantId": grant.id,
        "Name": grant.name or "",
        "CreationDate": datetime.fromtimestamp(grant.created, UTC),
        "GranteePrincipal": grant.grantee,
        "IssuingAccount": grant.issuer,
        "Operations": list(grant.operations),
        "RetiringPrincipal": grant.retiring,
        "Constraints": grant.constraints,
    }
    return {name: value for name, value in shown.items() if value is not None}
