"""The names of buckets and objects, and what may not be one."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

from lambent.wire.errors import AwsError

_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
_KEY_BYTES = 1024


def check_bucket(name: str) -> None:
    """Raises InvalidBucketName for what no bucket can be called."""
    bad = not _BUCKET.fullmatch(name) or _ADDRESS.fullmatch(name) or ".-" in name or "-." in name
    if bad or name.startswith(_PREFIXES) or name.endswith(_SUFFIXES):
        raise AwsError("InvalidBucketName", "The specified bucket is not valid.", status=400, BucketName=name)


def key_of(name: str) -> bytes:
    """A key as it is stored. KeyTooLongError beyond 1,024 bytes; InvalidURI for what is not UTF-8."""
    try:
        key = name.encode()
    except UnicodeEncodeError:
        raise _not_utf8() from None
    if len(key) > _KEY_BYTES:
        raise AwsError("KeyTooLongError", "Your key is too long", status=400, Size=len(key), MaxSizeAllowed=_KEY_BYTES)
    return key


def _not_utf8() -> AwsError:
    return AwsError("InvalidURI", "Couldn't parse the specified URI.", status=400)


@lru_cache(maxsize=256)
def canonical_user(account: str) -> str:
    """The id that S3 calls an account by: 64 hexadecimal digits."""
    return hashlib.sha256(f"canonical user {account}".encode()).hexdigest()
