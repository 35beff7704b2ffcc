"""The credentials that a function asks for over HTTP, where variables of a snapshot would be old when it is used.

Source: "AWS_CONTAINER_CREDENTIALS_FULL_URI" of the SDKs' reference guide.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta

from lambent.base.clock import Clock

_LAST = timedelta(hours=6)  # what a restored environment is told


class ContainerCredentials:
    def __init__(self, clock: Clock, first: Mapping[str, str], renew: Callable[[], Mapping[str, str]]) -> None:
        """`first` and what `renew` gives are environment variables by their names."""
        self._clock = clock
        self._current = first
        self._renew = renew
        self._token = secrets.token_urlsafe(32)

    @property
    def variables(self) -> Mapping[str, str]:
        """What a function needs in order to ask."""
        return {"AWS_CONTAINER_AUTHORIZATION_TOKEN": self._token}

    def renew(self) -> None:
        self._current = self._renew()

    def answer(self, token: str) -> Mapping[str, str] | None:
        """None for whoever has not got the token."""
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            return None
        return {
            "AccessKeyId": self._current.get("AWS_ACCESS_KEY_ID", ""),
            "SecretAccessKey": self._current.get("AWS_SECRET_ACCESS_KEY", ""),
            "Token": self._current.get("AWS_SESSION_TOKEN", ""),
            "Expiration": f"{self._clock.now() + _LAST:%Y-%m-%dT%H:%M:%SZ}",
        }
