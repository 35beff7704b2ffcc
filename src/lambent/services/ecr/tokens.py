"""Passwords of the registry: signed, so that nothing about them is stored.

A password is `BASE64URL(JSON).BASE64URL(HMAC-SHA256)`. One of GetAuthorizationToken opens a registry for twelve hours;
one in a download link opens one layer of one repository for an hour.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass

import orjson

from lambent.base.clock import Clock
from lambent.services.ecr.names import Registry

LOGIN_SECONDS = 12 * 3600  # as on AWS
LINK_SECONDS = 3600
USER = "AWS"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a password opens."""

    registry: Registry
    layer: str | None = None  # "REPOSITORY@DIGEST" of a download link; None: everything
    key: str = ""  # the access key of whoever it was given to: what they may do, it may


class Tokens:
    """Issues and checks."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        """`key`: 32 secret bytes that stay the same across restarts."""
        self._key = key
        self._clock = clock

    def issue(self, grant: Grant, seconds: int = LOGIN_SECONDS) -> tuple[str, float]:
        """(password, the second since the epoch at which it expires)."""
        expires = self._clock.time() + seconds
        claims = {"account": grant.registry.account, "region": grant.registry.region, "expires": expires}
        if grant.layer is not None:
            claims["layer"] = grant.layer
        if grant.key:
            claims["key"] = grant.key
        body = orjson.dumps(claims)
        return f"{_encode(body)}.{_encode(self._sign(body))}", expires

    def check(self, password: str) -> Grant | None:
        """What it opens; None when it is forged, damaged or too old."""
        body, _, signature = password.partition(".")
        try:
            claims_text, given = _decode(body), _decode(signature)
        except (binascii.Error, ValueError):
            return None
        if not hmac.compare_digest(given, self._sign(claims_text)):
            return None
        claims = orjson.loads(claims_text)
        if claims["expires"] < self._clock.time():
            return None
        return Grant(Registry(claims["account"], claims["region"]), claims.get("layer"), claims.get("key", ""))

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, b"ecr:" + body, hashlib.sha256)


def basic(header: str) -> str | None:
    """The password of an `Authorization: Basic` header for the user AWS; "" of one that names nobody."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    if colon and user == password == "":
        return ""  # what skopeo sends when it is asked for a login and has none
    return password if colon and user == USER else None


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def as_header(user: str, password: str) -> str:
    """What GetAuthorizationToken answers: the content of a Basic header."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()
