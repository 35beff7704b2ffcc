"""What IAM's answers are made of, and what its requests have in common: paths, tags, pages, sizes."""

from __future__ import annotations

import base64
import binascii
import re
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from lambent.base.clock import Clock
from lambent.services.iam import errors
from lambent.services.iam.records import Identity, Kind
from lambent.wire.operations import Parameters

T = TypeVar("T")
Answer = Mapping[str, Any]

_PAGE = 100  # entries when MaxItems is not given
_TAGS = 50
_PATH = re.compile(r"/|/[!-~]*/")
_SPACE = re.compile(r"\s+")
_ID_LENGTH = 17  # characters behind the prefix


def unique_id(clock: Clock, prefix: str, length: int = _ID_LENGTH) -> str:
    """ "AROA" + 17 characters of base32, as AWS's identifiers are."""
    return prefix + base64.b32encode(bytes.fromhex(clock.token(15))).decode()[:length]


def date(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def quoted(document: str) -> str:
    """IAM answers policies URL-encoded (RFC 3986)."""
    return urllib.parse.quote(document, safe="-_.~")


def path_of(parameters: Parameters, name: str = "Path") -> str:
    path: str = parameters.get(name, "/")
    if not _PATH.fullmatch(path):
        raise errors.validation(
            "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric"
            " characters and/or / characters."
        )
    return path


def size(document: str) -> int:
    """In characters, as quotas count them: without white space."""
    return len(_SPACE.sub("", document))


def tags_of(given: Iterable[Mapping[str, str]]) -> dict[str, str]:
    listed = [(tag["Key"], tag["Value"]) for tag in given]
    if len({key.lower() for key, _value in listed}) != len(listed):
        raise errors.invalid_input("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if any(key.lower().startswith("aws:") for key, _value in listed):
        raise errors.invalid_input("System tags cannot be added/updated by requester. Please remove them and retry.")
    return check_tags(dict(listed))


def check_tags(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > _TAGS:
        raise errors.limit(f"The number of tags has reached the maximum limit: {_TAGS}.")
    return tags


def tag_list(tags: Mapping[str, str]) -> list[Mapping[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def page(
    parameters: Parameters, member: str, entries: Sequence[T], name_of: Callable[[T], str], shape: Callable[[T], Any]
) -> Answer:
    """One page of what is in the order of its names. A marker is a place in the order."""
    after = _place(parameters.get("Marker"))
    rest = [entry for entry in entries if name_of(entry) > after] if after else list(entries)
    most = parameters.get("MaxItems", _PAGE)
    shown = rest[:most]
    answer: dict[str, Any] = {member: [shape(entry) for entry in shown], "IsTruncated": len(rest) > most}
    if answer["IsTruncated"]:
        answer["Marker"] = base64.urlsafe_b64encode(name_of(shown[-1]).encode()).decode()
    return answer


def _place(marker: str | None) -> str:
    if marker is None:
        return ""
    try:
        return base64.b64decode(marker, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise errors.validation("Invalid Marker.") from None


def identity_shape(identity: Identity, *, tags: bool = True) -> dict[str, Any]:
    """`tags`: also the boundary and the tags, which lists leave out."""
    word = identity.kind.capitalize()
    shape: dict[str, Any] = {
        "Path": identity.path,
        f"{word}Name": identity.name,
        f"{word}Id": identity.id,
        "Arn": identity.arn,
        "CreateDate": date(identity.created),
    }
    if identity.kind is Kind.ROLE:
        shape["AssumeRolePolicyDocument"] = quoted(identity.trust or "")
        shape["MaxSessionDuration"] = identity.max_session
        if identity.description is not None:
            shape["Description"] = identity.description
    if tags and identity.boundary is not None:
        shape["PermissionsBoundary"] = {
            "PermissionsBoundaryType": "Policy",  # what AWS answers, though its model says otherwise
            "PermissionsBoundaryArn": identity.boundary,
        }
    if tags and identity.tags:
        shape["Tags"] = tag_list(identity.tags)
    return shape
