"""Who a caller is: whose access key they sign with. A key that the server has not handed out is the root user's."""

from __future__ import annotations

from lambent.services.iam.principals import Principal
from lambent.wire.operations import Caller
from lambent.wire.sigv4 import Accounts


def principal_of(accounts: Accounts, caller: Caller) -> Principal:
    issued = accounts.issued(caller.access_key_id)
    if issued is None or not issued.arn:
        return Principal(caller.account, f"arn:aws:iam::{caller.account}:root")
    return Principal(issued.account, issued.arn, issued.role or None)


def user_name_of(accounts: Accounts, caller: Caller) -> str | None:
    """The user that calls; None when it is the root user or a session."""
    issued = accounts.issued(caller.access_key_id)
    if issued is None or ":user/" not in issued.arn:
        return None
    return issued.arn.rsplit("/", 1)[1]
