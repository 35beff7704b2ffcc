"""The environment variables that a function's runtime sees, as AWS sets them."""

from __future__ import annotations

from collections.abc import Mapping

from lambent.control.records import Function
from lambent.engine.runtimes import Runtime

RUNTIME_API_PORT = 9001
RUNTIME_API = f"127.0.0.1:{RUNTIME_API_PORT}"


def environment(
    function: Function,
    runtime: Runtime,
    log_stream: str,
    credentials: Mapping[str, str],
    initialization: str = "on-demand",
    own: Mapping[str, str] | None = None,
    endpoint: str | None = None,
) -> dict[str, str]:
    """All variables of an environment. The function's `own` come first: the platform's win over them.

    `endpoint` is where the function reaches this server's AWS API; what AWS does not set, so the function's own wins.

    Source: the recorded environments of initialised functions, and the precedence of the runtime interface emulator
    (customer < platform-unreserved < credentials < runtime < platform).
    """
    variables = {
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000",
        "_AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129",
        "_AWS_XRAY_DAEMON_PORT": "2000",
    }
    if endpoint is not None:
        variables["AWS_ENDPOINT_URL"] = endpoint
    variables |= runtime.variables
    if function.image is not None:
        variables |= function.image.environment
    variables |= own or {}
    variables |= credentials
    variables |= {
        "_HANDLER": function.handler if function.image is None else " ".join(function.image.arguments[-1:]),
        "AWS_LAMBDA_LOG_GROUP_NAME": function.logging.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "AWS_REGION": function.key.region,
        "AWS_DEFAULT_REGION": function.key.region,
        "AWS_LAMBDA_FUNCTION_NAME": function.key.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": initialization,
        "AWS_LAMBDA_RUNTIME_API": RUNTIME_API,
        "TZ": ":UTC",
    }
    if initialization == "snap-start":  # what a snapshot holds would be old when it is used
        del variables["AWS_LAMBDA_LOG_GROUP_NAME"], variables["AWS_LAMBDA_LOG_STREAM_NAME"]  # not there on AWS either
        variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"http://{RUNTIME_API}/2021-04-23/credentials"
    variables |= {other: variables[name] for other, name in runtime.aliases.items() if name in variables}
    if function.logging.log_format == "JSON":
        variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        variables["AWS_LAMBDA_LOG_LEVEL"] = function.logging.application_log_level or "INFO"
    return variables


_OF_THE_RUNTIME = frozenset(
    {
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_XRAY_CONTEXT_MISSING",
        "AWS_XRAY_DAEMON_ADDRESS",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)


def extension_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """What an external extension sees of a runtime's `variables`.

    Source: "Environment variables" of AWS's Extensions API; the runtime interface emulator hides every name with a
    leading underscore.
    """
    return {
        name: value for name, value in variables.items() if name not in _OF_THE_RUNTIME and not name.startswith("_")
    }
