"""What CreateFunction and UpdateFunctionConfiguration may set: checked in AWS's words, then applied.

The wire has checked everything against the service model; here is what the model does not say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from lambent.control import runtimes
from lambent.control.records import Function, LoggingConfig
from lambent.wire.errors import AwsError, not_built

MOST_TAGS = 50
_SYSTEM_TAG = "aws:"
_ENVIRONMENT_BYTES = 4096  # of compact JSON
_MOST = (  # member, path in messages, limit of functions that are not on Managed Instances
    (("Timeout",), "timeout", 900),
    (("MemorySize",), "memorySize", 10_240),
    (("EphemeralStorage", "Size"), "ephemeralStorage.size", 10_240),
)
_SNAPSHOT_STORAGE = 512  # MiB of /tmp that a function with SnapStart may have
_RESERVED = frozenset(
    (
        *("_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV"),
        *("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION"),
        *("AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"),
        *("AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR"),
    )
)
_NOT_BUILT = {
    "PublishTo": "$LATEST.PUBLISHED, which belongs to capacity providers (PublishTo)",
    "CapacityProviderConfig": "capacity providers (CapacityProviderConfig)",
    "DurableConfig": "durable functions (DurableConfig)",
    "RuntimeConfig": "customer-managed runtimes (RuntimeConfig)",
    "AcceleratorConfig": "accelerators (AcceleratorConfig)",
}


def invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message, Type="User")


def check(parameters: Mapping[str, Any], region: str) -> None:
    """Raises for settings that no function in `region` may have, whatever it has now."""
    refuse_not_built(parameters)
    _check_limits(parameters)
    if "Runtime" in parameters:
        runtimes.check(parameters["Runtime"])
    check_tags(parameters.get("Tags", {}))
    _check_dead_letters(parameters.get("DeadLetterConfig", {}).get("TargetArn"))
    _check_environment(parameters.get("Environment", {}).get("Variables", {}))


def refuse_not_built(parameters: Mapping[str, Any]) -> None:
    """An honest answer for what would be kept and then not done. Empty values ask for nothing."""
    for member, what in _NOT_BUILT.items():
        if parameters.get(member):
            raise not_built(what)


def check_package(parameters: Mapping[str, Any], package_type: str) -> None:
    """Raises for settings that belong to functions of the other package type."""
    if package_type == "Image":
        if any(parameters.get(member) for member in ("Handler", "Runtime", "Layers")):
            raise invalid(
                "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."
            )
        if parameters.get("SnapStart", {}).get("ApplyOn", "None") != "None":
            raise invalid("SnapStart is not supported for functions with packageType Image.")
    elif parameters.get("ImageConfig"):
        raise invalid("ImageConfig is not supported for functions with packageType Zip.")


def _check_limits(parameters: Mapping[str, Any]) -> None:
    found = []
    for names, path, most in _MOST:
        value: Any = parameters
        for name in names:
            value = value.get(name, {})
        if value and value > most:
            constraint = f"Member must have value less than or equal to {most}"
            found.append(f"Value '{value}' at '{path}' failed to satisfy constraint: {constraint}")
    if found:
        noun = "error" if len(found) == 1 else "errors"
        message = f"{len(found)} validation {noun} detected: {'; '.join(found)}"
        raise AwsError("ValidationException", message, status=400)


def _check_dead_letters(target: str | None) -> None:
    if target and target.split(":")[2] not in ("sqs", "sns"):
        raise invalid(f"The dead letter target {target} must be an Amazon SQS queue or an Amazon SNS topic.")


def _check_environment(variables: Mapping[str, str]) -> None:
    problem = "Lambda was unable to configure your environment variables because the environment variables you have"
    if reserved := [name for name in variables if name in _RESERVED]:
        raise invalid(
            f"{problem} provided contains reserved keys that are currently not supported for modification."
            f" Reserved keys used in this request: {', '.join(reserved)}"
        )
    measured = orjson.dumps(dict(variables))
    if len(measured) > _ENVIRONMENT_BYTES:
        raise invalid(f"{problem} provided exceeded the 4KB limit. String measured: {measured.decode()}")


def check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > MOST_TAGS:
        raise invalid("Number of tags exceeds resource tag limit.")
    if reserved := [name for name in tags if name.lower().startswith(_SYSTEM_TAG)]:
        raise invalid(f"Tag keys that start with aws: are reserved for system tags: {', '.join(reserved)}")


def apply(parameters: Mapping[str, Any], function: Function) -> Function:
    """The function with the settings that are given; what is not given stays. They have passed `check`."""
    simple = {
        "Role": "role",
        "Handler": "handler",
        "Description": "description",
        "Timeout": "timeout",
        "MemorySize": "memory_size",
        "Runtime": "runtime",
    }
    changes: dict[str, Any] = {field: parameters[name] for name, field in simple.items() if name in parameters}
    if parameters.get("EphemeralStorage"):
        changes["ephemeral_storage"] = parameters["EphemeralStorage"]["Size"]
    if parameters.get("Architectures"):
        changes["architecture"] = parameters["Architectures"][0]
    if "Mode" in parameters.get("TracingConfig", {}):
        changes["tracing_mode"] = parameters["TracingConfig"]["Mode"]
    if "ApplyOn" in parameters.get("SnapStart", {}):
        changes["snap_start"] = parameters["SnapStart"]["ApplyOn"]
    if "LoggingConfig" in parameters:
        changes["logging"] = _logging(parameters["LoggingConfig"], function.logging)
    if "VpcConfig" in parameters:
        changes["vpc_config"] = dict(parameters["VpcConfig"])
    changes["extras"] = _extras(parameters, function.extras)
    made = replace(function, **changes)
    if made.snap_start != "None":
        runtimes.check_snap_start(made.runtime)
        if made.ephemeral_storage > _SNAPSHOT_STORAGE:
            raise invalid(f"SnapStart does not support ephemeral storage greater than {_SNAPSHOT_STORAGE} MB.")
        refuse_tenancy(made, "SnapStart")
    return made


def refuse_tenancy(function: Function, what: str) -> None:
    """Raises InvalidParameterValueException for `what` cannot be had together with environments of tenants."""
    if function.per_tenant:
        raise invalid(f"{what} is not supported for functions with tenancy configuration.")


def _logging(given: Mapping[str, str], current: LoggingConfig) -> LoggingConfig:
    log_format = given.get("LogFormat", current.log_format)
    group = given.get("LogGroup", current.log_group)
    if log_format == "JSON":
        application = given.get("ApplicationLogLevel") or current.application_log_level or "INFO"
        return LoggingConfig(
            "JSON", group, application, given.get("SystemLogLevel") or current.system_log_level or "INFO"
        )
    if "ApplicationLogLevel" in given or "SystemLogLevel" in given:
        raise invalid(
            'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change'
            ' the LogFormat to "JSON" and try again.'
        )
    return LoggingConfig("Text", group)


def _extras(parameters: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """Members that are answered as given; an empty one takes the setting away."""
    extras = dict(current)
    given = {}
    if "DeadLetterConfig" in parameters:
        target = parameters["DeadLetterConfig"].get("TargetArn")
        given["DeadLetterConfig"] = {"TargetArn": target} if target else None
    if "FileSystemConfigs" in parameters:
        given["FileSystemConfigs"] = parameters["FileSystemConfigs"] or None
    if "TenancyConfig" in parameters:  # of CreateFunction only: it cannot be changed
        given["TenancyConfig"] = parameters["TenancyConfig"]
    if "KMSKeyArn" in parameters:
        given["KMSKeyArn"] = parameters["KMSKeyArn"] or None
    for name, value in given.items():
        extras.pop(name, None)
        if value is not None:
            extras[name] = value
    return extras
