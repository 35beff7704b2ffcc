"""The policies that an identity holds, read and ready for the evaluator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lambent.base.db import Connection
from lambent.services.iam import documents, store
from lambent.services.iam.directory import managed
from lambent.services.iam.documents import Policy
from lambent.services.iam.records import Identity, Kind, ManagedPolicy


@dataclass(frozen=True, slots=True)
class Held:
    policies: list[Policy]
    boundary: Policy | None = None


def held_by(connection: Connection, identity: Identity) -> Held:
    """Inline, attached and, of a user, those of their groups; named as the policy simulator names them."""
    found = [*_of(connection, identity)]
    for name in identity.groups:
        if group := store.find_identity(connection, identity.account, Kind.GROUP, name):
            found += _of(connection, group)
    boundary = managed(connection, identity.account, identity.boundary) if identity.boundary else None
    return Held(found, _parsed(boundary) if boundary is not None else None)


def _of(connection: Connection, identity: Identity) -> Iterator[Policy]:
    for name, text in identity.inline.items():
        yield documents.parse(text, documents.Kind.IDENTITY, f"{identity.kind}_{identity.name}_{name}")
    for arn in identity.attached:
        if (policy := managed(connection, identity.account, arn)) is not None:
            yield _parsed(policy)


def _parsed(policy: ManagedPolicy) -> Policy:
    return documents.parse(policy.text, documents.Kind.IDENTITY, policy.name)
