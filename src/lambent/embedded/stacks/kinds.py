"""Every kind of resource that is made by calls of the server's API; the others are moto's."""

from __future__ import annotations

from lambent.embedded.stacks import functions, identities, stores
from lambent.embedded.stacks.resource import Resource

KINDS: dict[str, type[Resource]] = {kind.TYPE: kind for kind in (*functions.KINDS, *identities.KINDS, *stores.KINDS)}

IGNORED = frozenset({"AWS::CDK::Metadata"})  # says nothing but who wrote the template
