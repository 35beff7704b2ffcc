"""Deployment packages: what people upload, stored and unpacked."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lambent.base.archives import ArchiveEmpty, ArchiveError, ArchiveTooLarge, Limits
from lambent.base.blobs import Blobs
from lambent.base.trees import Trees
from lambent.control.orphans import Orphans
from lambent.wire.errors import AwsError, not_built
from lambent.wire.operations import Caller, Client
from lambent.wire.streams import opened

_log = logging.getLogger("lambent.code")

ZIPPED = 52_428_800  # bytes of a zip in a request; must stay below
UNZIPPED = 262_144_000  # bytes it unpacks to; must stay below
_IN_STORAGE = ("S3Bucket", "S3Key", "S3ObjectVersion", "S3ObjectStorageMode")


@dataclass(frozen=True, slots=True)
class Package:
    digest: str  # hexadecimal sha256 of the zip
    size: int  # bytes of the zip


@dataclass(frozen=True, slots=True)
class InStorage:
    """A zip that lies in S3."""

    bucket: str
    key: str
    version: str | None

    @property
    def parameters(self) -> Mapping[str, str]:
        """Of GetObject."""
        version = {} if self.version is None else {"VersionId": self.version}
        return {"Bucket": self.bucket, "Key": self.key, **version}


Source = bytes | InStorage
Accept = Callable[[int], None]
"""Called with the bytes of a package before it is stored; may refuse it."""

_SMALL = 65_536  # bytes that are hashed in less time than another thread needs to take over


class Code:
    """The code of functions: each zip a durable blob, and unpacked as a tree."""

    def __init__(self, blobs: Blobs, trees: Trees, orphans: Orphans, client: Client) -> None:
        """`client` asks S3 for what lies there."""
        self._blobs = blobs
        self._trees = trees
        self._orphans = orphans
        self._client = client

    @contextlib.asynccontextmanager
    async def stored(self, source: Source, caller: Caller, accept: Accept | None = None) -> AsyncIterator[Package]:
        """Store and unpack a zip. It stays if a function refers to it when the context closes.

        What lies in S3 is read as `caller`. Raises RequestEntityTooLargeException, InvalidParameterValueException and
        AccessDeniedException; why exactly a zip is refused goes to the log.
        """
        storing = (
            self._fetched(source, caller, accept) if isinstance(source, InStorage) else self._given(source, accept)
        )
        async with storing as package:
            yield package

    @contextlib.asynccontextmanager
    async def _given(self, archive: bytes, accept: Accept | None) -> AsyncIterator[Package]:
        if accept is not None:
            accept(len(archive))
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
                    raise _explain(result)
                if isinstance(result, BaseException):
                    raise result
            yield Package(digest, len(archive))

    @contextlib.asynccontextmanager
    async def _fetched(self, source: InStorage, caller: Caller, accept: Accept | None) -> AsyncIterator[Package]:
        """From S3 to the disk, piece by piece."""
        try:
            answer = await self._client.call("s3", "GetObject", source.parameters, caller)
        except AwsError as error:
            raise _not_got(source, error) from None
        async with opened(answer.get("Body", b"")) as pieces:
            size = answer.get("ContentLength")  # which an S3 elsewhere may not tell
            if size is not None and accept is not None:
                accept(size)
            writer = await self._blobs.writer()
            try:
                async for piece in pieces:
                    await writer.write(piece)
                    if writer.size > UNZIPPED:  # no zip of that size unpacks to less
                        raise _explain(ArchiveTooLarge("it is larger itself than what it may unpack to"))
                if size is None and accept is not None:
                    accept(writer.size)
                if not writer.size:
                    raise _explain(ArchiveEmpty("it has no bytes"))
                with self._orphans.pin(writer.digest):
                    digest = await writer.commit()
                    try:
                        await self._trees.unpack(digest, await self._blobs.archive(digest), Limits(UNZIPPED))
                    except ArchiveError as error:
                        raise _explain(error) from None
                    yield Package(digest, writer.size)
            finally:
                await writer.discard()


def source_of(source: Mapping[str, Any], doing: str, what: str = "function") -> Source:
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
    if source.get("S3Bucket") and source.get("S3Key"):
        if source.get("S3ObjectStorageMode", "COPY") != "COPY":
            raise not_built("code that stays in S3 (S3ObjectStorageMode=REFERENCE)")
        return InStorage(source["S3Bucket"], source["S3Key"], source.get("S3ObjectVersion"))
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


def _not_got(source: InStorage, error: AwsError) -> AwsError:
    """What AWS says of a package that S3 does not give."""
    told = f"S3 Error Code: {error.code}. S3 Error Message: {error.message}"
    if error.status == 501:
        return error
    if error.code in ("AccessDenied", "AccessDeniedException"):
        message = (
            "Your access has been denied by S3, please make sure your request credentials have permission to GetObject"
            f" for {source.bucket}/{source.key}. {told}"
        )
        return AwsError("AccessDeniedException", message, status=403, Type="User")
    message = f"Error occurred while GetObject. {told}"
    return AwsError("InvalidParameterValueException", message, Type="User")


def _explain(error: ArchiveError) -> AwsError:
    _log.info("a zip was refused: %s", error)
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
