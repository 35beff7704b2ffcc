"""Content on its way in: to the disk, its digests computed and compared with what the request says."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator

from lambent.services.s3.checksums import Digests, Expected
from lambent.services.s3.contents import Staged
from lambent.services.s3.records import Received
from lambent.wire.errors import AwsError
from lambent.wire.streams import Incoming

LIMIT = 5 << 30  # bytes that can be put at once
_MEBI = 1 << 20


class Intake:
    """Takes bodies of any size, never more of one in memory than a piece."""

    async def receive(self, staged: Staged, body: Incoming | bytes, wanted: Expected) -> Received:
        """Store a body. Raises what `Expected.check` does, EntityTooLarge, and 507 for a full disk."""
        digests = Digests([wanted.algorithm], sha256=wanted.sha256 is not None)
        pieces = _limited(body) if isinstance(body, Incoming) else _pieces(body)
        try:
            content, size = await staged.write(pieces, digests)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            message = "There is no space left on the disk that S3's objects lie on."
            raise AwsError("InternalError", message, status=507) from error
        trailers = body.trailers if isinstance(body, Incoming) else {}
        checksum = wanted.check(digests, trailers)
        return Received(content, size, digests.md5, {wanted.algorithm: checksum})


async def _limited(body: Incoming) -> AsyncIterator[bytes]:
    if body.length is not None and body.length > LIMIT:
        raise _too_large(body.length)
    size = 0
    async for piece in body:
        size += len(piece)
        if size > LIMIT:
            raise _too_large(size)
        yield piece


def _too_large(size: int) -> AwsError:
    message = "Your proposed upload exceeds the maximum allowed size"
    return AwsError("EntityTooLarge", message, status=400, ProposedSize=size, MaxSizeAllowed=LIMIT)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), _MEBI):
        yield body[at : at + _MEBI]
