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

A version that is published begins like a created function; where nothing has to be done for it, it is `ready` at once.
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


def published(latest: Function, version: str, revision_id: str, description: str | None) -> Function:
    """`latest` as a new version; without a `description` it has the same."""
    made = replace(
        latest,
        version=version,
        revision_id=revision_id,
        description=latest.description if description is None else description,
        source_description=latest.description,
        tags={},
    )
    return created(made)


def same(one: Function, other: Function) -> bool:
    """Whether code and configuration are the same; each may be $LATEST or a version."""
    return _content(one) == _content(other)


def _content(function: Function) -> Function:
    description = function.description if function.source_description is None else function.source_description
    plain = replace(
        function,
        version="",
        revision_id="",
        last_modified="",
        tags={},
        description=description,
        source_description=None,
    )
    return ready(plain, "")


def amended(function: Function, revision_id: str) -> Function:
    return replace(function, revision_id=revision_id)


def is_busy(function: Function) -> bool:
    """Whether work on it is under way."""
    return function.state == "Pending" or function.last_update_status == "InProgress"


def refuse_failed(function: Function) -> None:
    """Raises ResourceConflictException for a function that could not be made ready."""
    if function.state == "Failed":
        problem = f"The function is currently in the following state: {function.state}"
        raise AwsError(
            "ResourceConflictException", f"The operation cannot be performed at this time. {problem}", Type="User"
        )


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
