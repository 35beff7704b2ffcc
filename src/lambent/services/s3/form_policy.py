"""The policy that a form carries: until when, with which fields and how large a file may be posted."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lambent.wire.errors import AwsError
from lambent.wire.values import parse_timestamp

_FREE = ("policy", "file", "awsaccesskeyid", "signature", "x-amz-signature", "bucket")  # need no condition


@dataclass(frozen=True, slots=True)
class Policy:
    expiration: datetime
    conditions: Sequence[tuple[str, str, str]]  # (operator, field in lower case, value)
    smallest: int = 0  # bytes of the file
    largest: int | None = None

    @classmethod
    def read(cls, text: str) -> Policy:
        """From base64. InvalidPolicyDocument."""
        try:
            document = json.loads(base64.b64decode(text, validate=True))
            expiration = parse_timestamp(document["expiration"])
            listed = document["conditions"]
            conditions, smallest, largest = _conditions(listed)
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
            message = "Invalid Policy: Invalid JSON."
            raise AwsError("InvalidPolicyDocument", message, status=400) from None
        return cls(expiration, conditions, smallest, largest)

    def check(self, fields: Mapping[str, str], now: datetime) -> None:
        """AccessDenied unless the form is what the policy allows."""
        if self.expiration <= now:
            raise _denied("Policy expired.")
        for operator, name, value in self.conditions:
            given = fields.get(name, "")
            if not (given == value if operator == "eq" else given.startswith(value)):
                raise _denied(f'Policy Condition failed: ["{operator}", "${name}", "{value}"]')
        named = {name for _, name, _ in self.conditions}
        for name in fields:
            if name not in named and name not in _FREE and not name.startswith("x-ignore-"):
                raise _denied(f"Extra input fields: {name}")

    def check_size(self, size: int, *, complete: bool) -> None:
        """EntityTooLarge, EntityTooSmall."""
        if self.largest is not None and size > self.largest:
            message = "Your proposed upload exceeds the maximum allowed size"
            raise AwsError("EntityTooLarge", message, status=400, ProposedSize=size, MaxSizeAllowed=self.largest)
        if complete and size < self.smallest:
            message = "Your proposed upload is smaller than the minimum allowed size"
            raise AwsError("EntityTooSmall", message, status=400, ProposedSize=size, MinSizeAllowed=self.smallest)


def _conditions(listed: Sequence[Any]) -> tuple[list[tuple[str, str, str]], int, int | None]:
    found: list[tuple[str, str, str]] = []
    smallest: int = 0
    largest: int | None = None
    for one in listed:
        if isinstance(one, dict):
            found += [("eq", name.lower(), str(value)) for name, value in one.items()]
            continue
        operator, first, second = one
        if operator == "content-length-range":
            smallest, largest = int(first), int(second)
        elif operator in ("eq", "starts-with"):
            found.append((operator, first.removeprefix("$").lower(), second))
        else:
            raise ValueError(operator)
    return found, smallest, largest


def _denied(reason: str) -> AwsError:
    return AwsError("AccessDenied", f"Invalid according to Policy: {reason}", status=403)
