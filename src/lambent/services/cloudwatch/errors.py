"""The metric service's errors, in its words."""

from __future__ import annotations

from lambent.wire.errors import AwsError


def invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message)


def combination(message: str) -> AwsError:
    return AwsError("InvalidParameterCombinationException", message)


def validation(message: str) -> AwsError:
    return AwsError("ValidationError", message, status=400)


def bad_token() -> AwsError:
    return AwsError("InvalidNextToken", "The specified nextToken is invalid.")
