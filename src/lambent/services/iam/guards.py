"""What an identity says of itself to the gate: its whole ARN, which requests know only by name, and its tags."""

from __future__ import annotations

import re

from lambent.base.db import Connection
from lambent.services.iam import store
from lambent.services.iam.records import Kind
from lambent.wire.gate import Access, Guarded

TABLES = ("iam_identities", "iam_policies")
_ARN = re.compile(
    r"arn:aws[a-z-]*:iam::(?P<account>\d{12}):(?P<kind>role|user|group|policy)(?P<path>/|/[!-~]*/)(?P<name>[\w+=,.@-]+)",
    re.ASCII,
)


def find(connection: Connection, access: Access) -> Guarded | None:
    match = _ARN.fullmatch(access.resource)
    if match is None:
        return None
    if match["kind"] == "policy":
        policy = store.find_policy(connection, access.resource)
        return Guarded(tags=policy.tags) if policy is not None else None
    identity = store.find_identity(connection, match["account"], Kind(match["kind"]), match["name"])
    if identity is None or access.action.startswith("iam:Create"):
        return None
    if access.action == "iam:PassRole" and identity.arn != access.resource:
        return None  # the role that is named is not there
    return Guarded(tags=identity.tags, arn=identity.arn)
