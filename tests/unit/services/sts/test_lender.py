"""Credentials of execution environments."""

from __future__ import annotations

import re

import pytest

from lambent.services.sts.lender import Lender
from lambent.services.sts.sessions import Credentials
from lambent.testing import FakeClock
from lambent.wire.sigv4 import Accounts, Issued

ACCOUNT = "111111111111"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/service/runner"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/runner/f"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def lender(clock: FakeClock, accounts: Accounts | None = None, root: bytes = bytes(32)) -> Lender:
    return Lender(clock, accounts or Accounts(), root)


def issued(lent: Credentials) -> Issued:
    return Issued(ACCOUNT, SESSION, ROLE, lent.secret, lent.token, lent.expires)


def test_a_living_environments_key_is_known(clock: FakeClock) -> None:
    accounts = Accounts()
    here = lender(clock, accounts)
    lent = here.lend(ACCOUNT, SESSION, ROLE, 100)
    assert re.fullmatch(r"ASIA[A-Z2-7]{16}", lent.key)
    assert len(lent.secret) == 40
    assert accounts.issued(lent.key) == issued(lent)
    here.take_back(lent.key)
    assert accounts.issued(lent.key) is None


def test_the_token_says_it_all_even_to_the_next_server(clock: FakeClock) -> None:
    lent = lender(clock).lend(ACCOUNT, SESSION, ROLE, 100)
    assert lender(clock).recognise(lent.key, lent.token) == (lent, issued(lent))
    clock.advance(100)
    assert lender(clock).recognise(lent.key, lent.token) is None, "expired"


def test_nothing_else_is_recognised(clock: FakeClock) -> None:
    here = lender(clock)
    lent, other = here.lend(ACCOUNT, SESSION, ROLE, 100), here.lend(ACCOUNT, SESSION, ROLE, 100)
    damaged = lent.token[:50] + ("A" if lent.token[50] != "A" else "B") + lent.token[51:]
    for key, token in ((other.key, lent.token), (lent.key, damaged), (lent.key, ""), (lent.key, "é"), ("", lent.token)):
        assert here.recognise(key, token) is None
    assert lender(clock, root=bytes([1]) * 32).recognise(lent.key, lent.token) is None, "of another server"
    assert lent.secret not in lent.token
