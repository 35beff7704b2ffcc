"""The `aws-chunked` framing of bodies, undone as they come.

chunk     size in hexadecimal [;chunk-signature=…] CRLF  content CRLF
end       0 [;chunk-signature=…] CRLF  { name:value CRLF }  CRLF
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Protocol

from lambent.base.http import Headers
from lambent.wire.errors import AwsError

STREAMING = "STREAMING-"
_SIGNED = "STREAMING-AWS4-"
_LINE = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-fA-F*]{1,512}))?\r\n")
_LONGEST_LINE = 560
_TRAILER = re.compile(rb"([!#-'*+.^-z|~\w-]+):([^\r\n]*)")
_MOST_TRAILERS = 16_384  # bytes


class Verifier(Protocol):
    """Checks the signatures that the chunks of a signed body carry. Raises AwsError for one that is wrong."""

    def chunk(self, signature: str, digest: str) -> None:
        """The next chunk has come whole; `digest` is its sha256, in hexadecimal. The last one is empty."""

    def trailers(self, signature: str | None, section: bytes) -> None:
        """The trailers have come: `section` as it was sent, without the line of the signature."""


def is_streaming(headers: Headers) -> bool:
    """Whether the payload's hash says that the body comes in chunks."""
    return (headers.get("x-amz-content-sha256") or "").startswith(STREAMING)


def is_framed(headers: Headers) -> bool:
    """Whether the body is framed, by either of the headers that tell."""
    return is_streaming(headers) or any(
        name.strip().lower() == "aws-chunked"
        for value in headers.get_all("content-encoding")
        for name in value.split(",")
    )


class Unframer:
    """Takes a framed body in any pieces and gives its content. Raises AwsError for what is malformed."""

    def __init__(self, headers: Headers, verifier: Verifier | None = None) -> None:
        self.trailers: Mapping[str, str] = {}
        """By their names in lower case, once the body has come to its end."""
        self._headers = headers
        self._signed = (headers.get("x-amz-content-sha256") or "").startswith(_SIGNED)
        self._verifier = verifier
        self._signature = ""
        self._hash = hashlib.sha256()
        self._held = b""  # what could not be understood yet
        self._left = 0  # bytes of the chunk that are still to come
        self._in_chunk = self._ending = self._ended = False
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The next bytes of the body; the content in them."""
        data = self._held + data if self._held else data
        self._held = b""
        found: list[bytes] = []
        at = 0
        while at < len(data) or self._ending:
            if self._ending:
                self._hold(data[at:])
                break
            following = self._content(data, at, found) if self._in_chunk else self._line(data, at)
            if following == at:
                self._held = data[at:]
                break
            at = following
        return found

    def _line(self, data: bytes, at: int) -> int:
        """Past the line that a chunk begins with; `at` when it is not complete."""
        line = _LINE.match(data, at)
        if line is None:
            if b"\n" in data[at : at + _LONGEST_LINE] or len(data) - at >= _LONGEST_LINE:
                raise broken("The aws-chunked body is cut off or malformed where a chunk should begin.")
            return at
        if self._signed and line[2] is None:
            raise broken("The aws-chunked body is cut off or malformed where a chunk should begin.")
        self._signature = (line[2] or b"").decode()
        self._left = int(line[1], 16)
        if self._left:
            self._in_chunk = True
        else:
            self._ending = True
            self._check_chunk()
        return line.end()

    def _content(self, data: bytes, at: int, found: list[bytes]) -> int:
        """Past the content that is there, and past the end of the chunk with it."""
        if self._left:
            piece = data[at : at + self._left]
            self._left -= len(piece)
            self._size += len(piece)
            if self._verifier is not None:
                self._hash.update(piece)
            found.append(piece)
            return at + len(piece)
        if len(data) - at < 2:
            return at
        if data[at : at + 2] != b"\r\n":
            raise broken("The aws-chunked body is cut off, or a chunk is longer than it says.")
        self._in_chunk = False
        self._check_chunk()
        return at + 2

    def _check_chunk(self) -> None:
        if self._verifier is not None:
            self._verifier.chunk(self._signature, self._hash.hexdigest())
            self._hash = hashlib.sha256()

    def _hold(self, section: bytes) -> None:
        self._held = section
        if len(section) > _MOST_TRAILERS:
            raise broken("The aws-chunked body has too many trailers.")

    def finish(self) -> None:
        """Everything has come: see that nothing is missing, and read the trailers."""
        if not self._ending:
            raise broken("The aws-chunked body is cut off or malformed where a chunk should begin.")
        declared = self._headers.get("x-amz-decoded-content-length")
        if declared is not None and (not re.fullmatch("[0-9]{1,18}", declared) or int(declared) != self._size):
            raise broken(f"The body has {self._size} bytes, but x-amz-decoded-content-length says {declared}.")
        self.trailers = _trailers(self._held)
        for name in announced(self._headers):
            if name not in self.trailers:
                raise broken(f"The trailer {name} was announced by x-amz-trailer, but did not come.")
        if self._verifier is not None:
            lines = [line for line in self._held.split(b"\r\n") if line]
            kept = [line for line in lines if not line.lower().startswith(b"x-amz-trailer-signature:")]
            section = b"".join(line + b"\r\n" for line in kept)
            self._verifier.trailers(self.trailers.get("x-amz-trailer-signature"), section)


def announced(headers: Headers) -> list[str]:
    """The names of the trailers that are to come, in lower case."""
    names = (headers.get("x-amz-trailer") or "").lower().split(",")
    return [name.strip() for name in names if name.strip()]


def _trailers(section: bytes) -> dict[str, str]:
    """The trailers by their names in lower case; `section` is all that follows the last chunk's line."""
    if section == b"\r\n":
        return {}
    lines = section[:-4].split(b"\r\n")
    if not section.endswith(b"\r\n\r\n") or b"" in lines:
        raise broken("The aws-chunked body is cut off in its trailers, or something follows them.")
    trailers: dict[str, str] = {}
    for line in lines:
        trailer = _TRAILER.fullmatch(line)
        if trailer is None:
            raise broken("The aws-chunked body has a malformed trailer.")
        trailers[trailer[1].decode("latin-1").lower()] = trailer[2].strip().decode("latin-1")
    return trailers


def broken(reason: str) -> AwsError:
    return AwsError("InvalidRequestContentException", reason, status=400)
