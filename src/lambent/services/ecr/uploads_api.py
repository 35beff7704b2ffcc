"""`/v2/NAME/blobs/uploads/…`: layers and configs on their way in, never whole in memory.

A body goes to the disk as it comes; when the disk is slower than the client, the client waits.
"""

from __future__ import annotations

import asyncio
import re
import urllib.parse
from collections.abc import Awaitable, Callable

from lambent.base.http import Exchange, Flow, Request
from lambent.services.ecr.layers import Layers, Upload, WrongDigest
from lambent.services.ecr.names import DIGEST, RepositoryName, is_repository
from lambent.services.ecr.oci import Header, OciError, answer
from lambent.wire.errors import AwsError

_PIECE = 1 << 20  # bytes written at a time
_PENDING = 4 << 20  # bytes that wait to be written before the client has to wait too
_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d{1,18})-(\d{1,18})(?:/.*)?")

Open = Callable[[], Awaitable[Upload]]


class UploadSink:
    """Takes the body of one request and appends it to an upload, in the background; holds the client back."""

    def __init__(self, open_upload: Open, first: int | None) -> None:
        """`first`: the byte that the client says it begins with; an upload that stands elsewhere refuses it."""
        self._open = open_upload
        self._first = first
        self._pending = bytearray()
        self._more = asyncio.Event()
        self._complete = self._failed = self._paused = False
        self._flow: Flow | None = None
        self._task: asyncio.Task[Upload] | None = None

    def start(self, flow: Flow) -> None:
        self._flow = flow
        self._task = asyncio.get_running_loop().create_task(self._pump())
        self._task.add_done_callback(_note)

    def feed(self, data: bytes) -> None:
        if self._failed:
            return  # the answer will say why; the rest is read and thrown away
        self._pending += data
        self._more.set()
        if len(self._pending) > _PENDING and not self._paused and self._flow is not None:
            self._paused = True
            self._flow.pause_body()

    def lost(self) -> None:
        """What has come is kept: the client may go on from there."""
        self._flow = None
        self._complete = True
        self._more.set()

    async def finish(self) -> Upload:
        """The upload, once everything that has come is written. Raises what went wrong meanwhile."""
        self._complete = True
        self._more.set()
        assert self._task is not None
        return await asyncio.shield(self._task)

    async def _pump(self) -> Upload:
        try:
            upload = await self._open()
            async with upload.lock:
                if self._first not in (None, upload.size):
                    raise OciError(
                        416, "BLOB_UPLOAD_INVALID", f"the upload has {upload.size} bytes", headers=_range(upload)
                    )
                while (piece := await self._next()) is not None:
                    await upload.writer.write(piece)
            return upload
        except BaseException:
            self._failed = True
            self._pending.clear()
            self._resume()
            raise

    async def _next(self) -> bytes | None:
        """What is to be written next; None when everything is."""
        while len(self._pending) < _PIECE and not self._complete:
            self._more.clear()
            await self._more.wait()
        piece = bytes(self._pending)
        self._pending.clear()
        self._resume()
        return piece or None

    def _resume(self) -> None:
        if self._paused and self._flow is not None:
            self._paused = False
            self._flow.resume_body()


def _note(task: asyncio.Task[Upload]) -> None:
    """The client may have left before anybody asked how it went."""
    if not task.cancelled():
        task.exception()


class UploadsApi:
    """Handlers."""

    LIMIT = 10 << 30  # bytes of one layer: what AWS lets an image have

    def __init__(self, layers: Layers) -> None:
        self._layers = layers

    def admit(self, request: Request, name: RepositoryName, upload_id: str) -> None:
        """Have the body go where it belongs as it comes."""
        first = _first(request)
        if request.method == "POST":
            if "digest" in _query(request):
                request.sink = UploadSink(lambda: self._layers.begin(name), first)
            return
        upload = self._layers.find(name, upload_id)

        async def known() -> Upload:
            return upload

        request.sink = UploadSink(known, first)

    async def begin(self, exchange: Exchange, name: RepositoryName, _rest: str) -> None:
        query = _query(exchange.request)
        if isinstance(sink := exchange.request.sink, UploadSink):
            await self._finish(exchange, name, await sink.finish(), query.get("digest", ""))
            return
        digest, source = query.get("mount", ""), query.get("from", "")
        if await self._mounted(name, source, digest):
            exchange.respond(answer(201, b"", _stored(name, digest)))
            return
        upload = await self._layers.begin(name)
        exchange.respond(answer(202, b"", _progress(name, upload)))

    async def _mounted(self, name: RepositoryName, source: str, digest: str) -> bool:
        """Whether the layer could be taken over from another repository; if not, the client uploads it."""
        if not DIGEST.fullmatch(digest) or not is_repository(source):
            return False
        try:
            return await self._layers.mount(RepositoryName(name.registry, source), name, digest)
        except AwsError:
            return False

    async def status(self, exchange: Exchange, name: RepositoryName, upload_id: str) -> None:
        exchange.respond(answer(204, b"", _progress(name, self._layers.find(name, upload_id))))

    async def append(self, exchange: Exchange, name: RepositoryName, _upload_id: str) -> None:
        upload = await _sink(exchange).finish()
        exchange.respond(answer(202, b"", _progress(name, upload)))

    async def finish(self, exchange: Exchange, name: RepositoryName, _upload_id: str) -> None:
        upload = await _sink(exchange).finish()
        await self._finish(exchange, name, upload, _query(exchange.request).get("digest", ""))

    async def _finish(self, exchange: Exchange, name: RepositoryName, upload: Upload, digest: str) -> None:
        if not DIGEST.fullmatch(digest):
            raise OciError(400, "DIGEST_INVALID", f"no sha256 or sha512 digest: {digest[:256]}")
        try:
            async with upload.lock:
                await self._layers.finish(upload, digest)
        except WrongDigest as problem:
            raise OciError(400, "DIGEST_INVALID", str(problem)) from None
        exchange.respond(answer(201, b"", _stored(name, digest)))

    async def cancel(self, exchange: Exchange, name: RepositoryName, upload_id: str) -> None:
        await self._layers.cancel(self._layers.find(name, upload_id))
        exchange.respond(answer(204))


def _sink(exchange: Exchange) -> UploadSink:
    sink = exchange.request.sink
    assert isinstance(sink, UploadSink)
    return sink


def _query(request: Request) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(request.query))


def _first(request: Request) -> int | None:
    """The byte that a Content-Range begins with."""
    header = request.headers.get("content-range")
    if header is None:
        return None
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None or int(match[1]) > int(match[2]) + 1:
        raise OciError(416, "BLOB_UPLOAD_INVALID", f"invalid Content-Range: {header[:100]}")
    return int(match[1])


def _range(upload: Upload) -> list[Header]:
    return [("Range", f"0-{max(0, upload.size - 1)}")]


def _progress(name: RepositoryName, upload: Upload) -> list[Header]:
    location = ("Location", f"/v2/{name.name}/blobs/uploads/{upload.id}")
    return [location, *_range(upload), ("Docker-Upload-UUID", upload.id)]


def _stored(name: RepositoryName, digest: str) -> list[Header]:
    return [("Location", f"/v2/{name.name}/blobs/{digest}"), ("Docker-Content-Digest", digest)]
