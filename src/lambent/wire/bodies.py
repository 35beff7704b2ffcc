"""Content codings of requests, undone within a limit: `aws-chunked` framing, and gzip.

Checksums in the trailers of `aws-chunked` are compared.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable
from io import BytesIO

from lambent.base.http import Headers
from lambent.wire.chunked import Unframer, broken, is_framed, is_streaming
from lambent.wire.errors import AwsError

_MOST_CODINGS = 4  # more serve nobody, and each costs a pass over up to `limit` bytes
_PIECE = 1 << 14  # bytes of gzip fed at once: what follows a member is copied, and there may be many members

# The algorithms that the standard library knows; checksums by others are taken as they are.
_CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {
    "x-amz-checksum-crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "x-amz-checksum-sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "x-amz-checksum-sha256": lambda data: hashlib.sha256(data).digest(),
    "x-amz-checksum-sha512": lambda data: hashlib.sha512(data).digest(),
    "x-amz-checksum-md5": lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
}


def is_coded(headers: Headers) -> bool:
    """Whether the body is anything but plain."""
    return bool(_codings(headers)) or is_streaming(headers)


def decode_body(headers: Headers, body: bytes, *, limit: int, framing_only: bool = False) -> bytes:
    """The body without its codings: the framing first, then the others, the last applied first.

    `framing_only`: the others are the sender's business, as in S3.

    Raises AwsError: InvalidRequestContentException for what is cut off or malformed, BadDigest for a checksum that
    does not match, UnsupportedMediaTypeException for an unknown coding, RequestEntityTooLargeException when more than
    `limit` bytes come out.
    """
    codings = [] if framing_only else _codings(headers)
    if len(codings) > _MOST_CODINGS:
        raise broken(f"At most {_MOST_CODINGS} content codings are accepted, not {len(codings)}.")
    if is_framed(headers):  # outermost, wherever clients put it in the list
        body = _unframe(headers, body)
    for coding in reversed(codings):
        if coding in ("gzip", "x-gzip"):
            body = _gunzip(body, limit)
        elif coding != "aws-chunked":
            message = f"The content coding {coding!r} is not supported; use gzip or none."
            raise AwsError("UnsupportedMediaTypeException", message, status=415)
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _codings(headers: Headers) -> list[str]:
    """The content codings in the order they were applied."""
    names = (name.strip().lower() for value in headers.get_all("content-encoding") for name in value.split(","))
    return [name for name in names if name not in ("", "identity")]


def _too_large(limit: int) -> AwsError:
    return AwsError("RequestEntityTooLargeException", f"Request must be smaller than {limit} bytes", status=413)


# aws-chunked


def _unframe(headers: Headers, body: bytes) -> bytes:
    unframer = Unframer(headers)
    data = b"".join(unframer.feed(body))
    unframer.finish()
    for name, value in unframer.trailers.items():
        if name in _CHECKSUMS and base64.b64encode(_CHECKSUMS[name](data)).decode() != value:
            algorithm = name.rpartition("-")[2].upper()
            message = f"The {algorithm} you specified did not match the calculated checksum."
            raise AwsError("BadDigest", message, status=400)
    return data


# gzip


def _gunzip(body: bytes, limit: int) -> bytes:
    """All members of a gzip stream; never makes much more than `limit` bytes."""
    view, out, at = memoryview(body), BytesIO(), 0
    member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    while at < len(body):
        if member.eof:
            member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        piece = view[at : at + _PIECE]
        try:
            out.write(member.decompress(piece, limit + 1 - out.tell()))
        except zlib.error:
            raise broken("The gzip body is damaged.") from None
        if out.tell() > limit:
            raise _too_large(limit)
        at += len(piece) - len(member.unused_data)
    if not member.eof:
        raise broken("The gzip body is cut off.")
    return out.getvalue()
