"""What IAM stores: identities (roles, users, groups), managed policies, access keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

MAX_SESSION = 3600  # seconds that a role's session may last, when the role does not say otherwise


class Kind(StrEnum):
    """What an identity is, in the words of its ARN."""

    ROLE = "role"
    USER = "user"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Identity:
    """A role, a user or a group: what policies can be attached to."""

    kind: Kind
    account: str  # 12 digits
    name: str
    path: str  # "/", "/service-role/"
    id: str  # "AROA…", "AIDA…", "AGPA…"
    created: float  # seconds since the epoch
    tags: Mapping[str, str] = field(default_factory=dict)
    inline: Mapping[str, str] = field(default_factory=dict)  # a policy's name → its text
    attached: tuple[str, ...] = ()  # ARNs of managed policies, in the order of their attachment
    boundary: str | None = None  # the ARN of the policy that is the permissions boundary
    groups: tuple[str, ...] = ()  # of a user
    trust: str | None = None  # of a role: the text of its trust policy
    description: str | None = None  # of a role
    max_session: int = MAX_SESSION  # of a role

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:{self.kind}{self.path}{self.name}"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a managed policy."""

    number: int
    text: str
    created: float

    @property
    def id(self) -> str:
        return f"v{self.number}"


@dataclass(frozen=True, slots=True)
class ManagedPolicy:
    """A policy with versions. Those of AWS belong to the account "aws"."""

    account: str
    name: str
    path: str
    id: str  # "ANPA…"
    created: float
    updated: float
    versions: tuple[Version, ...]  # oldest first
    default: int = 1
    last: int = 1  # the highest number that was given: no number is given twice
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:policy{self.path}{self.name}"

    @property
    def text(self) -> str:
        """That of the version which counts."""
        return next(version.text for version in self.versions if version.number == self.default)

    def version(self, version_id: str) -> Version | None:
        return next((version for version in self.versions if version.id == version_id), None)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A user's key. The secret lies sealed under the root key."""

    id: str  # "AKIA…"
    account: str
    user: str
    created: float
    sealed: bytes
    active: bool = True

    @property
    def status(self) -> str:
        return "Active" if self.active else "Inactive"
