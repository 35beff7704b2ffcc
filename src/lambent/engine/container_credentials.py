"""The credentials that a function asks for over HTTP, where variables of a snapshot would be old when it is used.

Source: "AWS_CONTAINER_CREDENTIALS_FULL_URI" of the SDKs' reference guide.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from lambent.base.clock import Clock
from lambent.engine.credentials import EXPIRY, LASTING


class ContainerCredentials:
    def __init__(
        self,
        clock: Clock,
        first: Mapping[str, str],
        renew: Callable[[], Mapping[str, str]],
        token: str | None = None,
    ) -> None:
        """`first` and what `renew` gives are environment variables by their names. `token`: the one to ask with, where
        the function knows it already."""
        self._clock = clock
        self._current = first
        self._issued = clock.time()
        self._renew = renew
        self.token = token or secrets.token_urlsafe(32)

    @property
    def variables(self) -> Mapping[str, str]:
        """What a function needs in order to ask."""
        return {"AWS_CONTAINER_AUTHORIZATION_TOKEN": self.token}

    def renew(self) -> None:
        self._current, self._issued = self._renew(), self._clock.time()

    def answer(self, token: str) -> Mapping[str, str] | None:
        """None for whoever has not got the token. New ones when those there are will soon have expired."""
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return None
        if self._clock.time() >= self._issued + EXPIRY:
            self.renew()
        return {
            "AccessKeyId": self._current.get("AWS_ACCESS_KEY_ID", ""),
            "SecretAccessKey": self._current.get("AWS_SECRET_ACCESS_KEY", ""),
            "Token": self._current.get("AWS_SESSION_TOKEN", ""),
            "Expiration": f"{datetime.fromtimestamp(self._issued + LASTING, UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
