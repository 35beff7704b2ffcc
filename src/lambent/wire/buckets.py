"""How S3's requests name their bucket: in the path, or in the host's name before the service's (virtual-host style)."""

from __future__ import annotations

import re
import urllib.parse
from functools import lru_cache

from lambent.base.http import Request

_BUCKET = r"(?P<bucket>[a-z0-9][a-z0-9._-]{1,61}[a-z0-9])"
_REGION = r"(?:dualstack\.)?(?:[a-z]{2}(?:-[a-z]+)+-\d\.)?"
_HOSTS = (
    re.compile(_BUCKET + r"\.s3(?:-accelerate|-[a-z]{2}(?:-[a-z]+)+-\d)?\." + _REGION + r"amazonaws\.com(?:\.cn)?"),
    re.compile(_BUCKET + r"\.s3\." + _REGION + r"localhost(?:\.localstack\.cloud)?"),
    re.compile(r"(?!s3\.)" + _BUCKET + r"\.localhost"),
)
_OTHERS = (".lambda-url.", ".execute-api.", ".dkr.ecr.")  # labels of hosts that are no buckets


@lru_cache(maxsize=256)
def bucket_of(host: str) -> str | None:
    """The bucket in a host's name: "b.s3.amazonaws.com", "b.s3.eu-west-1.localhost:4566", "b.localhost"."""
    try:
        name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return None
    if "." not in name or name.startswith("s3.") or any(label in f".{name}." for label in _OTHERS):
        return None
    for pattern in _HOSTS:
        if match := pattern.fullmatch(name):
            return match["bucket"]
    return None


def path_of(request: Request) -> str:
    """The request's path in path style, the bucket first, whichever way the bucket was named. Still percent-encoded."""
    host = request.headers.first.get(b"host")
    if host is None or not (b"localhost" in host or b"amazonaws" in host):
        return request.path
    bucket = bucket_of(host.strip().decode("latin-1").lower())
    if bucket is None or not _is_of_s3(request):
        return request.path
    path = request.target.partition("?")[0]
    return f"/{bucket}{path}" if path.startswith("/") else request.path


def _is_of_s3(request: Request) -> bool:
    """Whether S3 is meant, as far as the signature tells; a request without one may well be a browser's for S3."""
    header = request.headers.get("authorization")
    if header is not None:
        return "/s3/aws4_request" in header or header.startswith("AWS ")
    if "X-Amz-Credential=" in request.query:
        return "%2Fs3%2F" in request.query or "/s3/" in request.query
    return "x-amz-target" not in request.headers
