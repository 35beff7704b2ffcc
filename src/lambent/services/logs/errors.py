"""The log service's errors, in its words."""

from __future__ import annotations

from lambent.wire.errors import AwsError


def invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)


def no_group() -> AwsError:
    return AwsError("ResourceNotFoundException", "The specified log group does not exist.")


def no_stream() -> AwsError:
    return AwsError("ResourceNotFoundException", "The specified log stream does not exist.")


def group_exists() -> AwsError:
    return AwsError("ResourceAlreadyExistsException", "The specified log group already exists")


def stream_exists() -> AwsError:
    return AwsError("ResourceAlreadyExistsException", "The specified log stream already exists")


def bad_token() -> AwsError:
    return invalid("The specified nextToken is invalid.")


def limit(message: str) -> AwsError:
    return AwsError("LimitExceededException", message)


def missing(message: str) -> AwsError:
    return AwsError("ResourceNotFoundException", message)
