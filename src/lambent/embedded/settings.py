"""What the server tells this process at its start."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TextIO


@dataclass(frozen=True)
class Settings:
    endpoint: str  # the server's own, where native services answer
    native: tuple[str, ...] = ()  # services that are Lambent's own, by botocore's names
    keys: dict[str, str] = field(default_factory=dict)  # access key of this process: "id", "secret", "token"


def read(stream: TextIO) -> Settings:
    """From one line of JSON."""
    values = json.loads(stream.readline())
    return Settings(values["endpoint"], tuple(values.get("native", ())), dict(values.get("keys", {})))
