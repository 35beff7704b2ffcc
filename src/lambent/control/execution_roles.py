"""Execution roles: whether Lambda may act as the role that a function is to have.

Without authorisation (`auth = off`) a role need not exist, as its policies decide nothing: whatever is well formed is
taken. A role that is there must let Lambda in all the same, so that a template that AWS would refuse is refused here.
With authorisation the role must exist, in the caller's account. Source: "Granting a user permissions to pass a role" of
IAM's guide, and CreateFunction's reference.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from lambent.control.records import FunctionKey
from lambent.control.settings import invalid
from lambent.wire.errors import AwsError

SERVICE = "lambda.amazonaws.com"

Values = Mapping[str, tuple[str, ...]]
Trusts = Callable[[str, str, Values], Awaitable[bool | None]]
"""(a role's ARN, the service that would assume it, condition keys) → what its trust policy says; None: no such role."""


class ExecutionRoles:
    def __init__(self, trusts: Trusts, enforced: Callable[[], bool]) -> None:
        """`enforced` tells whether callers are authorised."""
        self._trusts = trusts
        self._enforced = enforced

    async def check(self, key: FunctionKey, parameters: Mapping[str, Any]) -> None:
        """Raises InvalidParameterValueException for a role that Lambda cannot assume. Nothing for a request without."""
        role = parameters.get("Role")
        if role is None:
            return
        account = role.split(":")[4]
        enforced = self._enforced()
        if enforced and account != key.account:
            raise AwsError("AccessDeniedException", "Cross-account pass role is not allowed.", status=403)
        context = {"aws:sourceaccount": (key.account,), "aws:sourcearn": (key.arn(),)}
        trusted = await self._trusts(role, SERVICE, context)
        if trusted is False or (trusted is None and enforced):
            raise invalid("The role defined for the function cannot be assumed by Lambda.")
