"""IAM as a whole."""

from __future__ import annotations

from lambent.base.clock import Clock
from lambent.base.db import Database
from lambent.services.iam.directory import Directory
from lambent.services.iam.holdings import Holdings
from lambent.services.iam.policies import ManagedPolicies
from lambent.services.iam.roles import Roles
from lambent.services.iam.simulation import PolicySimulator
from lambent.wire.operations import Operations


class Iam:
    """Identities and policies of all accounts. It decides about nothing yet: no signature is checked."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self.directory = Directory(db, clock)

    def register(self, operations: Operations) -> None:
        for part in (Roles, ManagedPolicies, Holdings):
            part(self.directory).register(operations)
        PolicySimulator().register(operations)
