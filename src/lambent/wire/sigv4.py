"""Who signed a request: read from its signature, and all that `--auth off` asks. `signatures` verifies."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from lambent.base.http import Request
from lambent.wire.errors import AwsError

DEFAULT_ACCOUNT = "000000000000"
_ACCOUNT = re.compile(r"[0-9]{12}")
_V4 = "AWS4-HMAC-SHA256"
_USUAL = re.compile(_V4 + r" +Credential=([^,\s]+), *SignedHeaders=[^,\s]+, *Signature=[^,\s]+")  # as the SDKs write it


@dataclass(frozen=True, slots=True)
class Scope:
    """The credential scope of a signature; a SigV2 signature has only the key."""

    access_key_id: str
    region: str | None = None
    service: str | None = None


def _incomplete(what: str) -> AwsError:
    return AwsError("IncompleteSignatureException", what, status=400)


@lru_cache(maxsize=1024)
def _scope(credential: str) -> Scope:
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or not parts[0] or parts[4] != "aws4_request":
        wanted = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term"
        raise _incomplete(f"{wanted}, got '{credential}'")
    return Scope(parts[0], parts[2], parts[3])


def _from_header(header: str) -> Scope | None:
    if usual := _USUAL.fullmatch(header):
        return _scope(usual[1])
    algorithm, _, rest = header.partition(" ")
    if algorithm.startswith("AWS4-ECDSA"):
        raise AwsError("NotImplementedException", "Lambent does not implement SigV4A signatures yet.", status=501)
    if algorithm == "AWS":
        return Scope(rest.partition(":")[0])
    if algorithm != _V4:
        return None
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not fields.get(name):
            raise _incomplete(f"Authorization header requires '{name}' parameter. Authorization={algorithm}")
    return _scope(fields["Credential"])


def read(request: Request) -> Scope | None:
    """The scope of a signed or presigned request; None when it is unsigned.

    IncompleteSignatureException for a signature that cannot be read, 501 for SigV4A.
    """
    header = request.headers.get("authorization")
    if header is not None:
        return _from_header(header)
    query = request.query
    if "X-Amz-Credential=" in query or "AWSAccessKeyId=" in query:
        fields = dict(urllib.parse.parse_qsl(query))
        if "X-Amz-Credential" in fields:
            return _scope(fields["X-Amz-Credential"])
        if "AWSAccessKeyId" in fields:
            return Scope(fields["AWSAccessKeyId"])
    return None


@dataclass(frozen=True, slots=True)
class Issued:
    """Whose a key is that the server has handed out."""

    account: str
    arn: str = ""  # of the user or the session that it speaks as
    role: str = ""  # of a session: the ARN of its role
    secret: str = field(default="", repr=False)  # "": nothing signed with the key can be verified
    token: str = field(default="", repr=False)  # of a session: what must come with it
    expires: float | None = None  # seconds since the epoch
    policies: tuple[str, ...] = ()  # of a session: ARNs and texts of its policies
    active: bool = True

    @property
    def user(self) -> str:
        """The name of the user that it speaks as; "" for all others."""
        return self.arn.rsplit("/", 1)[1] if ":user/" in self.arn else ""


class Accounts:
    """Which account an access key speaks for, and as whom."""

    def __init__(self) -> None:
        self._issued: dict[str, Issued] = {}
        self.last_used: dict[str, tuple[float, str, str]] = {}
        """By key: the second since the epoch at which it last signed a request, the service and the region."""

    def issue(
        self,
        access_key_id: str,
        account: str,
        arn: str = "",
        role: str = "",
        *,
        secret: str = "",
        token: str = "",
        expires: float | None = None,
        policies: tuple[str, ...] = (),
        active: bool = True,
    ) -> None:
        """Remember a key that the server has handed out."""
        self._issued[access_key_id] = Issued(account, arn, role, secret, token, expires, policies, active)

    def replace(self, access_key_id: str, **changes: Any) -> None:
        """Change what is known of a key that was handed out."""
        if issued := self._issued.get(access_key_id):
            self._issued[access_key_id] = replace(issued, **changes)

    def forget(self, access_key_id: str) -> None:
        self._issued.pop(access_key_id, None)
        self.last_used.pop(access_key_id, None)

    def issued(self, access_key_id: str) -> Issued | None:
        """None for a key that the server has not handed out."""
        return self._issued.get(access_key_id)

    def account_of(self, access_key_id: str) -> str:
        """The account of an issued key; a key of 12 digits names its account; all others share one."""
        if issued := self._issued.get(access_key_id):
            return issued.account
        return access_key_id if _ACCOUNT.fullmatch(access_key_id) else DEFAULT_ACCOUNT
