"""Deployment packages: what people upload, stored and unpacked."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from lambent.base.archives import ArchiveEmpty, ArchiveError, ArchiveTooLarge, Limits
from lambent.base.blobs import Blobs
from lambent.base.trees import Trees
from lambent.control.orphans import Orphans
from lambent.wire.errors import AwsError, not_built

_log = logging.getLogger("lambent.code")

ZIPPED = 52_428_800  # bytes of a zip in a request; must stay below
UNZIPPED = 262_144_000  # bytes it unpacks to; must stay below
_IN_STORAGE = ("S3Bucket", "S3Key", "S3ObjectVersion", "S3ObjectStorageMode")


@dataclass(frozen=True, slots=True)
class Package:
    digest: str  # hexadecimal sha256 of the zip
    size: int  # bytes of the zip


_SMALL = 65_536  # bytes that are hashed in less time than another thread needs to take over


class Code:
    """The code of functions: each zip a durable blob, and unpacked as a tree."""

    def __init__(self, blobs: Blobs, trees: Trees, orphans: Orphans) -> None:
        self._blobs = blobs
        self._trees = trees
        self._orphans = orphans

    @contextlib.asynccontextmanager
    async def stored(self, archive: bytes) -> AsyncIterator[Package]:
        """Store and unpack a zip. It stays if a function refers to it when the context closes.

        Raises RequestEntityTooLargeException and InvalidParameterValueException; why exactly goes to the log.
        """
        if len(archive) >= ZIPPED:
            message = f"Zipped size must be smaller than {ZIPPED} bytes"
            raise AwsError("RequestEntityTooLargeException", message, status=413)
        if not archive:
            raise _explain(ArchiveEmpty("it has no bytes"))
        digest = await _digest(archive)
        with self._orphans.pin(digest):
            storing = (self._blobs.put(archive), self._trees.unpack(digest, archive, Limits(UNZIPPED)))
            for result in await asyncio.gather(*storing, return_exceptions=True):
                if isinstance(result, ArchiveError):
                    _log.info("a zip was refused: %s", result)
                    raise _explain(result)
                if isinstance(result, BaseException):
                    raise result
            yield Package(digest, len(archive))


def zip_of(source: Mapping[str, Any], doing: str, what: str = "function") -> bytes:
    """The zip in FunctionCode, in the members of UpdateFunctionCode, or in the Content of a layer.

    `doing` is "creating", "updating" or "publishing", `what` the thing that it is done to.

    Raises InvalidParameterValueException when it is not exactly one zip.
    """
    if "ImageUri" in source:
        problem = f"Please don't provide ImageUri when {doing} a function with packageType Zip."
        raise AwsError("InvalidParameterValueException", problem, Type="User")
    in_storage = any(source.get(member) for member in _IN_STORAGE)
    archive: bytes | None = source.get("ZipFile")
    if archive is not None and in_storage:
        problem = "Please do not provide other FunctionCode parameters when providing a ZipFile."
        raise AwsError("InvalidParameterValueException", problem, Type="User")
    if source.get("SourceKMSKeyArn"):
        raise not_built("encrypted code (SourceKMSKeyArn)")
    if archive is not None:
        return archive
    if in_storage:
        raise not_built("code packages in S3 (S3Bucket, S3Key)")
    raise AwsError("InvalidParameterValueException", f"Please provide a source for {what} code.", Type="User")


def image_uri_of(source: Mapping[str, Any], doing: str) -> str:
    """The ImageUri in FunctionCode or in the members of UpdateFunctionCode.

    Raises InvalidParameterValueException when it is not exactly that.
    """
    for member in ("ZipFile", *_IN_STORAGE):
        if source.get(member):
            problem = f"Please don't provide {member} when {doing} a function with packageType Image."
            raise AwsError("InvalidParameterValueException", problem, Type="User")
    uri: str | None = source.get("ImageUri")
    if not uri:
        problem = f"Please provide ImageUri when {doing} a function with packageType Image."
        raise AwsError("InvalidParameterValueException", problem, Type="User")
    return uri


def _explain(error: ArchiveError) -> AwsError:
    if isinstance(error, ArchiveEmpty):
        message = "Uploaded file must be a non-empty zip"
    elif isinstance(error, ArchiveTooLarge):
        message = f"Unzipped size must be smaller than {UNZIPPED} bytes"
    else:
        message = "Could not unzip uploaded file. Please check your file, then try to upload again."
    return AwsError("InvalidParameterValueException", message, Type="User")


async def _digest(archive: bytes) -> str:
    if len(archive) <= _SMALL:
        return hashlib.sha256(archive).hexdigest()
    return await asyncio.to_thread(lambda: hashlib.sha256(archive).hexdigest())
