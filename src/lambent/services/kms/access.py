"""Which key a request means, and whether its caller may do that with it.

With `auth = off` nobody proves who they are, so callers of the key's own account stand for its administrators: a key
policy stops them only where it denies. Other accounts need a statement or a grant that lets them, and the keys that AWS
manages are only for the service they belong to, which the policy of such a key says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lambent.base.db import Connection
from lambent.services.iam import documents, evaluator
from lambent.services.iam.documents import Kind
from lambent.services.iam.evaluator import Effect, Policies, Question
from lambent.services.iam.principals import Principal
from lambent.services.kms import store
from lambent.services.kms.records import AWS, DISABLED, PENDING_DELETION, Grant, Key, arn
from lambent.wire.errors import AwsError
from lambent.wire.gate import Access, Guarded
from lambent.wire.operations import Caller

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ARN = re.compile(r"arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):(?P<resource>.+)")

Encryption = Mapping[str, str]


def root_of(caller: Caller) -> str:
    return f"arn:{caller.partition}:iam::{caller.account}:root"


def find(connection: Connection, caller: Caller, identifier: str, now: float, *, aliases: bool = True) -> Key:
    """The key that an id, an ARN or (where `aliases` may stand for keys) an alias names. NotFoundException."""
    account, region, resource = caller.account, caller.region, identifier
    if match := _ARN.fullmatch(identifier):
        account, region, resource = match["account"], match["region"], match["resource"]
        if region != caller.region:
            raise AwsError("NotFoundException", f"Invalid arn {region}")
    elif not identifier.startswith("alias/"):
        resource = f"key/{identifier}"
    if aliases and resource.startswith("alias/"):
        alias = store.find_alias(connection, account, region, resource)
        if alias is None:
            raise AwsError("NotFoundException", f"Alias {arn(account, region, resource)} is not found.")
        resource = f"key/{alias.target}"
    kind, _, key_id = resource.partition("/")
    if kind != "key" or not _UUID.fullmatch(key_id):
        raise AwsError("NotFoundException", f"Invalid keyId '{identifier}'")
    key = store.find_key(connection, key_id)
    if key is None or (key.account, key.region) != (account, region) or is_gone(key, now):
        raise AwsError("NotFoundException", f"Key '{arn(account, region, f'key/{key_id}')}' does not exist")
    return key


def by_arn(connection: Connection, identifier: str, now: float) -> Key | None:
    """The key behind the ARN of a key or an alias."""
    match = _ARN.fullmatch(identifier)
    if match is None:
        return None
    try:
        return find(connection, Caller(match["account"], match["region"]), identifier, now)
    except AwsError:
        return None


def is_gone(key: Key, now: float) -> bool:
    return key.deletion is not None and key.deletion <= now


def refuse_unusable(key: Key) -> None:
    """Raises DisabledException or KMSInvalidStateException unless the key can be used now."""
    refuse_pending(key)
    if key.state == DISABLED:
        raise AwsError("DisabledException", f"{key.arn} is disabled.")


def refuse_pending(key: Key) -> None:
    if key.state == PENDING_DELETION:
        raise AwsError("KMSInvalidStateException", f"{key.arn} is pending deletion.")


def refuse_managed(key: Key, caller: Caller, operation: str) -> None:
    """Nobody changes the keys that AWS manages."""
    if key.manager == AWS:
        raise denied(caller, operation, key)


def authorize(
    key: Key, caller: Caller, operation: str, grants: Sequence[Grant], encryption: Encryption | None = None
) -> None:
    """Raises AccessDeniedException unless the caller may do `operation` ("Decrypt") with the key."""
    own = caller.account == key.account
    principal = Principal(caller.account, root_of(caller))
    question = Question(principal, f"kms:{operation}", key.arn, key.account, _context(caller, encryption or {}))
    policy = documents.parse(key.policy, Kind.RESOURCE, "the key policy")
    effect = evaluator.evaluate(question, Policies(resource=policy, resource_decides=True)).effect
    if effect is Effect.ALLOWED or (effect is Effect.IMPLICIT_DENY and own and key.manager != AWS):
        return
    if effect is Effect.IMPLICIT_DENY and any(_lets(grant, caller, operation, encryption or {}) for grant in grants):
        return
    raise denied(caller, operation, key, explicit=effect is Effect.EXPLICIT_DENY)


def accesses(key: Key, caller: Caller, operation: str, encryption: Encryption) -> Access:
    """What the gate is asked about `operation` with the key."""
    return Access(f"kms:{operation}", key.arn, _context(caller, encryption))


def guarded(key: Key, operation: str, grants: Sequence[Grant], encryption: Encryption) -> Guarded:
    """What the key says of who may do `operation`: its policy alone can open it, or a grant."""
    grantees = tuple(grant.grantee for grant in grants if _covers(grant, operation, encryption))
    return Guarded(key.policy, dict(key.tags), account=key.account, decides=True, grantees=grantees)


def _context(caller: Caller, encryption: Encryption) -> dict[str, tuple[str, ...]]:
    values: dict[str, tuple[str, ...]] = {"kms:calleraccount": (caller.account,)}
    if caller.via:
        service = caller.via.removesuffix(".amazonaws.com")
        values["kms:viaservice"] = (f"{service}.{caller.region}.amazonaws.com",)
    if encryption:
        values["kms:encryptioncontextkeys"] = tuple(encryption)
        values |= {f"kms:encryptioncontext:{name.lower()}": (value,) for name, value in encryption.items()}
    return values


def _lets(grant: Grant, caller: Caller, operation: str, encryption: Encryption) -> bool:
    return account_of(grant.grantee) == caller.account and _covers(grant, operation, encryption)


def _covers(grant: Grant, operation: str, encryption: Encryption) -> bool:
    if operation not in grant.operations:
        return False
    constraints = grant.constraints or {}
    exact, least = constraints.get("EncryptionContextEquals"), constraints.get("EncryptionContextSubset")
    if exact is not None and dict(exact) != dict(encryption):
        return False
    return least is None or least.items() <= encryption.items()


def account_of(principal: str) -> str:
    parts = principal.split(":")
    return parts[4] if len(parts) > 5 else principal


def denied(caller: Caller, operation: str, key: Key, *, explicit: bool = False) -> AwsError:
    why = f"because no resource-based policy allows the kms:{operation} action"
    if explicit:
        why = "with an explicit deny in a resource-based policy"
    problem = f"User: {root_of(caller)} is not authorized to perform: kms:{operation} on resource: {key.arn}"
    return AwsError("AccessDeniedException", f"{problem} {why}", status=400)
