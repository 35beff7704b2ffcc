"""The runtimes that Lambda knows by name. Which of them this machine can run is the engine's knowledge."""

from __future__ import annotations

import hashlib

from lambent.control.records import partition_of
from lambent.wire.errors import AwsError, not_built

_PRINTED = (  # in the order in which AWS lists them in its refusals
    *("nodejs20.x", "python3.14", "provided.al2023", "python3.12", "python3.13", "nodejs24.x", "nodejs22.x"),
    *("java25", "python3.10", "python3.11", "java21", "ruby3.3", "ruby3.4", "ruby3.2", "python3.8", "python3.9"),
    *("java17", "nodejs16.x", "dotnet10", "dotnet8", "java11", "dotnet6", "nodejs18.x", "provided.al2", "java8.al2"),
)
# Supported likewise; they came after the refusal was recorded.
_NEWER = ("nodejs26.x", "python3.15", "java8.al2023", "java11.al2023", "java17.al2023", "ruby4.0")
SUPPORTED = _PRINTED + _NEWER
SNAP_START = frozenset(
    (
        *("java11", "java17", "java21", "java25", "java11.al2023", "java17.al2023"),
        *("python3.12", "python3.13", "python3.14", "python3.15", "dotnet8", "dotnet10"),
    )
)
RETIRED = frozenset(
    (
        *("nodejs", "nodejs4.3", "nodejs6.10", "nodejs8.10", "nodejs10.x", "nodejs12.x", "nodejs14.x"),
        *("nodejs4.3-edge", "java8", "python2.7", "python3.6", "python3.7", "dotnetcore1.0", "dotnetcore2.0"),
        *("dotnetcore2.1", "dotnetcore3.1", "go1.x", "ruby2.5", "ruby2.7", "provided"),
    )
)


def check(runtime: str) -> None:
    """Raises InvalidParameterValueException for a runtime that no function may have (any more)."""
    if runtime in SUPPORTED:
        return
    if runtime in RETIRED:
        message = (
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions."
            " We recommend you use a supported runtime while creating or updating functions."
        )
    elif runtime == "custom" or runtime.startswith("arn:"):
        raise not_built(f"customer-managed runtimes (Runtime={runtime})")
    else:
        message = (
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set:"
            f" [{', '.join(_PRINTED)}] or be a valid ARN"
        )
    raise AwsError("InvalidParameterValueException", message, Type="User")


def check_snap_start(runtime: str) -> None:
    """Raises InvalidParameterValueException for a runtime that AWS has no SnapStart for."""
    if runtime not in SNAP_START:
        problem = f"{runtime} is not supported for SnapStart enabled functions."
        raise AwsError("InvalidParameterValueException", problem, Type="User")


def version_arn(region: str, runtime: str) -> str:
    """A RuntimeVersionArn, the same for a runtime for ever: Lambent does not tell its builds apart."""
    build = hashlib.sha256(runtime.encode()).hexdigest()
    return f"arn:{partition_of(region)}:lambda:{region}::runtime:{build}"
