from __future__ import annotations

import pytest

from lambent.engine.lease import Leases
from lambent.wire.errors import AwsError


def test_the_account_concurrency_is_a_limit() -> None:
    leases = Leases(limit=2)
    leases.take("000000000000", "us-east-1")
    leases.take("000000000000", "us-east-1")
    with pytest.raises(AwsError) as refusal:
        leases.take("000000000000", "us-east-1")
    assert refusal.value.code == "TooManyRequestsException"
    assert refusal.value.message == "Rate Exceeded."
    assert refusal.value.fields["Reason"] == "ConcurrentInvocationLimitExceeded"
    leases.take("000000000000", "eu-west-1")
    leases.take("111111111111", "us-east-1")
    leases.give_back("000000000000", "us-east-1")
    leases.take("000000000000", "us-east-1")
