"""Temporary credentials for execution environments."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping

from lambent.control.records import Function
from lambent.wire.sigv4 import Accounts

_KEY_LETTERS = string.ascii_uppercase + string.digits


class Credentials:
    """Keys of the shape that AWS gives; the server knows whose they are."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def issue(self, function: Function) -> Mapping[str, str]:
        key = "ASIA" + "".join(secrets.choice(_KEY_LETTERS) for _ in range(16))
        account, role = function.key.account, function.role.rpartition("/")[2]
        session = f"arn:aws:sts::{account}:assumed-role/{role}/{function.key.name}"
        self._accounts.issue(key, account, session, function.role)
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
            "AWS_SESSION_TOKEN": secrets.token_urlsafe(96),
        }

    def revoke(self, credentials: Mapping[str, str]) -> None:
        self._accounts.forget(credentials["AWS_ACCESS_KEY_ID"])
