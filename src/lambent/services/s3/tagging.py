"""Tags of buckets and objects: what they may be, and the operations on them."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from lambent.wire.errors import AwsError

_MOST, _MOST_OF_BUCKETS = 10, 50


def of_header(text: str | None) -> dict[str, str]:
    """The tags in `x-amz-tagging`: a query string. InvalidArgument, InvalidTag, BadRequest."""
    if not text:
        return {}
    try:
        pairs = urllib.parse.parse_qsl(text, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        message = (
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name"
            " duplicates."
        )
        raise AwsError(
            "InvalidArgument", message, status=400, ArgumentName="x-amz-tagging", ArgumentValue=text
        ) from None
    return checked([{"Key": key, "Value": value} for key, value in pairs])


def checked(tags: Sequence[Mapping[str, str]], most: int = _MOST) -> dict[str, str]:
    """A TagSet as a mapping. BadRequest for too many, InvalidTag for what cannot be one."""
    if len(tags) > most:
        message = f"{'Object' if most == _MOST else 'Bucket'} tags cannot be greater than {most}"
        raise AwsError("BadRequest", message, status=400)
    found: dict[str, str] = {}
    for tag in tags:
        key, value = tag.get("Key", ""), tag.get("Value", "")
        if not 1 <= len(key) <= 128:
            raise _invalid("The TagKey you have provided is invalid", key)
        if len(value) > 256:
            raise _invalid("The TagValue you have provided is invalid", key)
        if key.lower().startswith("aws:"):
            raise _invalid("Your TagKey cannot be prefixed with aws:", key)
        if key in found:
            raise _invalid("Cannot provide multiple Tags with the same key", key)
        found[key] = value
    return found


def checked_set(tags: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """A bucket's TagSet, as it was given."""
    return shown(checked(tags, _MOST_OF_BUCKETS))


def shown(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _invalid(message: str, key: str) -> AwsError:
    return AwsError("InvalidTag", message, status=400, TagKey=key)
