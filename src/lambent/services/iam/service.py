"""IAM as a whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lambent.base.clock import Clock
from lambent.base.db import Database
from lambent.services.iam import guards
from lambent.services.iam.access_keys import AccessKeys
from lambent.services.iam.directory import Directory
from lambent.services.iam.gate import IamGate
from lambent.services.iam.groups import Groups
from lambent.services.iam.holdings import Holdings
from lambent.services.iam.policies import ManagedPolicies
from lambent.services.iam.principal_simulation import PrincipalSimulator
from lambent.services.iam.roles import Roles
from lambent.services.iam.simulation import PolicySimulator
from lambent.services.iam.trust import Trust
from lambent.services.iam.users import Users
from lambent.wire.gate import Gate
from lambent.wire.operations import Operations
from lambent.wire.sigv4 import Accounts


class Iam:
    """Identities and policies of all accounts. What they decide about is `gate`'s business."""

    def __init__(
        self, db: Database, clock: Clock, accounts: Accounts, root_key: bytes, gate: Gate | None = None
    ) -> None:
        """`accounts` learns whose the access keys are; their secrets lie sealed under `root_key`."""
        self.directory = Directory(db, clock)
        self.trust = Trust(self.directory)
        if gate is not None:
            gate.guard("iam", guards.find, guards.TABLES)
        self._accounts = accounts
        self._keys = AccessKeys(self.directory, accounts, root_key)
        if isinstance(gate, IamGate):
            self._keys.on_recall = gate.forget

    @property
    def recall(self) -> Callable[[str, str], Awaitable[bool]]:
        """Whether a key that is not known has been made by another process."""
        return self._keys.recall

    async def start(self) -> None:
        """After `migrate`."""
        await self._keys.start()

    async def stop(self) -> None:
        await self._keys.stop()

    def register(self, operations: Operations) -> None:
        for part in (Roles, Groups, ManagedPolicies, Holdings, PrincipalSimulator):
            part(self.directory).register(operations)
        PolicySimulator().register(operations)
        Users(self.directory, self._accounts, self._keys).register(operations)
        self._keys.register(operations)
