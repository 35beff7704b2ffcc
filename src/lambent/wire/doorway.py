"""The gateway as functions see it: AWS's API, and nothing of Lambent's own.

Function code is hostile. What it may ask for with its credentials is the gateway's to decide, as for any caller; pages
that show other functions' names, logs and states are not AWS's and do not exist here.
"""

from __future__ import annotations

from collections.abc import Sequence

from lambent.base.http import Exchange, Request, Response
from lambent.wire import serializer
from lambent.wire.errors import AwsError
from lambent.wire.gateway import Gateway


class Doorway:
    """An HTTP application."""

    def __init__(self, gateway: Gateway, open_to_all: Sequence[str] = ()) -> None:
        """`open_to_all` are the gateway's own paths that are safe in anybody's hands, by how they begin."""
        self._gateway = gateway
        self._open = tuple(open_to_all)

    def admit(self, request: Request) -> Response | None:
        refusal = None if self._closed(request) else self._gateway.admit(request)
        return self._refusal() if self._closed(request) else refusal  # the gateway may have found another path

    def _closed(self, request: Request) -> bool:
        return self._gateway.is_own(request) and not request.path.startswith(self._open)

    @staticmethod
    def _refusal() -> Response:
        error = AwsError(
            "AccessDeniedException", "Functions reach AWS's API here, not the server's own pages.", status=403
        )
        return serializer.serialize_error(None, error, "")

    def too_large(self, request: Request) -> Response:
        return self._gateway.too_large(request)

    def malformed(self, reason: str) -> Response:
        return self._gateway.malformed(reason)

    def handle(self, exchange: Exchange) -> None:
        if self._closed(exchange.request):
            exchange.respond(self._refusal())
        else:
            self._gateway.handle(exchange)
