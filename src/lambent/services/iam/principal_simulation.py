"""SimulatePrincipalPolicy and GetContextKeysForPrincipalPolicy: the evaluator, asked about what somebody holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lambent.base.db import Connection
from lambent.services.iam import errors
from lambent.services.iam.directory import Directory, demand
from lambent.services.iam.held import Held, held_by
from lambent.services.iam.principals import Principal
from lambent.services.iam.records import Identity, Kind
from lambent.services.iam.simulation import answer, caller_of, context_keys, inputs, policies_of
from lambent.wire.errors import not_built
from lambent.wire.operations import Context, Operations, Parameters

_SOURCE = re.compile(
    r"arn:aws[a-z-]*:iam::[0-9]{12}:(?P<kind>user|group|role)/(?:[!-~]*/)?(?P<name>[\w+=,.@-]+)", re.ASCII
)


class PrincipalSimulator:
    """Answers from the policies that are stored."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def register(self, operations: Operations) -> None:
        operations.register("iam", "SimulatePrincipalPolicy", self.simulate_principal_policy)
        operations.register("iam", "GetContextKeysForPrincipalPolicy", self.get_context_keys_for_principal_policy)

    async def simulate_principal_policy(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        if parameters.get("PolicyExclusionList"):
            raise not_built("policies that are left out of a simulation (PolicyExclusionList)")
        source, held = await self._source(context, parameters["PolicySourceArn"])
        named = parameters.get("CallerArn")
        caller = caller_of(named, source.account) if named is not None else _as_caller(source)
        return answer(caller, policies_of(parameters, parameters.get("PolicyInputList", ()), held), parameters)

    async def get_context_keys_for_principal_policy(
        self, context: Context, parameters: Parameters
    ) -> Mapping[str, Any]:
        _source, held = await self._source(context, parameters["PolicySourceArn"])
        return context_keys([*held.policies, *inputs(parameters.get("PolicyInputList", ()), "PolicyInputList")])

    async def _source(self, context: Context, arn: str) -> tuple[Identity, Held]:
        match = _SOURCE.fullmatch(arn)
        if match is None:
            raise errors.invalid_input(f"Invalid Entity Arn: {arn} does not clearly define entity type and name.")
        kind, name = Kind(match["kind"]), match["name"]

        def work(connection: Connection) -> tuple[Identity, Held]:
            identity = demand(connection, context.caller.account, kind, name)
            if identity.arn != arn:
                raise errors.no_identity(kind, name)
            return identity, held_by(connection, identity)

        return await self._directory.db.read(work)


def _as_caller(source: Identity) -> Principal:
    """How an identity asks: a user as themselves, a role through a session, a group through some member."""
    if source.kind is Kind.ROLE:
        session = f"arn:aws:sts::{source.account}:assumed-role/{source.name}/simulated"
        return Principal(source.account, session, source.arn)
    return caller_of(source.arn if source.kind is Kind.USER else None, source.account)
