"""Which tags may be moved to another image."""

from __future__ import annotations

import fnmatch

from lambent.services.ecr.records import (
    IMMUTABLE,
    IMMUTABLE_WITH_EXCLUSION,
    MUTABLE_WITH_EXCLUSION,
    Repository,
)


def may_move(repository: Repository, tag: str) -> bool:
    """Whether `tag`, which some image has, may go to another one."""
    if repository.mutability == IMMUTABLE:
        return False
    excluded = any(fnmatch.fnmatchcase(tag, pattern) for pattern in repository.exclusions)
    if repository.mutability == IMMUTABLE_WITH_EXCLUSION:
        return excluded
    return not (repository.mutability == MUTABLE_WITH_EXCLUSION and excluded)
