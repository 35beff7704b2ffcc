"""Time and identifiers: everything that is not deterministic comes from here, so that tests can hold it still."""

from __future__ import annotations

import os
import secrets
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The only source of time and randomness for the rest of the house."""

    def now(self) -> datetime:
        """The current time, aware, in UTC."""

    def time(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""

    def uuid(self) -> str:
        """A fresh random UUID in its 36-character form."""

    def token(self, nbytes: int = 16) -> str:
        """A fresh secret of `nbytes` random bytes, in hexadecimal."""


class SystemClock:
    """The machine's own clock and randomness."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def uuid(self) -> str:
        text = os.urandom(16).hex()  # version 4 (RFC 9562), without the objects that uuid.uuid4 makes
        variant = "89ab"[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"

    def token(self, nbytes: int = 16) -> str:
        return secrets.token_hex(nbytes)
