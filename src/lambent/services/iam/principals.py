"""Who asks, and whether a policy's `Principal` means them.

Source: IAM user guide, "AWS JSON policy elements: Principal" and "NotPrincipal".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

_ACCOUNT = re.compile(r"\d{12}")
_ROOT = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):root")

Named = Mapping[str, tuple[str, ...]]  # "AWS", "Service", "Federated" → who


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity behind a request. Absent parts are None; an anonymous caller has none at all."""

    account: str | None = None  # 12 digits
    arn: str | None = None  # of the user, the root user, or the session: arn:aws:sts::…:assumed-role/ROLE/SESSION
    role: str | None = None  # of a session: arn:aws:iam::…:role/ROLE
    service: str | None = None  # "events.amazonaws.com"
    provider: str | None = None  # of a federated identity: "cognito-identity.amazonaws.com"

    @property
    def is_root(self) -> bool:
        return self.arn is not None and _ROOT.fullmatch(self.arn) is not None

    def __str__(self) -> str:
        return self.arn or self.service or self.provider or self.account or "an anonymous caller"


ANONYMOUS = Principal()


class Grade(IntEnum):
    """How closely a `Principal` element names somebody. What it grants depends on it (see `evaluator`)."""

    NOBODY = 0
    ACCOUNT = 1  # their account: what is allowed there is for the account's own policies to hand out
    EVERYBODY = 2  # "*"
    ROLE = 3  # the role that their session is of
    ITSELF = 4  # the very user, session or service


def grade(named: Named, principal: Principal) -> Grade:
    """The closest way in which a `Principal` element names `principal`."""
    found = [_aws(name, principal) for name in named.get("AWS", ())]
    found += [Grade.ITSELF for name in named.get("Service", ()) if principal.service and name == principal.service]
    found += [Grade.ITSELF for name in named.get("Federated", ()) if principal.provider and name == principal.provider]
    if "*" in named.get("Service", ()) and principal.service:
        found.append(Grade.EVERYBODY)
    return max(found, default=Grade.NOBODY)


def _aws(name: str, principal: Principal) -> Grade:
    if name == "*":
        return Grade.EVERYBODY
    if account := _account(name):
        if account != principal.account or principal.service:
            return Grade.NOBODY
        return Grade.ITSELF if principal.is_root else Grade.ACCOUNT
    if name == principal.arn:
        return Grade.ITSELF
    return Grade.ROLE if principal.role is not None and name == principal.role else Grade.NOBODY


def _account(name: str) -> str | None:
    if _ACCOUNT.fullmatch(name):
        return name
    match = _ROOT.fullmatch(name)
    return match[1] if match else None


def excepted(named: Named, principal: Principal) -> bool:
    """Whether a `NotPrincipal` element leaves `principal` out.

    Everything that they are must be listed: the account with the user, and the role too with a session. Who lists
    the user alone has still named the account, as AWS warns.
    """
    if principal.service or principal.provider:
        return grade(named, principal) is Grade.ITSELF
    listed = named.get("AWS", ())
    if "*" in listed:
        return True
    account = any(_account(name) == principal.account for name in listed)
    if principal.is_root:
        return account
    identities = [identity for identity in (principal.arn, principal.role) if identity]
    return bool(identities) and account and all(identity in listed for identity in identities)


_IDENTITY = re.compile(
    r"arn:aws[a-z-]*:(?P<service>iam|sts)::(?P<account>\d{12}):"
    r"(?P<kind>root|user|assumed-role|federated-user)(?:/(?P<rest>\S+))?"
)


def from_arn(arn: str) -> Principal | None:
    """The identity that an ARN names: root, a user, a session of a role, a federated user; None for any other."""
    match = _IDENTITY.fullmatch(arn)
    if match is None or (match["kind"] == "root") is not (match["rest"] is None):
        return None
    if (match["service"] == "sts") is not (match["kind"] in ("assumed-role", "federated-user")):
        return None
    role = None
    if match["kind"] == "assumed-role":
        name, slash, session = match["rest"].rpartition("/")
        if not slash or not session:
            return None
        role = f"arn:{arn.split(':')[1]}:iam::{match['account']}:role/{name}"
    return Principal(match["account"], arn, role)


def context_of(principal: Principal) -> dict[str, tuple[str, ...]]:
    """The condition keys that follow from who asks: lower-case key → value."""
    found: dict[str, tuple[str, ...]] = {}
    if principal.account is not None:
        found["aws:principalaccount"] = (principal.account,)
    if principal.service is not None:
        found["aws:principalservicename"] = (principal.service,)
        found["aws:principalisawsservice"] = ("true",)
    if principal.arn is not None:
        found["aws:principalarn"] = (principal.role or principal.arn,)
        found["aws:principalisawsservice"] = ("false",)
        found["aws:principaltype"] = (_type(principal),)
        if ":user/" in principal.arn:
            found["aws:username"] = (principal.arn.rsplit("/", 1)[1],)
    return found


def _type(principal: Principal) -> str:
    if principal.is_root:
        return "Account"
    if principal.role is not None:
        return "AssumedRole"
    return "FederatedUser" if principal.arn and ":federated-user/" in principal.arn else "User"
