"""What KMS remembers: keys with their material, aliases and grants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ENABLED, DISABLED, PENDING_DELETION = "Enabled", "Disabled", "PendingDeletion"
CUSTOMER, AWS = "CUSTOMER", "AWS"  # who manages a key

DAY = 86_400.0


def arn(account: str, region: str, resource: str) -> str:
    partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    return f"arn:{partition}:kms:{region}:{account}:{resource}"


@dataclass(frozen=True, slots=True)
class Material:
    """One of the secrets that a key has had. The newest encrypts, all decrypt."""

    number: int  # from 1
    id: str  # 64 hexadecimal digits
    wrapped: str  # hexadecimal: 32 bytes under the root key
    created: float  # seconds since the epoch
    reason: str = ""  # of the rotation that made it: "AUTOMATIC", "ON_DEMAND"


@dataclass(frozen=True, slots=True)
class Key:
    """A symmetric key."""

    account: str
    region: str
    id: str  # a UUID
    created: float
    policy: str
    materials: tuple[Material, ...]  # oldest first
    description: str = ""
    state: str = ENABLED
    manager: str = CUSTOMER
    tags: tuple[tuple[str, str], ...] = ()
    deletion: float | None = None  # when a key that is pending deletion goes
    rotation_days: int | None = None  # None: it is not rotated by itself
    rotation_since: float | None = None  # what the days are counted from

    @property
    def arn(self) -> str:
        return arn(self.account, self.region, f"key/{self.id}")

    @property
    def next_rotation(self) -> float | None:
        if self.rotation_days is None or self.rotation_since is None:
            return None
        return self.rotation_since + self.rotation_days * DAY

    def material(self, number: int) -> Material | None:
        return next((material for material in self.materials if material.number == number), None)


@dataclass(frozen=True, slots=True)
class Alias:
    account: str
    region: str
    name: str  # "alias/…"
    target: str  # a key's id
    created: float
    updated: float

    @property
    def arn(self) -> str:
        return arn(self.account, self.region, self.name)


@dataclass(frozen=True, slots=True)
class Grant:
    """Who else may use a key, and for what."""

    key_id: str
    id: str  # 64 hexadecimal digits
    token: str
    created: float
    issuer: str  # the ARN of an account's root
    grantee: str  # a principal's ARN or a service
    operations: tuple[str, ...]
    retiring: str | None = None
    name: str | None = None
    constraints: Mapping[str, Mapping[str, str]] | None = None
