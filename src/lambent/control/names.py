"""Which function, and which version or alias of it, a request names."""

from __future__ import annotations

import re

from lambent.control.records import LATEST, FunctionKey
from lambent.wire import arn
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Parameters

_NUMBER = re.compile(r"[0-9]+")
_REVISION = (
    "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the"
    " latest Revision Id"
)


def qualified(context: Context, parameters: Parameters) -> tuple[FunctionKey, str | None]:
    """The function, and its qualifier from the name or from `Qualifier`. Raises as `arn.parse` does."""
    named = arn.parse(parameters["FunctionName"], parameters.get("Qualifier"), context.caller)
    return FunctionKey(named.account, named.region, named.name), named.qualifier


def unqualified(context: Context, parameters: Parameters) -> FunctionKey:
    """The function, which must not be named as one of its versions or aliases."""
    named = arn.parse(parameters["FunctionName"], None, context.caller)
    if named.qualifier not in (None, LATEST):
        raise functions_only()
    return FunctionKey(named.account, named.region, named.name)


def functions_only() -> AwsError:
    return AwsError(
        "InvalidParameterValueException",
        "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation."
        " Please specify either a function name or an unqualified function ARN.",
        Type="User",
    )


def is_version(qualifier: str | None) -> bool:
    """Whether it names a version, not an alias; without a qualifier it is $LATEST."""
    return qualifier is None or qualifier.startswith("$") or _NUMBER.fullmatch(qualifier) is not None


def check_revision(given: str | None, current: str) -> None:
    """Raises PreconditionFailedException when `given` is another revision."""
    if given is not None and given != current:
        raise AwsError("PreconditionFailedException", _REVISION, Type="User")
