"""Pages of a list that is in the order of some name."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from lambent.services.ecr import errors
from lambent.wire.operations import Parameters

T = TypeVar("T")
Fetch = Callable[[str, int], Awaitable[list[T]]]
"""(name behind which to start, how many at most) → what follows, in order."""


async def page(
    parameters: Parameters, default: int, fetch: Fetch[T]
) -> tuple[list[T], Callable[[Callable[[T], str]], dict[str, Any]]]:
    """Up to `maxResults` entries, and what makes `nextToken` of them when more follow.

    A token stands for a place in the order: what comes and goes between pages shifts nothing.
    """
    most = parameters.get("maxResults", default)
    found = await fetch(_place(parameters.get("nextToken")), most + 1)
    shown = found[:most]

    def token(name_of: Callable[[T], str]) -> dict[str, Any]:
        if len(found) <= most:
            return {}
        return {"nextToken": base64.urlsafe_b64encode(name_of(shown[-1]).encode()).decode()}

    return shown, token


def _place(token: str | None) -> str:
    if not token:
        return ""
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise errors.invalid("'nextToken' failed to satisfy constraint: 'Invalid next token'") from None
