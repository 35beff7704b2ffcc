"""Temporary credentials for execution environments: those of the function's role."""

from __future__ import annotations

from collections.abc import Mapping

from lambent.control.records import Function
from lambent.engine.credentials import LASTING
from lambent.services.sts.lender import Lender

_SHORTEST = 2  # characters of a session's name
_FILLING = "@lambda_function"  # source: a recorded session of a function whose name has one letter


class Credentials:
    def __init__(self, lender: Lender) -> None:
        self._lender = lender

    def issue(self, function: Function) -> Mapping[str, str]:
        account, role, name = function.key.account, function.role.rpartition("/")[2], function.key.name
        session = name if len(name) >= _SHORTEST else name + _FILLING
        arn = f"arn:aws:sts::{account}:assumed-role/{role}/{session}"
        lent = self._lender.lend(account, arn, function.role, LASTING)
        return {
            "AWS_ACCESS_KEY_ID": lent.key,
            "AWS_SECRET_ACCESS_KEY": lent.secret,
            "AWS_SESSION_TOKEN": lent.token,
        }

    def revoke(self, credentials: Mapping[str, str]) -> None:
        self._lender.take_back(credentials["AWS_ACCESS_KEY_ID"])
