from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from lambent.control.records import FunctionKey
from lambent.engine.lease import Leases, NoReservations
from lambent.wire.errors import AwsError

KEY = FunctionKey("000000000000", "us-east-1", "f")
OTHER = FunctionKey("000000000000", "us-east-1", "g")


@dataclass
class Limits:
    reservations: dict[FunctionKey, int] = field(default_factory=dict)
    provisioned: dict[FunctionKey, int] = field(default_factory=dict)
    left: int = 1000

    def reserved(self, key: FunctionKey) -> int | None:
        return self.reservations.get(key)

    def requested(self, key: FunctionKey) -> int:
        return self.provisioned.get(key, 0)

    def unreserved(self, account: str, region: str) -> int:
        return self.left


def throttled(leases: Leases, key: FunctionKey) -> str:
    with pytest.raises(AwsError) as refusal:
        leases.take(key)
    assert (refusal.value.code, refusal.value.message) == ("TooManyRequestsException", "Rate Exceeded.")
    return str(refusal.value.fields["Reason"])


def test_the_account_concurrency_is_a_limit() -> None:
    leases = Leases(NoReservations(2))
    leases.take(KEY)
    leases.take(OTHER)
    assert throttled(leases, KEY) == "ConcurrentInvocationLimitExceeded"
    leases.take(FunctionKey("000000000000", "eu-west-1", "f"))
    leases.take(FunctionKey("111111111111", "us-east-1", "f"))
    leases.give_back(OTHER, True)
    assert leases.take(KEY) is True


def test_a_reservation_is_the_functions_own_and_its_limit() -> None:
    leases = Leases(Limits({KEY: 2}, left=1))
    assert [leases.take(KEY), leases.take(KEY)] == [False, False]
    assert throttled(leases, KEY) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert leases.take(OTHER) is True
    assert throttled(leases, OTHER) == "ConcurrentInvocationLimitExceeded"
    leases.give_back(KEY, False)
    assert leases.take(KEY) is False


def test_a_reservation_of_nothing_stops_the_function() -> None:
    assert throttled(Leases(Limits({KEY: 0})), KEY) == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_what_is_provisioned_takes_from_the_reservation() -> None:
    leases = Leases(Limits({KEY: 3}, {KEY: 2}))
    leases.take(KEY)
    assert throttled(leases, KEY) == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_a_reservation_that_changes_while_invocations_run_loses_no_count() -> None:
    limits = Limits(left=1)
    leases = Leases(limits)
    shared = leases.take(KEY)
    limits.reservations[KEY] = 1
    own = leases.take(KEY)
    leases.give_back(KEY, shared)
    leases.give_back(KEY, own)
    assert leases.take(OTHER) is True
    assert leases.take(KEY) is False
