"""What a caller comes with: who they are, the policies they hold, and what conditions may ask about them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lambent.base.db import Connection
from lambent.services.iam import documents, principals, store
from lambent.services.iam.directory import managed
from lambent.services.iam.documents import Policy
from lambent.services.iam.held import Held, held_by
from lambent.services.iam.principals import Principal
from lambent.services.iam.records import Identity, Kind
from lambent.wire.gate import Values
from lambent.wire.sigv4 import Issued

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::(?P<account>[0-9]{12}):role/(?:[!-~]*/)?(?P<name>[\w+=,.@-]{1,64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Standing:
    principal: Principal
    held: Held
    session: Sequence[Policy] | None = None
    context: Values = field(default_factory=dict)


def standing_of(connection: Connection, issued: Issued) -> Standing:
    """Of whoever a key was handed out to. An identity that is gone holds nothing."""
    principal = Principal(issued.account, issued.arn, issued.role or None)
    return of_principal(connection, principal, _session(connection, issued))


def of_principal(connection: Connection, principal: Principal, session: Sequence[Policy] | None = None) -> Standing:
    identity = _identity(connection, principal)
    held = held_by(connection, identity) if identity is not None else Held([])
    context = dict(principals.context_of(principal))
    if identity is not None:
        context |= {f"aws:principaltag/{name.lower()}": (value,) for name, value in identity.tags.items()}
        suffix = f":{principal.arn.rsplit('/', 1)[1]}" if identity.kind is Kind.ROLE and principal.arn else ""
        context["aws:userid"] = (identity.id + suffix,)
    elif principal.account is not None:
        context["aws:userid"] = (principal.account,)
    return Standing(principal, held, session, context)


def _identity(connection: Connection, principal: Principal) -> Identity | None:
    if principal.role is not None:
        match = _ROLE.fullmatch(principal.role)
        if match is None:
            return None
        role = store.find_identity(connection, match["account"], Kind.ROLE, match["name"])
        return role if role is not None and role.arn == principal.role else None
    if principal.account is None or principal.arn is None or ":user/" not in principal.arn:
        return None
    user = store.find_identity(connection, principal.account, Kind.USER, principal.arn.rsplit("/", 1)[1])
    return user if user is not None and user.arn == principal.arn else None


def _session(connection: Connection, issued: Issued) -> Sequence[Policy] | None:
    """The policies of a session bound it; one that has gone, or that cannot be read, allows nothing."""
    if not issued.policies:
        return None
    found = []
    for number, given in enumerate(issued.policies, 1):
        text = given
        if given.startswith("arn:"):
            policy = managed(connection, issued.account, given)
            if policy is None:
                continue
            text = policy.text
        name = given if given.startswith("arn:") else f"the session's policy {number}"
        try:
            found.append(documents.parse(text, documents.Kind.IDENTITY, name))
        except documents.MalformedPolicy:
            continue
    return found
