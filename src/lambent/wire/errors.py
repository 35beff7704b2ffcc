"""Errors as AWS answers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class AwsError(Exception):
    """An error that becomes an AWS error response.

    `code` is the exception's name in the service model (`ResourceNotFoundException`); its HTTP status and whether
    the client or the service is at fault come from that shape. `status` is given only for codes that the model
    does not hold. `message` may be None: some of AWS's errors carry a null message. `fields` are further members
    of the error's body (`Reason`, `Type`); some of AWS's errors lack a `Type` that others of their code have: None.
    `headers` go with the response.
    """

    def __init__(
        self,
        code: str,
        message: str | None,
        *,
        status: int | None = None,
        headers: Sequence[tuple[str, str]] = (),
        **fields: Any,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers
        self.fields = fields


def not_built(what: str) -> AwsError:
    """The honest answer for what Lambent does not do yet: HTTP 501 naming it."""
    return AwsError("NotImplementedException", f"Lambent does not implement {what} yet.", status=501)
