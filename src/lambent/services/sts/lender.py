"""Credentials of execution environments: they carry what they are, so nothing is written when one starts.

The session token holds the session, sealed under the root key, as AWS's tokens hold theirs. So credentials can be
recognised for as long as they last: after a restart of the server, and after their environment has ended, when a link
that it signed is still good.
"""

from __future__ import annotations

import base64
import secrets

import orjson

from lambent.base.clock import Clock
from lambent.base.sealing import SealBroken, seal, unseal
from lambent.services.sts.sessions import Credentials
from lambent.wire.sigv4 import Accounts, Issued

_ABOUT = b"credentials of an execution environment"
_SECRET_BYTES = 30


class Lender:
    def __init__(self, clock: Clock, accounts: Accounts, root_key: bytes) -> None:
        """`accounts` knows whose the keys of living environments are, whatever the caller proves."""
        self._clock = clock
        self._accounts = accounts
        self._root_key = root_key

    def lend(self, account: str, arn: str, role: str, seconds: int) -> Credentials:
        """Credentials that speak as the session `arn` of `role` for `seconds`."""
        key = "ASIA" + base64.b32encode(bytes.fromhex(self._clock.token(10))).decode()
        secret, expires = secrets.token_urlsafe(_SECRET_BYTES), self._clock.time() + seconds
        sealed = seal(self._root_key, orjson.dumps([key, secret, account, arn, role, expires]), _ABOUT)
        token = base64.b64encode(sealed).decode()
        self._accounts.issue(key, account, arn, role, secret=secret, token=token, expires=expires)
        return Credentials(key, secret, token, expires)

    def take_back(self, key: str) -> None:
        """Their environment has ended: from now on only who shows the token is recognised."""
        self._accounts.forget(key)

    def recognise(self, key: str, token: str) -> tuple[Credentials, Issued] | None:
        """What was lent as `key` with the session token `token`; None for anything else, and when it has expired."""
        try:
            sealed = base64.b64decode(token, validate=True)
            found, secret, account, arn, role, expires = orjson.loads(unseal(self._root_key, sealed, _ABOUT))
        except (ValueError, SealBroken):
            return None
        if found != key or expires <= self._clock.time():
            return None
        return Credentials(key, secret, token, expires), Issued(account, arn, role, secret, token, expires)

    async def recall(self, key: str, token: str) -> bool:
        """Whether the key was lent, before the server started or to an environment that has ended. It is known then."""
        found = self.recognise(key, token)
        if found is None:
            return False
        lent, issued = found
        self._accounts.issue(
            key,
            issued.account,
            issued.arn,
            issued.role,
            secret=lent.secret,
            token=token,
            expires=lent.expires,
        )
        return True
