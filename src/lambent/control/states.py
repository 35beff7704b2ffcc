"""The states of a function, one event a function. `LastUpdateStatus` stands in the second column.

| event    | from                | to                                                           |
|----------|---------------------|--------------------------------------------------------------|
| created  | nothing             | Pending                           | none                     |
| updating | Active, settled     | Active                            | InProgress               |
| updating | Failed              | Pending                           | InProgress               |
| ready    | Pending, InProgress | Active                            | Successful               |
| failed   | Pending             | Failed, with the reason           | Failed, with the reason  |
| failed   | InProgress          | Active: the old code still serves | Failed, with the reason  |
| amended  | any                 | unchanged                         | unchanged                |

Each also gives the function a new revision id. Anything else is refused, see `refuse_busy`.
"""

from __future__ import annotations

from dataclasses import replace

from lambent.control.records import Function
from lambent.wire.errors import AwsError

_REASON = "The function is being created."  # AWS says so of updates too
_CODE = "Creating"


def created(function: Function) -> Function:
    return replace(
        function,
        state="Pending",
        state_reason=_REASON,
        state_reason_code=_CODE,
        last_update_status=None,
        last_update_status_reason=None,
        last_update_status_reason_code=None,
    )


def updating(function: Function, revision_id: str) -> Function:
    started = replace(
        function,
        revision_id=revision_id,
        last_update_status="InProgress",
        last_update_status_reason=_REASON,
        last_update_status_reason_code=_CODE,
    )
    if function.state == "Active":
        return started
    return replace(started, state="Pending", state_reason=_REASON, state_reason_code=_CODE)


def ready(function: Function, revision_id: str) -> Function:
    return replace(
        function,
        revision_id=revision_id,
        state="Active",
        state_reason=None,
        state_reason_code=None,
        last_update_status="Successful",
        last_update_status_reason=None,
        last_update_status_reason_code=None,
    )


def failed(function: Function, revision_id: str, reason_code: str, reason: str) -> Function:
    ended = replace(
        function,
        revision_id=revision_id,
        last_update_status="Failed",
        last_update_status_reason=reason,
        last_update_status_reason_code=reason_code,
    )
    if function.state == "Active":
        return ended
    return replace(ended, state="Failed", state_reason=reason, state_reason_code=reason_code)


def amended(function: Function, revision_id: str) -> Function:
    return replace(function, revision_id=revision_id)


def is_busy(function: Function) -> bool:
    """Whether work on it is under way."""
    return function.state == "Pending" or function.last_update_status == "InProgress"


def refuse_busy(function: Function) -> None:
    """Raises ResourceConflictException while the function cannot be changed."""
    problem = "The operation cannot be performed at this time. "
    if function.state == "Pending":
        problem += f"The function is currently in the following state: {function.state}"
    elif function.last_update_status == "InProgress":
        problem += f"An update is in progress for resource: {function.arn}"
    else:
        return
    raise AwsError("ResourceConflictException", problem, Type="User")
