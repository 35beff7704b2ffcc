"""What repositories, images and layers are called."""

from __future__ import annotations

import re
from dataclasses import dataclass

REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_ARN = re.compile(r"arn:[a-z-]+:ecr:([a-z0-9-]+):(\d{12}):repository/(.+)")


@dataclass(frozen=True, slots=True, order=True)
class Registry:
    """One account's registry in one region. AWS calls the account its id."""

    account: str  # 12 digits
    region: str


@dataclass(frozen=True, slots=True, order=True)
class RepositoryName:
    """Names one repository."""

    registry: Registry
    name: str  # "team/app"

    @property
    def arn(self) -> str:
        return f"arn:aws:ecr:{self.registry.region}:{self.registry.account}:repository/{self.name}"

    def __str__(self) -> str:
        return f"the repository with name '{self.name}' in the registry with id '{self.registry.account}'"


def from_arn(arn: str) -> RepositoryName | None:
    match = _ARN.fullmatch(arn)
    return RepositoryName(Registry(match[2], match[1]), match[3]) if match else None


def is_repository(name: str) -> bool:
    """Whether a repository can be called so: 2 to 256 characters, lower case, with separators inside."""
    return 2 <= len(name) <= 256 and REPOSITORY.fullmatch(name) is not None
