"""The names that a function goes by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.wire import arn
from lambent.wire.arn import FunctionName
from lambent.wire.errors import AwsError
from lambent.wire.operations import Caller

CALLER = Caller("111111111111", "us-east-1")
PREFIX = "arn:aws:lambda:us-east-1:111111111111"


@pytest.mark.parametrize(
    "identifier",
    [
        "f",
        "function:f",
        "111111111111:f",
        "111111111111:function:f",
        "us-east-1:111111111111:function:f",
        f"{PREFIX}:function:f",
        "arn:aws-us-gov:lambda:us-east-1:111111111111:function:f",
    ],
)
@pytest.mark.parametrize("qualifier", [None, "live", "7", "$LATEST"])
def test_every_form_with_and_without_a_qualifier(identifier: str, qualifier: str | None) -> None:
    expected = FunctionName("111111111111", "us-east-1", "f", qualifier)
    suffix = "" if qualifier is None else f":{qualifier}"
    assert arn.parse(identifier + suffix, None, CALLER) == expected
    assert arn.parse(identifier, qualifier, CALLER) == expected
    assert arn.parse(identifier + suffix, qualifier, CALLER) == expected


@pytest.mark.parametrize(
    ("identifier", "name", "qualifier"),
    [
        ("function", "function", None),
        ("function:function", "function", None),
        ("f:function", "f", "function"),
        ("111111111111", "111111111111", None),
        ("111111111111:live", "live", None),
        ("f.with.dots", "f.with.dots", None),
        ("f:$LATEST.PUBLISHED", "f", "$LATEST.PUBLISHED"),
    ],
)
def test_names_that_look_like_something_else(identifier: str, name: str, qualifier: str | None) -> None:
    found = arn.parse(identifier, None, CALLER)
    assert (found.name, found.qualifier) == (name, qualifier)


def _refusal(identifier: str, qualifier: str | None = None) -> AwsError:
    with pytest.raises(AwsError) as caught:
        arn.parse(identifier, qualifier, CALLER)
    return caught.value


def test_functions_of_another_region() -> None:
    error = _refusal("arn:aws:lambda:ap-southeast-1:111111111111:function:f")
    assert error.code == "ResourceNotFoundException"
    assert error.message == "Functions from 'ap-southeast-1' are not reachable in this region ('us-east-1')"


def test_functions_of_another_account() -> None:
    error = _refusal("arn:aws:lambda:us-east-1:222222222222:function:f")
    assert (error.code, error.message, error.status) == ("AccessDeniedException", None, 403)


def test_the_region_is_looked_at_first() -> None:
    assert _refusal("arn:aws:lambda:eu-west-1:222222222222:function:f").code == "ResourceNotFoundException"


def test_two_different_qualifiers() -> None:
    error = _refusal("f:1", "2")
    assert error.code == "InvalidParameterValueException"
    assert error.message == "The derived qualifier from the function name does not match the specified qualifier."


@given(st.text(alphabet="arn:wslambdfuctio$LATES.-_0123456789é\n", max_size=80))
def test_any_identifier_is_resolved_or_refused(identifier: str) -> None:
    try:
        found = arn.parse(identifier, None, CALLER)
    except AwsError as error:
        assert error.code in ("ResourceNotFoundException", "AccessDeniedException")
    else:
        assert (found.account, found.region) == ("111111111111", "us-east-1")
        assert found.name in identifier
