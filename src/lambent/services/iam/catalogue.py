"""The managed policies of AWS that functions and their tools use; `managed.json` holds them as AWS publishes them."""

from __future__ import annotations

import hashlib
import json
from base64 import b32encode
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from lambent.services.iam.records import ManagedPolicy, Version

OWNER = "aws"


@cache
def policies() -> Mapping[str, ManagedPolicy]:
    """By their ARNs, in the order of their names."""
    entries = json.loads(Path(__file__).with_name("managed.json").read_text(encoding="utf-8"))
    found = [_policy(name, entry) for name, entry in entries.items()]
    return {policy.arn: policy for policy in sorted(found, key=lambda policy: policy.name.lower())}


def find(arn: str) -> ManagedPolicy | None:
    return policies().get(arn)


def _policy(name: str, entry: Mapping[str, Any]) -> ManagedPolicy:
    created, updated = (datetime.fromisoformat(entry[key]).timestamp() for key in ("CreateDate", "UpdateDate"))
    number = int(entry["DefaultVersionId"].removeprefix("v"))
    version = Version(number, json.dumps(entry["Document"]), updated)
    unique = "ANPA" + b32encode(hashlib.sha256(name.encode()).digest()).decode()[:17]
    return ManagedPolicy(OWNER, name, entry["Path"], unique, created, updated, (version,), number, number)
