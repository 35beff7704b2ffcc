"""Conditions on requests, and ranges of bytes."""

from __future__ import annotations

import re
from datetime import datetime

from lambent.services.s3 import errors
from lambent.services.s3.attributes import http_date
from lambent.services.s3.records import Version
from lambent.wire.errors import AwsError
from lambent.wire.operations import Parameters

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def check_read(parameters: Parameters, version: Version) -> None:
    """Raises PreconditionFailed (412) and NotModified (304), by RFC 9110's order of precedence."""
    if (wanted := parameters.get("IfMatch")) is not None:
        if not matches(wanted, version.etag):
            raise errors.precondition_failed("If-Match")
    elif (since := parameters.get("IfUnmodifiedSince")) is not None and version.modified >= _after(since):
        raise errors.precondition_failed("If-Unmodified-Since")
    if (unwanted := parameters.get("IfNoneMatch")) is not None:
        if matches(unwanted, version.etag):
            raise _not_modified(version)
    elif (since := parameters.get("IfModifiedSince")) is not None and version.modified < _after(since):
        raise _not_modified(version)


def check_copy(parameters: Parameters, version: Version) -> None:
    """The same for the source of a copy: PreconditionFailed for each."""
    renamed = {name: parameters[f"CopySource{name}"] for name in _CONDITIONS if f"CopySource{name}" in parameters}
    try:
        check_read(renamed, version)
    except AwsError as error:
        if error.code == "NotModified":
            name = "If-None-Match" if "IfNoneMatch" in renamed else "If-Modified-Since"
            raise errors.precondition_failed(f"x-amz-copy-source-{name}") from None
        raise


_CONDITIONS = ("IfMatch", "IfNoneMatch", "IfModifiedSince", "IfUnmodifiedSince")


def check_write(parameters: Parameters, key: str, current: Version | None) -> None:
    """Raises PreconditionFailed; NoSuchKey where something must match that is not there."""
    there = current is not None and not current.marker
    unwanted, wanted = parameters.get("IfNoneMatch"), parameters.get("IfMatch")
    if unwanted is not None:
        if unwanted.strip() != "*":
            message = "A header you provided implies functionality that is not implemented"
            raise AwsError("NotImplemented", message, status=501, Header="If-None-Match")
        if there:
            raise errors.precondition_failed("If-None-Match")
    if wanted is not None:
        if not there or current is None:
            raise errors.no_key(key)
        if not matches(wanted, current.etag):
            raise errors.precondition_failed("If-Match")


def matches(header: str, etag: str) -> bool:
    """Whether an entity tag is among those of a header."""
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")]
    return "*" in tags or etag in tags


def _after(since: datetime) -> float:
    """What was modified within that second was not modified since."""
    return since.timestamp() + 1


def _not_modified(version: Version) -> AwsError:
    headers = [("ETag", f'"{version.etag}"'), ("Last-Modified", http_date(version.modified))]
    return AwsError("NotModified", None, status=304, headers=headers)


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """(first byte, byte after the last) of the range asked for; None for the whole. InvalidRange (416).

    What is no range, or several, is ignored, as on AWS.
    """
    match = _RANGE.fullmatch(header.strip()) if header is not None else None
    if match is None or match[1] == match[2] == "":
        return None
    if not match[1]:
        start, stop = max(0, size - int(match[2])), size
        if int(match[2]) == 0:
            start = size
    else:
        start, stop = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
        if match[2] and int(match[2]) < start:
            return None
    if start >= stop:
        raise AwsError(
            "InvalidRange",
            "The requested range is not satisfiable",
            status=416,
            headers=[("Content-Range", f"bytes */{size}")],
            RangeRequested=header,
            ActualObjectSize=size,
        )
    return start, stop
