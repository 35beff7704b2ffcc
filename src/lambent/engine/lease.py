"""Who may run now: the concurrency of each account and region."""

from __future__ import annotations

from collections import Counter

from lambent.wire.errors import AwsError

ACCOUNT_CONCURRENCY = 1000  # AWS's default quota of a region


class Leases:
    """Counts the invocations that run at this moment."""

    def __init__(self, limit: int = ACCOUNT_CONCURRENCY) -> None:
        self._limit = limit
        self._running: Counter[tuple[str, str]] = Counter()

    def take(self, account: str, region: str) -> None:
        """Count one more. TooManyRequestsException (429) when the account's concurrency is used up."""
        key = (account, region)
        if self._running[key] >= self._limit:
            reason = "ConcurrentInvocationLimitExceeded"
            raise AwsError("TooManyRequestsException", "Rate Exceeded.", Type="User", Reason=reason)
        self._running[key] += 1

    def give_back(self, account: str, region: str) -> None:
        key = (account, region)
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]
