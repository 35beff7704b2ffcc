"""Passwords of the registry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.services.ecr import tokens
from lambent.services.ecr.names import Registry
from lambent.services.ecr.tokens import LOGIN_SECONDS, Grant, Tokens
from lambent.testing import FakeClock

GRANT = Grant(Registry("111111111111", "us-east-1"))


def test_what_was_issued_opens():
    issuer = Tokens(b"k" * 32, FakeClock())
    for grant in (GRANT, Grant(GRANT.registry, "app@sha256:x")):
        password, _expires = issuer.issue(grant)
        assert issuer.check(password) == grant


def test_it_expires():
    clock = FakeClock()
    issuer = Tokens(b"k" * 32, clock)
    password, expires = issuer.issue(GRANT)
    assert expires == clock.time() + LOGIN_SECONDS
    clock.advance(LOGIN_SECONDS - 1)
    assert issuer.check(password) == GRANT
    clock.advance(2)
    assert issuer.check(password) is None


def test_another_server_s_is_worth_nothing():
    clock = FakeClock()
    password, _expires = Tokens(b"k" * 32, clock).issue(GRANT)
    assert Tokens(b"j" * 32, clock).check(password) is None


@given(st.text(max_size=60), st.integers(0, 200), st.characters())
def test_nothing_else_opens(text, place, letter):
    issuer = Tokens(b"k" * 32, FakeClock())
    password, _expires = issuer.issue(GRANT)
    changed = password[:place] + letter + password[place + 1 :]
    assert issuer.check(text) is None
    assert issuer.check(changed) is None or tokens._decode(changed.partition(".")[2]) == tokens._decode(
        password.partition(".")[2]
    )


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !", "Bearer QVdTOng=", "Basic Zm9vOmJhcg==", "Basic QVdT", "Basic /w=="]
)
def test_headers_without_a_password_for_aws(header):
    assert tokens.basic(header) is None


def test_a_header_that_names_nobody():
    assert tokens.basic("Basic Og==") == ""


def test_a_header():
    assert tokens.basic("Basic " + tokens.as_header("AWS", "a:b")) == "a:b"
