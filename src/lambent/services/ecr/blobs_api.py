"""`/v2/NAME/blobs/DIGEST`: layers and configs on their way out."""

from __future__ import annotations

import re
from collections.abc import Callable

from lambent.base.blobs import BlobMissing, Blobs
from lambent.base.http import Exchange
from lambent.services.ecr.names import DIGEST, RepositoryName
from lambent.services.ecr.oci import OciError, answer
from lambent.services.ecr.store import ImageStore

_BYTES = "application/octet-stream"
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class BlobsApi:
    """Handlers."""

    def __init__(self, store: ImageStore, blobs: Blobs, changed: Callable[[], None]) -> None:
        """`changed` is called when layers may have become free."""
        self._store = store
        self._blobs = blobs
        self._changed = changed

    async def get(self, exchange: Exchange, name: RepositoryName, digest: str) -> None:
        layer = (await self._store.layers(name, [_checked(digest)])).get(digest)
        if layer is None:
            raise _unknown(digest)
        size, request = layer.size, exchange.request
        headers = [("Docker-Content-Digest", digest), ("ETag", f'"{digest}"'), ("Accept-Ranges", "bytes")]
        if request.method == "HEAD":
            exchange.respond(answer(200, b"", [*headers, ("Content-Length", str(size))], _BYTES))
            return
        start, stop, status = 0, size, 200
        if (wanted := request.headers.get("range")) is not None:
            start, stop = _range(wanted, size)
            status = 206
            headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{size}"))
        stream = exchange.stream(answer(status, b"", headers, _BYTES), stop - start)
        if stream is None:
            return
        try:
            async for piece in self._blobs.stream(layer.blob, start, stop):
                await stream.write(piece)
            stream.end()
        except (BlobMissing, OSError):
            stream.abort()

    async def delete(self, exchange: Exchange, name: RepositoryName, digest: str) -> None:
        if not await self._store.unlink(name, _checked(digest)):
            raise _unknown(digest)
        self._changed()
        exchange.respond(answer(202))


def _checked(digest: str) -> str:
    if not DIGEST.fullmatch(digest):
        raise OciError(400, "DIGEST_INVALID", f"no sha256 or sha512 digest: {digest[:256]}")
    return digest


def _unknown(digest: str) -> OciError:
    return OciError(404, "BLOB_UNKNOWN", f"blob {digest} unknown to the repository")


def _range(header: str, size: int) -> tuple[int, int]:
    """(first byte, byte after the last) of a request for one range."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        raise OciError(416, "SIZE_INVALID", f"one range of bytes can be asked for, not {header[:100]}")
    if not match[1]:
        start, stop = max(0, size - int(match[2])), size
    else:
        start, stop = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
    if start >= stop:
        raise OciError(
            416, "SIZE_INVALID", f"the blob has {size} bytes", headers=(("Content-Range", f"bytes */{size}"),)
        )
    return start, stop
