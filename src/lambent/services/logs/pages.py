"""Which group a request means, and pages of a list that is in the order of some key."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson

from lambent.services.logs import errors
from lambent.services.logs.groups import Group
from lambent.services.logs.records import GroupKey
from lambent.services.logs.shelf import Shelf
from lambent.wire.operations import Caller, Parameters

T = TypeVar("T")
_ARN = re.compile(r"arn:aws[\w-]*:logs:([a-z0-9-]+):(\d{12}):log-group:([^:*]+)(?::\*)?")


def own(caller: Caller, name: str) -> GroupKey:
    return GroupKey(caller.account, caller.region, name)


def of_arn(arn: str) -> GroupKey | None:
    """The group that an ARN names, with `:*` or without."""
    match = _ARN.fullmatch(arn)
    return None if match is None else GroupKey(match[2], match[1], match[3])


def meant(caller: Caller, parameters: Parameters) -> GroupKey:
    """By `logGroupName` or by `logGroupIdentifier`, a name or an ARN."""
    name, identifier = parameters.get("logGroupName"), parameters.get("logGroupIdentifier")
    if name is not None and identifier is not None:
        raise errors.invalid("LogGroup name and LogGroup ARN are mutually exclusive parameters.")
    if name is not None:
        return own(caller, name)
    if identifier is None:
        raise errors.invalid("Either logGroupName or logGroupIdentifier must be specified.")
    if not identifier.startswith("arn:"):
        return own(caller, identifier)
    key = of_arn(identifier)
    if key is None:
        raise errors.invalid(f"The logGroupIdentifier {identifier} is not valid.")
    if (key.account, key.region) != (caller.account, caller.region):
        raise errors.no_group()
    return key


def demand(shelf: Shelf, key: GroupKey) -> Group:
    """ResourceNotFoundException."""
    group = shelf.groups.get(key)
    if group is None:
        raise errors.no_group()
    return group


def page(
    found: Sequence[T], key: Callable[[T], Any], most: int, token: str | None, *, descending: bool = False
) -> tuple[list[T], dict[str, Any]]:
    """Up to `most` of `found` behind `token`, and `nextToken` when more follow.

    A token stands for a place in the order: what comes and goes between pages shifts nothing.
    """
    ordered = sorted(found, key=key, reverse=descending)
    if token is not None:
        place = _place(token)
        try:
            ordered = [one for one in ordered if (key(one) < place if descending else key(one) > place)]
        except TypeError:  # a token of another list
            raise errors.bad_token() from None
    shown = ordered[:most]
    if len(ordered) <= most:
        return shown, {}
    return shown, {"nextToken": base64.urlsafe_b64encode(orjson.dumps(key(shown[-1]))).decode()}


def _place(token: str) -> Any:
    try:
        value = orjson.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        raise errors.bad_token() from None
    return tuple(value) if isinstance(value, list) else value
