"""The directory: transactions on identities, with IAM's errors for what is not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database
from lambent.services.iam import catalogue, errors, store
from lambent.services.iam.records import Identity, Kind, ManagedPolicy
from lambent.wire.errors import not_built

T = TypeVar("T")


class Directory:
    """What the parts of IAM share."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self.db = db
        self.clock = clock

    async def identity(self, account: str, kind: Kind, name: str) -> Identity:
        return await self.db.read(lambda connection: demand(connection, account, kind, name))

    async def identities(self, account: str, kind: Kind) -> list[Identity]:
        return await self.db.read(lambda connection: store.identities(connection, account, kind))

    async def create(self, identity: Identity) -> None:
        """Raises EntityAlreadyExists."""

        def work(connection: Connection) -> None:
            if identity.boundary is not None:
                attachable(connection, identity.account, identity.boundary)
            if not store.add_identity(connection, identity):
                raise errors.exists(f"{identity.kind.capitalize()} with name {identity.name} already exists.")

        await self.db.write(work)

    async def change(
        self, account: str, kind: Kind, name: str, change: Callable[[Connection, Identity], Identity]
    ) -> Identity:
        """Replace an identity; `change` runs in another thread, and what it raises comes out here."""

        def work(connection: Connection) -> Identity:
            changed = change(connection, demand(connection, account, kind, name))
            store.put_identity(connection, changed)
            return changed

        return await self.db.write(work)


def demand(connection: Connection, account: str, kind: Kind, name: str) -> Identity:
    identity = store.find_identity(connection, account, kind, name)
    if identity is None:
        raise errors.no_identity(kind, name)
    return identity


def managed(connection: Connection, account: str, arn: str) -> ManagedPolicy | None:
    """A policy that `account` can use: its own or AWS's."""
    if found := catalogue.find(arn):
        return found
    policy = store.find_policy(connection, arn)
    return policy if policy is not None and policy.account == account else None


def attachable(connection: Connection, account: str, arn: str) -> ManagedPolicy:
    policy = managed(connection, account, arn)
    if policy is None:
        if arn.startswith("arn:aws:iam::aws:policy/"):
            raise not_built(f"the AWS managed policy {arn}")
        raise errors.not_attachable(arn)
    return policy
