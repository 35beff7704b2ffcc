"""Checksums of objects: by algorithm, of the whole or of the parts, computed as the content comes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from lambent.services.s3 import errors
from lambent.wire.errors import AwsError, not_built
from lambent.wire.streams import Incoming

ALGORITHMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
COMPOSITE, FULL = "COMPOSITE", "FULL_OBJECT"
_MEMBERS = {algorithm: f"Checksum{algorithm}" for algorithm in ALGORITHMS}
_NOT_BUILT = ("ChecksumSHA512", "ChecksumMD5", "ChecksumXXHASH64", "ChecksumXXHASH3", "ChecksumXXHASH128")
_BITS = {"CRC32": 32, "CRC32C": 32, "CRC64NVME": 64}


class Running(Protocol):
    """A checksum that is being computed."""

    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class _Crc:
    """One of those that the standard library does not know."""

    def __init__(self, algorithm: str) -> None:
        self._calculate = _model(algorithm).calc
        self._bytes = _BITS[algorithm] // 8
        self._value = self._calculate(b"")

    def update(self, data: bytes) -> None:
        self._value = self._calculate(data, self._value)

    def digest(self) -> bytes:
        return int(self._value).to_bytes(self._bytes, "big")


@cache
def _model(algorithm: str) -> Any:
    import anycrc

    names = {"CRC32": "CRC32-ISO-HDLC", "CRC32C": "CRC32-ISCSI", "CRC64NVME": "CRC64-NVME"}
    return anycrc.Model(names[algorithm])


_MAKERS: Mapping[str, Callable[[], Running]] = {
    "CRC32": _Crc32,
    "CRC32C": lambda: _Crc("CRC32C"),
    "CRC64NVME": lambda: _Crc("CRC64NVME"),
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "SHA256": hashlib.sha256,
}


class Digests:
    """The digests of content that comes in pieces: MD5 always, and others that are asked for."""

    def __init__(self, algorithms: Iterable[str], *, sha256: bool = False) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        wanted = {*algorithms, *(("SHA256",) if sha256 else ())}
        self._running = {algorithm: _MAKERS[algorithm]() for algorithm in wanted}

    def update(self, data: bytes) -> None:
        self._md5.update(data)
        for running in self._running.values():
            running.update(data)

    @property
    def md5(self) -> bytes:
        return self._md5.digest()

    def value(self, algorithm: str) -> bytes:
        return self._running[algorithm].digest()


@dataclass(frozen=True, slots=True)
class Expected:
    """What a request says of its content: the algorithm it wants and the values that must come out."""

    algorithm: str
    value: str | None = None  # base64; None when it comes in the trailers, or not at all
    md5: bytes | None = None
    sha256: str | None = None  # hexadecimal, of the signature

    def check(self, digests: Digests, trailers: Mapping[str, str]) -> str:
        """The checksum in base64. Raises BadDigest, XAmzContentSHA256Mismatch."""
        if self.md5 is not None and digests.md5 != self.md5:
            raise errors.bad_digest("Content-MD5")
        if self.sha256 is not None and (computed := digests.value("SHA256").hex()) != self.sha256:
            raise AwsError(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                status=400,
                ClientComputedContentSHA256=self.sha256,
                S3ComputedContentSHA256=computed,
            )
        found = encoded(digests.value(self.algorithm))
        told = self.value or trailers.get(f"x-amz-checksum-{self.algorithm.lower()}")
        if told is not None and told != found:
            raise errors.bad_digest(self.algorithm)
        return found


def expected(parameters: Mapping[str, Any], body: Incoming | bytes, default: str) -> Expected:
    """What PutObject or UploadPart are told; `default` is computed where they name no algorithm."""
    algorithm, value = named(parameters)
    announced = body.announced if isinstance(body, Incoming) else ()
    trailing = [name.rpartition("-")[2].upper() for name in announced if name.startswith("x-amz-checksum-")]
    if len(trailing) + (value is not None) > 1:
        raise errors.invalid_request(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    for name in trailing:
        if name not in ALGORITHMS:
            raise not_built(f"checksums by {name}")
        algorithm = name
    sha256 = body.sha256 if isinstance(body, Incoming) else None
    return Expected(algorithm or default, value, _md5(parameters.get("ContentMD5")), sha256)


def named(parameters: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """(algorithm, value) that the members of a request name. InvalidRequest for more than one."""
    for member in _NOT_BUILT:
        if member in parameters:
            raise not_built(f"checksums by {member.removeprefix('Checksum')}")
    given = [(algorithm, parameters[member]) for algorithm, member in _MEMBERS.items() if member in parameters]
    if len(given) > 1:
        raise errors.invalid_request(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    algorithm = parameters.get("ChecksumAlgorithm")
    if algorithm is not None and algorithm not in ALGORITHMS:
        raise not_built(f"checksums by {algorithm}")
    if not given:
        return algorithm, None
    _check_form(*given[0])
    return given[0]


def _check_form(algorithm: str, value: str) -> None:
    size = _BITS.get(algorithm, 0) // 8 or hashlib.new(algorithm.lower(), usedforsecurity=False).digest_size
    try:
        right = len(base64.b64decode(value.partition("-")[0], validate=True)) == size
    except (binascii.Error, ValueError):
        right = False
    if not right:
        raise errors.invalid_request(f"Value for x-amz-checksum-{algorithm.lower()} header is invalid.")


def _md5(given: str | None) -> bytes | None:
    if given is None:
        return None
    try:
        found = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != 16:
        raise AwsError("InvalidDigest", "The Content-MD5 you specified was invalid.", status=400)
    return found


def members(checksums: Mapping[str, str]) -> dict[str, str]:
    """Checksums as the members of an answer."""
    return {_MEMBERS[algorithm]: value for algorithm, value in checksums.items()}


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


# Of objects that were uploaded in parts


def composite(algorithm: str, parts: Sequence[str]) -> str:
    """The checksum of the parts' checksums, and how many there are."""
    running = _MAKERS[algorithm]()
    for part in parts:
        running.update(base64.b64decode(part))
    return f"{encoded(running.digest())}-{len(parts)}"


def combined(algorithm: str, parts: Sequence[tuple[str, int]]) -> str:
    """The checksum of the whole, from (checksum, bytes) of each part: only a CRC can be had so."""
    model = _model(algorithm)
    value = model.calc(b"")
    for checksum, size in parts:
        if size:
            value = model.combine(value, int.from_bytes(base64.b64decode(checksum), "big"), size)
    return encoded(int(value).to_bytes(_BITS[algorithm] // 8, "big"))


def kind_of(algorithm: str, asked: str | None) -> str:
    """COMPOSITE or FULL_OBJECT for a multipart upload. InvalidRequest where an algorithm has no such kind."""
    kind = asked or (FULL if algorithm == "CRC64NVME" else COMPOSITE)
    if (kind == FULL and algorithm not in _BITS) or (kind == COMPOSITE and algorithm == "CRC64NVME"):
        message = f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
        raise errors.invalid_request(message)
    return kind
