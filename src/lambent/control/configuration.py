"""Functions as the API shows them: FunctionConfiguration."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lambent.control import runtimes
from lambent.control.records import LATEST, Function, LoggingConfig


def describe(function: Function, qualifier: str | None = None) -> dict[str, Any]:
    """The configuration with its states. The ARN has the qualifier that was asked for, a version always its own."""
    shown = summarize(function, qualifier)
    states = {
        "State": function.state,
        "StateReason": function.state_reason,
        "StateReasonCode": function.state_reason_code,
        "LastUpdateStatus": function.last_update_status,
        "LastUpdateStatusReason": function.last_update_status_reason,
        "LastUpdateStatusReasonCode": function.last_update_status_reason_code,
    }
    shown |= {name: value for name, value in states.items() if value is not None}
    if function.image is None:
        arn = runtimes.version_arn(function.key.region, function.runtime)
        shown["RuntimeVersionConfig"] = {"RuntimeVersionArn": arn}
    elif function.image.overrides:
        shown["ImageConfigResponse"] = {"ImageConfig": dict(function.image.overrides)}
    return shown


def summarize(function: Function, qualifier: str | None = None) -> dict[str, Any]:
    """The configuration as lists hold it: without states and without the version of the runtime."""
    if qualifier is None and function.version != LATEST:
        qualifier = function.version
    shown = {
        "FunctionName": function.key.name,
        "FunctionArn": function.key.arn(qualifier),
        "Role": function.role,
        "CodeSize": function.code_size,
        "Description": function.description,
        "Timeout": function.timeout,
        "MemorySize": function.memory_size,
        "LastModified": function.last_modified,
        "CodeSha256": code_sha256(function),
        "Version": function.version,
        "TracingConfig": {"Mode": function.tracing_mode},
        "RevisionId": function.revision_id,
        "PackageType": function.package_type,
        "Architectures": [function.architecture],
        "EphemeralStorage": {"Size": function.ephemeral_storage},
        "SnapStart": {"ApplyOn": function.snap_start, "OptimizationStatus": _optimization(function)},
        "LoggingConfig": _logging(function.logging),
    }
    if function.image is None:
        shown |= {"Runtime": function.runtime, "Handler": function.handler}
    if function.environment is not None:
        shown["Environment"] = function.environment  # sealed: `Secrets.reveal` shows what is in it
    if function.layers:
        shown["Layers"] = [{"Arn": layer.arn, "CodeSize": layer.code_size} for layer in function.layers]
    if function.vpc_config is not None:
        shown["VpcConfig"] = _vpc(function.vpc_config)
    return shown | dict(function.extras)


def code_sha256(function: Function) -> str:
    """Of a zip in base64; of an image the digest itself, as AWS shows it."""
    if function.image is not None:
        return function.code_digest
    return base64.b64encode(bytes.fromhex(function.code_digest)).decode()


def _optimization(function: Function) -> str:
    """Only versions start from a snapshot."""
    return "On" if function.snap_start != "None" and function.version != LATEST else "Off"


def _logging(config: LoggingConfig) -> dict[str, str]:
    shown = {"LogFormat": config.log_format, "LogGroup": config.log_group}
    if config.application_log_level is not None:
        shown["ApplicationLogLevel"] = config.application_log_level
    if config.system_log_level is not None:
        shown["SystemLogLevel"] = config.system_log_level
    return shown


def _vpc(given: Mapping[str, Any]) -> dict[str, Any]:
    """There are no VPCs here: what was given is shown again, in no VPC."""
    return {
        "SubnetIds": list(given.get("SubnetIds", ())),
        "SecurityGroupIds": list(given.get("SecurityGroupIds", ())),
        "Ipv6AllowedForDualStack": given.get("Ipv6AllowedForDualStack", False),
        "VpcId": "",
    }


def timestamp(moment: datetime) -> str:
    """A LastModified: `2026-11-21T05:04:33.120+0000`."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}+0000"
