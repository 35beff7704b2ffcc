"""Temporary credentials that the server has handed out, durable: a key speaks for its session after a restart too.

What a session may not do beyond its role (session policies) is kept with it. Secrets lie sealed under the root key.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database, Migration, Row
from lambent.base.sealing import seal, unseal
from lambent.wire.sigv4 import Accounts

MIGRATIONS = (
    Migration(
        "sts",
        1,
        "temporary credentials",
        (
            "CREATE TABLE sts_sessions (id TEXT PRIMARY KEY, account TEXT NOT NULL, arn TEXT NOT NULL,"
            " role TEXT NOT NULL, expires DOUBLE PRECISION NOT NULL, policies TEXT NOT NULL, sealed BLOB NOT NULL)",
            "CREATE INDEX sts_sessions_by_expiry ON sts_sessions (expires)",
        ),
    ),
)
_SECRET_BYTES, _TOKEN_BYTES = 30, 240


@dataclass(frozen=True, slots=True)
class Credentials:
    key: str  # "ASIA…"
    secret: str
    token: str
    expires: float  # seconds since the epoch


class Sessions:
    """Hands out credentials and remembers whose they are until they expire."""

    def __init__(self, db: Database, clock: Clock, accounts: Accounts, root_key: bytes) -> None:
        self._db = db
        self._clock = clock
        self._accounts = accounts
        self._root_key = root_key

    async def start(self) -> None:
        """Know the sessions of earlier runs again."""

        def work(connection: Connection) -> list[Row]:
            connection.execute("DELETE FROM sts_sessions WHERE expires <= ?", (self._clock.time(),))
            return connection.execute("SELECT id, account, arn, role, expires, policies, sealed FROM sts_sessions")

        for key, account, arn, role, expires, policies, sealed in await self._db.write(work):
            secret, token = orjson.loads(unseal(self._root_key, bytes(sealed), _about(key)))
            self._accounts.issue(
                key,
                account,
                arn,
                role,
                secret=secret,
                token=token,
                expires=expires,
                policies=tuple(orjson.loads(policies)),
            )

    async def begin(self, account: str, arn: str, role: str, seconds: int, policies: Sequence[str] = ()) -> Credentials:
        """Credentials that speak as `arn` for `seconds`; `policies` are ARNs and texts of session policies."""
        key = "ASIA" + base64.b32encode(bytes.fromhex(self._clock.token(10))).decode()
        now = self._clock.time()
        credentials = Credentials(
            key, secrets.token_urlsafe(_SECRET_BYTES), secrets.token_urlsafe(_TOKEN_BYTES), now + seconds
        )
        hidden = orjson.dumps([credentials.secret, credentials.token])
        row = (
            key,
            account,
            arn,
            role,
            credentials.expires,
            orjson.dumps(list(policies)).decode(),
            seal(self._root_key, hidden, _about(key)),
        )

        def work(connection: Connection) -> None:
            gone = connection.execute("DELETE FROM sts_sessions WHERE expires <= ? RETURNING id", (now,))
            connection.execute(
                "INSERT INTO sts_sessions (id, account, arn, role, expires, policies, sealed)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            connection.after_commit(lambda: self._let_go([old for (old,) in gone]))
            connection.after_commit(
                lambda: self._accounts.issue(
                    key,
                    account,
                    arn,
                    role,
                    secret=credentials.secret,
                    token=credentials.token,
                    expires=credentials.expires,
                    policies=tuple(policies),
                )
            )

        await self._db.write(work)
        return credentials

    def _let_go(self, expired: Sequence[str]) -> None:
        for old in expired:
            self._accounts.forget(old)


def _about(key: str) -> bytes:
    return f"session {key}".encode()
