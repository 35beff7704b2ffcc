"""Settings of functions: their limits, and what they may not be."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from recorded.script import Script, cases, package, play


@play("TestLambdaFunction::test_update_lambda_exceptions")
def update_exceptions(s: Script) -> None:
    s.created()
    operation, name = "UpdateFunctionConfiguration", s.name()
    s.call("invalid_role_arn_exc", operation, FunctionName=name, Role="r1")
    s.call("invalid_runtime_exc", operation, FunctionName=name, Runtime="non-existent-runtime")
    s.call("uppercase_runtime_exc", operation, FunctionName=name, Runtime="PYTHON3.9")


@play("TestLambdaFunction::test_vpc_config")
def vpc_config(s: Script) -> None:
    name = s.name()
    given = {
        "SubnetIds": [s.bind("<subnet_id_1>", "subnet-1")],
        "SecurityGroupIds": [s.bind("<security_group_id_1>", "sg-1")],
    }
    s.created("create_response", MemorySize=256, Timeout=5, VpcConfig=given)
    s.call("get_function_response", "GetFunction", FunctionName=name)
    other = {
        "SubnetIds": [s.bind("<subnet_id_2>", "subnet-2")],
        "SecurityGroupIds": [s.bind("<security_group_id_2>", "sg-2")],
    }
    s.call("update_vpcconfig_update_response", "UpdateFunctionConfiguration", FunctionName=name, VpcConfig=other)
    s.ready()
    s.call("update_vpcconfig_get_function_response", "GetFunction", FunctionName=name)
    nothing: dict[str, Any] = {"SubnetIds": [], "SecurityGroupIds": []}
    s.call("delete_vpcconfig_update_response", "UpdateFunctionConfiguration", FunctionName=name, VpcConfig=nothing)
    s.ready()
    s.call("delete_vpcconfig_get_function_response", "GetFunction", FunctionName=name)


@play("TestLambdaFunction::test_invalid_vpc_config_security_group")
def invalid_security_group(s: Script) -> None:
    subnets = ["subnet-1"]
    s.bind("<security_group_id_1>", "sg-0")
    group = s.bind("<security_group_id_2>", "not-a-group")
    wrong = "create-response-invalid-format-security-group"
    s.create(wrong, VpcConfig={"SubnetIds": subnets, "SecurityGroupIds": [group]})


@play("TestLambdaFunction::test_invalid_vpc_config_subnet")
def invalid_subnet(s: Script) -> None:
    s.bind("<subnet_id_1>", "subnet-0")
    subnet = s.bind("<subnet_id_2>", "not-a-subnet")
    wrong = "create-response-invalid-format-subnet-id"
    s.create(wrong, VpcConfig={"SubnetIds": [subnet], "SecurityGroupIds": ["sg-1"]})


@play("TestLambdaSizeLimits::test_oversized_request_create_lambda")
def oversized_request(s: Script) -> None:
    s.create("invalid_param_exc", Code={"ZipFile": bytes(53 << 20)})


@play("TestLambdaSizeLimits::test_oversized_unzipped_lambda")
def oversized_code(s: Script) -> None:
    s.create("invalid_param_exc", Code={"ZipFile": _zipped_zeros(262_144_000)})


@play("TestLambdaSizeLimits::test_large_lambda")
def large_code(s: Script) -> None:
    s.create("create_function_large_zip", Code={"ZipFile": _zipped_zeros(250_000_000)}, Timeout=10, Environment=None)


def _zipped_zeros(size: int) -> bytes:
    """A zip of `size` zeros, made without compressing them all."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(100):
            archive.writestr(f"zeros{number}", bytes(size // 100))
    return buffer.getvalue()


@play("TestLambdaSizeLimits::test_large_environment_variables_fails")
def large_environment(s: Script) -> None:
    s.create("failed_create_fn_result", Environment={"Variables": {"LARGE_VAR": "x" * 4_081}})


@play("TestLambdaSizeLimits::test_large_environment_fails_multiple_keys")
def large_environment_of_several(s: Script) -> None:
    variables = {"SMALL_VAR": "ok", "LARGE_VAR": "x" * 4_064}
    s.create("failured_create_fn_result_multi_key", Environment={"Variables": variables})


@play("TestLambdaSizeLimits::test_lambda_envvars_near_limit_succeeds")
def environment_near_the_limit(s: Script) -> None:
    name = "successful_create_fn_result"
    wanted = s.case.responses[name]["CreateFunctionResponse"]
    s.create(name, Environment=wanted["Environment"], MemorySize=wanted["MemorySize"], Timeout=wanted["Timeout"])


_PARTIAL = "TestLoggingConfig::test_function_partial_advanced_logging_configuration_update"


@play(
    "TestLoggingConfig::test_function_advanced_logging_configuration",
    f"{_PARTIAL}[partial_config0]",
    f"{_PARTIAL}[partial_config2]",
    f"{_PARTIAL}[partial_config3]",
)
def logging_config(s: Script) -> None:
    name = s.name()
    update = {
        "partial_config0": {"LogFormat": "JSON"},
        "partial_config2": {"LogFormat": "JSON", "SystemLogLevel": "DEBUG"},
    }.get(s.case.variant, {"LogGroup": "cool_lambda"})
    given = {} if s.case.variant else {"LoggingConfig": {"LogFormat": "JSON"}}
    s.created("create_response", MemorySize=256, Timeout=5, **given)
    s.call("get_function_response", "GetFunction", FunctionName=name)
    s.call("function_config", "GetFunctionConfiguration", FunctionName=name)
    s.call("updated_config", "UpdateFunctionConfiguration", FunctionName=name, LoggingConfig=update)
    s.ready()
    s.call("received_config", "GetFunctionConfiguration", FunctionName=name)


_RETIRED = "TestRuntimeValidation::test_create_deprecated_function_runtime_with_validation_enabled["


@play(*(name for name in cases() if name.startswith(_RETIRED)))
def retired_runtimes(s: Script) -> None:
    s.create("deprecation_error", Runtime=s.case.variant, Code={"ZipFile": package()})


@play("TestLambdaRecursion::test_put_function_recursion_config_invalid_value")
def recursion(s: Script) -> None:
    name = s.created()["FunctionName"]
    s.call(
        "put_recursion_invalid_value_error",
        "PutFunctionRecursionConfig",
        FunctionName=name,
        RecursiveLoop="InvalidValue",
    )
