"""The names that a Lambda function goes by: a name, a partial ARN, a full ARN, each with or without a qualifier."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from lambent.wire.errors import AwsError
from lambent.wire.operations import Caller

_IDENTIFIER = re.compile(
    r"(?:arn:(?P<partition>aws[a-zA-Z-]*):lambda:)?"
    r"(?:(?P<region>(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?"
    r"(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[a-zA-Z0-9-_.]+)(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)


@dataclass(frozen=True, slots=True)
class FunctionName:
    """Whose function, which one, and which version or alias of it."""

    account: str
    region: str
    name: str
    qualifier: str | None


@lru_cache(maxsize=1024)
def parse(identifier: str, qualifier: str | None, caller: Caller) -> FunctionName:
    """Resolve `identifier` as `caller` sees it; `qualifier` is the request's own.

    Errors as AWS answers them: ResourceNotFoundException for another region, AccessDeniedException (with a null
    message) for another account unless the caller is proven (then the gate decides),
    InvalidParameterValueException when two different qualifiers are given. The identifier is expected to have passed
    the validation of its pattern.
    """
    match = _IDENTIFIER.fullmatch(identifier)
    if match is None:
        raise AwsError("ResourceNotFoundException", f"Function not found: {identifier}", Type="User")
    region = match["region"] or caller.region
    if region != caller.region:
        message = f"Functions from '{region}' are not reachable in this region ('{caller.region}')"
        raise AwsError("ResourceNotFoundException", message, Type="User")
    account = match["account"] or caller.account
    if account != caller.account and not caller.proven:
        raise AwsError("AccessDeniedException", None, status=403)
    derived = match["qualifier"]
    if derived and qualifier and derived != qualifier:
        message = "The derived qualifier from the function name does not match the specified qualifier."
        raise AwsError("InvalidParameterValueException", message, Type="User")
    return FunctionName(account, region, match["name"], qualifier or derived)
