"""Requests signed anew for an upstream that checks signatures, with credentials that the configuration names.

The secret itself never stands in the configuration: `env:NAME` is a variable that holds `KEY_ID:SECRET` (and
`:SESSION_TOKEN` where there is one), `profile:NAME` a profile of AWS's own files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lambent.base.http import Request
from lambent.neighbours.transit import Transit
from lambent.wire import bodies, buckets, resigning
from lambent.wire.errors import AwsError

Body = Transit | bytes

_SIGNED_CHUNKS = "STREAMING-AWS4"
_MOST_WHOLE = 256 << 20  # bytes of a body that must be whole to be signed
_DROPPED = frozenset({"authorization", "x-amz-date", "x-amz-security-token", "host", "date"})
_OF_CHUNKS = frozenset(
    {"x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-trailer", "content-encoding", "content-length"}
)
_PRESIGNED = ("X-Amz-", "AWSAccessKeyId", "Signature", "Expires")

Headers = list[tuple[str, str]]


class Signer:
    """Signs requests to upstreams."""

    def __init__(self, variable: Callable[[str], str]) -> None:
        """`variable` answers with what an environment variable holds, or ""."""
        self._variable = variable

    async def sign(
        self, service: str, source: str, url: str, region: str, request: Request, headers: Headers, body: Body
    ) -> tuple[str, Headers, Body]:
        """(target, headers, body) for the upstream at `url`. AwsError where the credentials cannot be had."""
        try:
            credentials = await asyncio.to_thread(self._credentials, source)
        except LookupError as error:
            message = f"The credentials {source} of '{service}' (the setting services): {error}."
            raise AwsError("ServiceUnavailable", message, status=502) from None
        headers = [(name, value) for name, value in headers if name.lower() not in _DROPPED]
        digest = request.headers.get("x-amz-content-sha256") or ""
        if not isinstance(body, bytes) and (service != "s3" or digest.startswith(_SIGNED_CHUNKS)):
            body = await body.whole(_MOST_WHOLE)
            if digest.startswith(_SIGNED_CHUNKS):  # the signature of each chunk hangs on that of the request
                body = bodies.decode_body(request.headers, body, limit=_MOST_WHOLE)
                headers = _without_chunks(headers)
        target = _target(service, request)
        whole = body if isinstance(body, bytes) else None
        name = resigning.signing_name(service)
        full = url.rstrip("/") + target
        return target, resigning.sign(credentials, name, region, request.method, full, headers, whole), body

    def _credentials(self, source: str) -> resigning.Credentials:
        kind, _, name = source.partition(":")
        return resigning.of_profile(name) if kind == "profile" else resigning.of_text(self._variable(name))


def _without_chunks(headers: Headers) -> Headers:
    return [(name, value) for name, value in headers if name.lower() not in _OF_CHUNKS]


def _target(service: str, request: Request) -> str:
    """Path and query without a presigned signature; a bucket that stood in the host name now stands in the path."""
    path = buckets.path_of(request) if service == "s3" else request.path
    pairs = [part for part in request.query.split("&") if part]
    if any(part.startswith(("X-Amz-Signature=", "Signature=")) for part in pairs):
        pairs = [part for part in pairs if not part.startswith(_PRESIGNED)]
    return path + ("?" + "&".join(pairs) if pairs else "")
