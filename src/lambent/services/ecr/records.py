"""What the registry remembers. Frozen: a change is `replace` and one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from lambent.services.ecr.names import RepositoryName

MUTABLE, IMMUTABLE = "MUTABLE", "IMMUTABLE"
MUTABLE_WITH_EXCLUSION, IMMUTABLE_WITH_EXCLUSION = "MUTABLE_WITH_EXCLUSION", "IMMUTABLE_WITH_EXCLUSION"


@dataclass(frozen=True, slots=True)
class Repository:
    name: RepositoryName
    created: float  # seconds since the epoch
    mutability: str = MUTABLE
    exclusions: Sequence[str] = ()  # wildcard patterns of tags for which the opposite holds
    scan_on_push: bool = False
    encryption: Mapping[str, str] = field(default_factory=lambda: {"encryptionType": "AES256"})
    policy: str | None = None  # JSON text as it was given
    lifecycle: str | None = None
    lifecycle_evaluated: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> str:
        """Everything but the name, for the database."""
        members = asdict(self)
        del members["name"]
        return orjson.dumps(members).decode()

    @classmethod
    def of(cls, name: RepositoryName, document: str) -> Repository:
        return cls(name, **orjson.loads(document))


@dataclass(frozen=True, slots=True)
class Image:
    """One manifest in one repository: an image, an index, or another artifact."""

    digest: str
    media_type: str
    size: int  # bytes; of an index the size of its largest image
    pushed: float  # seconds since the epoch
    tags: tuple[str, ...] = ()  # sorted
    artifact_type: str | None = None
    subject: str | None = None  # digest of the manifest that this one is about
    annotations: Mapping[str, str] | None = None
    pulled: float | None = None

    def document(self) -> str:
        """Everything but digest and tags, for the database."""
        members: dict[str, Any] = asdict(self)
        del members["digest"], members["tags"]
        return orjson.dumps(members).decode()

    @classmethod
    def of(cls, digest: str, document: str, tags: Sequence[str]) -> Image:
        return cls(digest=digest, tags=tuple(sorted(tags)), **orjson.loads(document))


@dataclass(frozen=True, slots=True)
class Layer:
    """A blob that is part of a repository: a layer, a config."""

    blob: str  # its digest among the registry's blobs
    size: int  # bytes
    media_type: str | None  # once an image has told it
