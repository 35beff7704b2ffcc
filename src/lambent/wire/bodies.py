"""Content codings of requests, undone within a limit: `aws-chunked` framing, and gzip.

    chunk     size in hexadecimal [;chunk-signature=…] CRLF  content CRLF
    end       0 [;chunk-signature=…] CRLF  { name:value CRLF }  CRLF

Chunk signatures are read past, as nothing here verifies signatures. Checksums in the trailers are compared.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable
from io import BytesIO

from lambent.base.http import Headers
from lambent.wire.errors import AwsError

_STREAMING = "STREAMING-"
_SIGNED = "STREAMING-AWS4-"
_CHUNK_LINE = re.compile(rb"([0-9a-fA-F]{1,16})(;chunk-signature=[0-9a-fA-F*]{1,512})?\r\n")
_TRAILER = re.compile(rb"([!#-'*+.^-z|~\w-]+):([^\r\n]*)")
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
    return bool(_codings(headers)) or _is_streaming(headers)


def decode_body(headers: Headers, body: bytes, *, limit: int) -> bytes:
    """The body without its codings: the framing first, then the others, the last applied first.

    Raises AwsError: InvalidRequestContentException for what is cut off or malformed, BadDigest for a checksum that
    does not match, UnsupportedMediaTypeException for an unknown coding, RequestEntityTooLargeException when more than
    `limit` bytes come out.
    """
    codings = _codings(headers)
    if len(codings) > _MOST_CODINGS:
        raise _broken(f"At most {_MOST_CODINGS} content codings are accepted, not {len(codings)}.")
    if "aws-chunked" in codings or _is_streaming(headers):  # outermost, wherever clients put it in the list
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


def _is_streaming(headers: Headers) -> bool:
    return (headers.get("x-amz-content-sha256") or "").startswith(_STREAMING)


def _broken(reason: str) -> AwsError:
    return AwsError("InvalidRequestContentException", reason, status=400)


def _too_large(limit: int) -> AwsError:
    return AwsError("RequestEntityTooLargeException", f"Request must be smaller than {limit} bytes", status=413)


# aws-chunked


def _unframe(headers: Headers, body: bytes) -> bytes:
    signed = (headers.get("x-amz-content-sha256") or "").startswith(_SIGNED)
    pieces, at = _chunks(body, signed)
    data = b"".join(pieces)
    declared = headers.get("x-amz-decoded-content-length")
    if declared is not None and (not re.fullmatch("[0-9]{1,18}", declared) or int(declared) != len(data)):
        raise _broken(f"The body has {len(data)} bytes, but x-amz-decoded-content-length says {declared}.")
    trailers = _trailers(body[at:])
    for announced in (headers.get("x-amz-trailer") or "").lower().split(","):
        if announced.strip() and announced.strip() not in trailers:
            raise _broken(f"The trailer {announced.strip()} was announced by x-amz-trailer, but did not come.")
    for name, value in trailers.items():
        if name in _CHECKSUMS and base64.b64encode(_CHECKSUMS[name](data)) != value:
            algorithm = name.rpartition("-")[2].upper()
            message = f"The {algorithm} you specified did not match the calculated checksum."
            raise AwsError("BadDigest", message, status=400)
    return data


def _chunks(body: bytes, signed: bool) -> tuple[list[memoryview], int]:
    """The contents of the chunks, and where the last chunk's line ends."""
    view, pieces, at = memoryview(body), list[memoryview](), 0
    while True:
        line = _CHUNK_LINE.match(body, at)
        if line is None or (signed and line[2] is None):
            raise _broken("The aws-chunked body is cut off or malformed where a chunk should begin.")
        start = line.end()
        size = int(line[1], 16)
        if size == 0:
            return pieces, start
        at = start + size + 2
        if body[at - 2 : at] != b"\r\n":
            raise _broken("The aws-chunked body is cut off, or a chunk is longer than it says.")
        pieces.append(view[start : start + size])


def _trailers(section: bytes) -> dict[str, bytes]:
    """The trailers by their names in lower case; `section` is all that follows the last chunk's line."""
    if section == b"\r\n":
        return {}
    lines = section[:-4].split(b"\r\n")
    if not section.endswith(b"\r\n\r\n") or b"" in lines:
        raise _broken("The aws-chunked body is cut off in its trailers, or something follows them.")
    trailers: dict[str, bytes] = {}
    for line in lines:
        trailer = _TRAILER.fullmatch(line)
        if trailer is None:
            raise _broken("The aws-chunked body has a malformed trailer.")
        trailers[trailer[1].decode("latin-1").lower()] = trailer[2].strip()
    return trailers


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
            raise _broken("The gzip body is damaged.") from None
        if out.tell() > limit:
            raise _too_large(limit)
        at += len(piece) - len(member.unused_data)
    if not member.eof:
        raise _broken("The gzip body is cut off.")
    return out.getvalue()
