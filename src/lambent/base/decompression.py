"""Reads files that may be compressed, and knows the digest of what came out.

Sources: RFC 1952 (gzip), RFC 8878 (zstd and its skippable frames, which chunked layers hold).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, Any, cast

from isal import igzip, igzip_lib

_WINDOW = 27  # the largest zstd window, a power of two: 128 MiB, what `zstd` itself takes without being told
_IsalError = cast(type[Exception], igzip_lib.IsalError)  # its stub says that it is an instance
_GZIP, _ZSTD, _SKIPPABLE = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18"


class Damaged(Exception):
    """What is compressed cannot be read, or is more than it may be. The message says why."""


class Hashed(io.RawIOBase):
    """Reads through, and knows the digest of everything read."""

    def __init__(self, source: IO[bytes], limit: int) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self._left = limit

    @property
    def digest(self) -> str:
        """The sha256 of what has been read."""
        return self._hash.hexdigest()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Raises Damaged beyond the limit."""
        data = self._source.read(size)
        self._hash.update(data)
        self._left -= len(data)
        if self._left < 0:
            raise Damaged("it holds more than it may")
        return data


@contextlib.contextmanager
def opened(path: Path, limit: int) -> Iterator[Hashed]:
    """The plain content of a file that is gzip, zstd or neither, by its first bytes: `limit` bytes at most.

    Damaged data raises Damaged, within the whole of the context.
    """
    with path.open("rb") as file:
        try:
            with _plain(file) as plain:
                yield Hashed(plain, limit)
        except (EOFError, _IsalError, igzip.BadGzipFile) as error:
            raise Damaged(str(error)) from None


@contextlib.contextmanager
def _plain(file: IO[bytes]) -> Iterator[IO[bytes]]:
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(_GZIP):
        with cast(Any, igzip.IGzipFile)(fileobj=file) as plain:
            yield plain
    elif magic == _ZSTD or (magic[1:] == _SKIPPABLE and magic[0] >> 4 == 5):
        zstd = _zstd()
        try:
            with zstd.open(file, options={zstd.DecompressionParameter.window_log_max: _WINDOW}) as plain:
                yield plain
        except zstd.ZstdError as error:
            raise Damaged(str(error)) from None
    else:
        yield file


def _zstd() -> ModuleType:
    """The standard library's where it has one (Python 3.14), else the same from PyPI."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def libraries() -> set[Path]:
    """The directories that a process without those of `site` needs to do this."""
    return {Path(module.__file__ or "").parents[depth] for module, depth in ((igzip, 1), (_zstd(), 2))}
