"""Roles that Lambda can assume, and others."""

from __future__ import annotations

import pytest

from .lab import ACCOUNT, FRIEND, ROLE, Lab

OTHER = f"arn:aws:iam::{ACCOUNT}:role/other"
FOREIGN = f"arn:aws:iam::{FRIEND}:role/theirs"
REFUSED = ("InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda.")


async def refusal(lab: Lab, operation: str, **members: object) -> tuple[str, str]:
    error = await lab.refusal(operation, **members)
    return error.code, error.message


async def test_without_authorisation_a_role_need_not_exist(lab: Lab) -> None:
    await lab.create("f")
    await lab.ready("f")
    for role in (OTHER, FOREIGN):
        await lab.call("UpdateFunctionConfiguration", FunctionName="f", Role=role)
        await lab.ready("f")


@pytest.mark.parametrize("authorised", [False, True])
async def test_a_role_that_does_not_let_lambda_in_is_refused(lab: Lab, authorised: bool) -> None:
    lab.authorised, lab.roles = authorised, {ROLE: False}
    assert await refusal(lab, "create", name="f") == REFUSED
    assert (await lab.call("ListFunctions"))["Functions"] == []
    lab.roles = {ROLE: True, OTHER: False}
    await lab.create("f")
    await lab.ready("f")
    assert await refusal(lab, "UpdateFunctionConfiguration", FunctionName="f", Role=OTHER) == REFUSED
    await lab.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=9)  # passes no role


async def test_with_authorisation_the_role_must_be_there_in_the_callers_account(lab: Lab) -> None:
    lab.authorised = True
    assert await refusal(lab, "create", name="f") == REFUSED
    lab.roles = {FOREIGN: True}
    wanted = ("AccessDeniedException", "Cross-account pass role is not allowed.")
    assert await refusal(lab, "create", name="f", Role=FOREIGN) == wanted
