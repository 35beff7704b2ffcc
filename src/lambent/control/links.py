"""Links under which a function's code can be fetched without credentials, for ten minutes: `Code.Location`."""

from __future__ import annotations

import hashlib
import hmac
import urllib.parse
from datetime import UTC, datetime

from lambent.base.blobs import BlobMissing, Blobs
from lambent.base.clock import Clock
from lambent.base.http import Response

PREFIX = "/_lambent/code/"
_SECONDS = 600
_DATE = "%Y%m%dT%H%M%SZ"


class CodeLinks:
    """Hands out links to blobs and answers them."""

    def __init__(self, blobs: Blobs, clock: Clock, key: bytes) -> None:
        """Links are good for as long as `key` is the same."""
        self._blobs = blobs
        self._clock = clock
        self._key = key

    def url(self, endpoint: str, digest: str) -> str:
        """Where a client that reached this server at `endpoint` can fetch the blob."""
        date = self._clock.now().strftime(_DATE)
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Date": date,
            "X-Amz-Expires": str(_SECONDS),
            "X-Amz-SignedHeaders": "host",
            "X-Amz-Signature": self._sign(digest, date, str(_SECONDS)),
        }
        return f"{endpoint}{PREFIX}{digest}?{urllib.parse.urlencode(query)}"

    def _sign(self, digest: str, date: str, seconds: str) -> str:
        return hmac.new(self._key, f"{digest}\n{date}\n{seconds}".encode(), hashlib.sha256).hexdigest()

    async def download(self, path: str, query: str) -> Response:
        """Answer a GET of a link: the zip, 403 for a link that is forged or too old, 404 when the code is gone."""
        digest = path.removeprefix(PREFIX)
        given = dict(urllib.parse.parse_qsl(query))
        date, seconds = given.get("X-Amz-Date", ""), given.get("X-Amz-Expires", "")
        signature = given.get("X-Amz-Signature", "").encode()
        if not hmac.compare_digest(signature, self._sign(digest, date, seconds).encode()):
            return _refusal(403, "SignatureDoesNotMatch", "The request signature does not match this link.")
        made = datetime.strptime(date, _DATE).replace(tzinfo=UTC)
        if (self._clock.now() - made).total_seconds() > int(seconds):
            return _refusal(403, "AccessDenied", "Request has expired")
        try:
            return Response(200, (("Content-Type", "application/zip"),), await self._blobs.get(digest))
        except BlobMissing:
            return _refusal(404, "NoSuchKey", "The specified key does not exist.")


def _refusal(status: int, code: str, message: str) -> Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(status, (("Content-Type", "application/xml"),), text.encode())
