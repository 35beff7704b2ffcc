"""Who may run now: the concurrency of each account and region, and what functions have reserved of it."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from lambent.control.records import FunctionKey
from lambent.wire.errors import AwsError

ACCOUNT_CONCURRENCY = 1000  # AWS's default quota of a region


class Limits(Protocol):
    """What the control plane says about concurrency."""

    def reserved(self, key: FunctionKey) -> int | None:
        """How many invocations of the function may run at once; None when nothing is reserved."""

    def requested(self, key: FunctionKey) -> int:
        """How many environments are provisioned for versions of the function; they take from its reservation."""

    def unreserved(self, account: str, region: str) -> int:
        """How many invocations of functions without a reservation may run at once."""


class NoReservations:
    """Nothing is reserved: all functions share the account's concurrency."""

    def __init__(self, limit: int = ACCOUNT_CONCURRENCY) -> None:
        self._limit = limit

    def reserved(self, key: FunctionKey) -> int | None:
        return None

    def requested(self, key: FunctionKey) -> int:
        return 0

    def unreserved(self, account: str, region: str) -> int:
        return self._limit


class Leases:
    """Counts the invocations that run at this moment outside of provisioned environments."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or NoReservations()
        self._shared: Counter[tuple[str, str]] = Counter()
        self._reserved: Counter[FunctionKey] = Counter()

    def take(self, key: FunctionKey) -> bool:
        """Count one more; whether it comes from what all functions share, which `give_back` wants to know.

        TooManyRequestsException (429) when that, or the function's own reservation, is used up.
        """
        reserved = self._limits.reserved(key)
        if reserved is None:
            place = (key.account, key.region)
            if self._shared[place] >= self._limits.unreserved(*place):
                raise _throttled("ConcurrentInvocationLimitExceeded")
            self._shared[place] += 1
            return True
        if self._reserved[key] >= reserved - self._limits.requested(key):
            raise _throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
        self._reserved[key] += 1
        return False

    def give_back(self, key: FunctionKey, shared: bool) -> None:
        if shared:
            place = (key.account, key.region)
            self._shared[place] -= 1
            if not self._shared[place]:
                del self._shared[place]
            return
        self._reserved[key] -= 1
        if not self._reserved[key]:
            del self._reserved[key]


def _throttled(reason: str) -> AwsError:
    return AwsError("TooManyRequestsException", "Rate Exceeded.", Type="User", Reason=reason)
