"""Content codings of requests: `aws-chunked` framing and gzip, undone within a limit."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib

from lambent.base.http import Headers
from lambent.wire.errors import AwsError

_STREAMING = "STREAMING-"
_CHUNK_HEAD = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=[0-9a-f]{64,140})?\r\n")
_TRAILER = re.compile(rb"([\w-]+):([^\r\n]*)\r?\n")
_CHECKSUMS = {
    b"x-amz-checksum-crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    b"x-amz-checksum-sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    b"x-amz-checksum-sha256": lambda data: hashlib.sha256(data).digest(),
}


def is_coded(headers: Headers) -> bool:
    """Whether the body is anything but plain."""
    encoding = headers.get("content-encoding")
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        return True
    return (headers.get("x-amz-content-sha256") or "").startswith(_STREAMING)


def decode_body(headers: Headers, body: bytes, *, limit: int) -> bytes:
    """The body without its codings. AwsError when the framing is broken, or what comes out exceeds `limit` bytes."""
    encodings = [name.strip().lower() for name in (headers.get("content-encoding") or "").split(",") if name.strip()]
    framed = "aws-chunked" in encodings or (headers.get("x-amz-content-sha256") or "").startswith(_STREAMING)
    if framed:
        body = _unframe(body)
        declared = headers.get("x-amz-decoded-content-length")
        if declared is not None and declared.strip() != str(len(body)):
            raise _broken("You did not provide the number of bytes specified by x-amz-decoded-content-length")
    for name in reversed([name for name in encodings if name not in ("aws-chunked", "identity")]):
        if name not in ("gzip", "x-gzip"):
            raise AwsError("UnsupportedMediaTypeException", f"Unsupported content encoding: {name}", status=415)
        body = _gunzip(body, limit)
    return body


def _broken(reason: str) -> AwsError:
    return AwsError("IncompleteBody", reason, status=400)


def _unframe(body: bytes) -> bytes:
    """Undo aws-chunked. Chunk signatures are read past; a checksum in the trailer is compared."""
    parts: list[bytes] = []
    place = 0
    while True:
        head = _CHUNK_HEAD.match(body, place)
        if head is None:
            raise _broken("The aws-chunked body has a malformed chunk header")
        size, place = int(head[1], 16), head.end()
        if size == 0:
            break
        if body[place + size : place + size + 2] != b"\r\n":
            raise _broken("The aws-chunked body ends within a chunk")
        parts.append(body[place : place + size])
        place += size + 2
    data = b"".join(parts)
    _check_trailers(body[place:], data)
    return data


def _check_trailers(trailers: bytes, data: bytes) -> None:
    if trailers.strip(b"\r\n") and not trailers.endswith(b"\n"):
        raise _broken("The aws-chunked body ends within its trailers")
    for name, value in _TRAILER.findall(trailers):
        compute = _CHECKSUMS.get(name.lower())
        if compute is not None and base64.b64encode(compute(data)) != value.strip():
            raise AwsError(
                "BadDigest", f"The {name.decode()} you specified did not match the calculated one.", status=400
            )


def _gunzip(body: bytes, limit: int) -> bytes:
    decompressor = zlib.decompressobj(wbits=31)
    try:
        data = decompressor.decompress(body, limit + 1)
    except zlib.error:
        raise _broken("The gzip body cannot be decompressed") from None
    if len(data) > limit:
        message = f"Request must be smaller than {limit} bytes"
        raise AwsError("RequestEntityTooLargeException", message, status=413)
    if not decompressor.eof:
        raise _broken("The gzip body ends too early")
    return data
