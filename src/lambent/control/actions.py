"""What Lambda's operations need permission for.

Source: service authorization reference, "Actions, resources, and condition keys for AWS Lambda"; Lambda developer
guide, "Fine-tuning the Resources and Conditions sections of policies". Operations that take a qualifier are on the
version or alias that it names.
"""

from __future__ import annotations

from collections.abc import Iterable

from lambent.control import layers as layer_names
from lambent.control.execution_roles import SERVICE
from lambent.control.records import FunctionKey
from lambent.wire import arn
from lambent.wire.errors import AwsError
from lambent.wire.gate import (
    Access,
    Keys,
    Resource,
    Rules,
    Values,
    anything,
    key,
    needs,
    request_tags,
    tag_keys,
    together,
)
from lambent.wire.operations import Caller, Parameters


def _qualified(caller: Caller, parameters: Parameters) -> str:
    named = arn.parse(parameters["FunctionName"], parameters.get("Qualifier"), caller)
    return FunctionKey(named.account, named.region, named.name).arn(named.qualifier)


def _function(caller: Caller, parameters: Parameters) -> str:
    """The function itself, whichever of its versions is named."""
    named = arn.parse(parameters["FunctionName"], None, caller)
    return FunctionKey(named.account, named.region, named.name).arn()


def _layer(caller: Caller, parameters: Parameters) -> str:
    name: str = parameters["LayerName"]
    return name if name.startswith("arn:") else f"{_prefix(caller)}:layer:{name}"


def _layer_version(caller: Caller, parameters: Parameters) -> str:
    return f"{_layer(caller, parameters)}:{parameters['VersionNumber']}"


def _given(member: str) -> Resource:
    """The member is the resource's ARN."""

    def resource(_caller: Caller, parameters: Parameters) -> str:
        return str(parameters[member])

    return resource


def _named(kind: str, member: str) -> Resource:
    """The member is the resource's name or its ARN."""

    def resource(caller: Caller, parameters: Parameters) -> str:
        name = str(parameters[member])
        return name if name.startswith("arn:") else f"{_prefix(caller)}:{kind}:{name}"

    return resource


def _prefix(caller: Caller) -> str:
    return f"arn:{caller.partition}:lambda:{caller.region}:{caller.account}"


def _mapped_function(caller: Caller, parameters: Parameters) -> Values:
    """lambda:FunctionArn of operations on event source mappings."""
    if "FunctionName" not in parameters:
        return {}
    try:
        return {"lambda:functionarn": (_qualified(caller, parameters),)}
    except AwsError:
        return {}


def _layer_uses(caller: Caller, parameters: Parameters) -> Iterable[Access]:
    """lambda:GetLayerVersion on every layer version that a function is to have."""
    for name in parameters.get("Layers", ()):
        if layer_names.parse(name) is not None:
            yield Access("lambda:GetLayerVersion", name)


def _passed_role(caller: Caller, parameters: Parameters) -> Iterable[Access]:
    """iam:PassRole on the role that a function is to have."""
    if role := parameters.get("Role"):
        named = arn.parse(parameters["FunctionName"], None, caller)
        function = FunctionKey(named.account, named.region, named.name).arn()
        context = {"iam:passedtoservice": (SERVICE,), "iam:associatedresourcearn": (function,)}
        yield Access("iam:PassRole", role, context)


def _key_uses(caller: Caller, parameters: Parameters) -> Iterable[Access]:
    """What Lambda does in the caller's name with the KMS key that a function's variables are to lie under."""
    if key_arn := parameters.get("KMSKeyArn"):
        context = {"kms:viaservice": (f"lambda.{caller.region}.amazonaws.com",)}
        yield Access("kms:Encrypt", key_arn, context)
        yield Access("kms:CreateGrant", key_arn, {**context, "kms:grantisforawsresource": ("true",)})


_SETTINGS: tuple[Keys, ...] = (
    key("lambda:layer", "Layers"),
    key("lambda:codesigningconfigarn", "CodeSigningConfigArn"),
    key("lambda:securitygroupids", "VpcConfig", "SecurityGroupIds"),
    key("lambda:subnetids", "VpcConfig", "SubnetIds"),
)
_URL = key("lambda:functionurlauthtype", "AuthType")
_PERMISSION = (
    key("lambda:principal", "Principal"),
    key("lambda:functionurlauthtype", "FunctionUrlAuthType"),
    key("lambda:invokedviafunctionurl", "InvokedViaFunctionUrl"),
)
_MAPPING = _named("event-source-mapping", "UUID")
_CAPACITY = _named("capacity-provider", "CapacityProviderName")
_SIGNING = _given("CodeSigningConfigArn")
_DURABLE = _given("DurableExecutionArn")

RULES: Rules = {
    "AddLayerVersionPermission": needs("lambda:AddLayerVersionPermission", _layer_version),
    "AddPermission": needs("lambda:AddPermission", _qualified, *_PERMISSION),
    "CheckpointDurableExecution": needs("lambda:CheckpointDurableExecution", _DURABLE),
    "CreateAlias": needs("lambda:CreateAlias", _function),
    "CreateCapacityProvider": needs("lambda:CreateCapacityProvider", _CAPACITY, request_tags()),
    "CreateCodeSigningConfig": needs("lambda:CreateCodeSigningConfig", anything, request_tags()),
    "CreateEventSourceMapping": needs("lambda:CreateEventSourceMapping", anything, _mapped_function, request_tags()),
    "CreateFunction": together(
        needs("lambda:CreateFunction", _function, request_tags(), *_SETTINGS), _passed_role, _layer_uses, _key_uses
    ),
    "CreateFunctionUrlConfig": needs("lambda:CreateFunctionUrlConfig", _qualified, _URL),
    "DeleteAlias": needs("lambda:DeleteAlias", _function),
    "DeleteCapacityProvider": needs("lambda:DeleteCapacityProvider", _CAPACITY),
    "DeleteCodeSigningConfig": needs("lambda:DeleteCodeSigningConfig", _SIGNING),
    "DeleteDurableExecution": needs("lambda:DeleteDurableExecution", _DURABLE),
    "DeleteEventSourceMapping": needs("lambda:DeleteEventSourceMapping", _MAPPING),
    "DeleteFunction": needs("lambda:DeleteFunction", _qualified),
    "DeleteFunctionCodeSigningConfig": needs("lambda:DeleteFunctionCodeSigningConfig", _function),
    "DeleteFunctionConcurrency": needs("lambda:DeleteFunctionConcurrency", _function),
    "DeleteFunctionEventInvokeConfig": needs("lambda:DeleteFunctionEventInvokeConfig", _qualified),
    "DeleteFunctionUrlConfig": needs("lambda:DeleteFunctionUrlConfig", _qualified),
    "DeleteLayerVersion": needs("lambda:DeleteLayerVersion", _layer_version),
    "DeleteProvisionedConcurrencyConfig": needs("lambda:DeleteProvisionedConcurrencyConfig", _qualified),
    "DeleteResourcePolicy": needs("lambda:DeleteResourcePolicy", _given("ResourceArn")),
    "GetAccountSettings": needs("lambda:GetAccountSettings"),
    "GetAlias": needs("lambda:GetAlias", _function),
    "GetCapacityProvider": needs("lambda:GetCapacityProvider", _CAPACITY),
    "GetCodeSigningConfig": needs("lambda:GetCodeSigningConfig", _SIGNING),
    "GetDurableExecution": needs("lambda:GetDurableExecution", _DURABLE),
    "GetDurableExecutionHistory": needs("lambda:GetDurableExecutionHistory", _DURABLE),
    "GetDurableExecutionState": needs("lambda:GetDurableExecutionState", _DURABLE),
    "GetEventSourceMapping": needs("lambda:GetEventSourceMapping", _MAPPING),
    "GetFunction": needs("lambda:GetFunction", _qualified),
    "GetFunctionCodeSigningConfig": needs("lambda:GetFunctionCodeSigningConfig", _function),
    "GetFunctionConcurrency": needs("lambda:GetFunctionConcurrency", _function),
    "GetFunctionConfiguration": needs("lambda:GetFunctionConfiguration", _qualified),
    "GetFunctionEventInvokeConfig": needs("lambda:GetFunctionEventInvokeConfig", _qualified),
    "GetFunctionRecursionConfig": needs("lambda:GetFunctionRecursionConfig", _function),
    "GetFunctionScalingConfig": needs("lambda:GetFunctionScalingConfig", _qualified),
    "GetFunctionUrlConfig": needs("lambda:GetFunctionUrlConfig", _qualified),
    "GetLayerVersion": needs("lambda:GetLayerVersion", _layer_version),
    "GetLayerVersionByArn": needs("lambda:GetLayerVersion", _given("Arn")),
    "GetLayerVersionPolicy": needs("lambda:GetLayerVersionPolicy", _layer_version),
    "GetPolicy": needs("lambda:GetPolicy", _qualified),
    "GetProvisionedConcurrencyConfig": needs("lambda:GetProvisionedConcurrencyConfig", _qualified),
    "GetResourcePolicy": needs("lambda:GetResourcePolicy", _given("ResourceArn")),
    "GetRuntimeManagementConfig": needs("lambda:GetRuntimeManagementConfig", _qualified),
    "Invoke": needs("lambda:InvokeFunction", _qualified),
    "InvokeAsync": needs("lambda:InvokeFunction", _qualified),
    "InvokeWithResponseStream": needs("lambda:InvokeFunction", _qualified),
    "ListAliases": needs("lambda:ListAliases", _function),
    "ListCapacityProviders": needs("lambda:ListCapacityProviders"),
    "ListCodeSigningConfigs": needs("lambda:ListCodeSigningConfigs"),
    "ListDurableExecutionsByFunction": needs("lambda:ListDurableExecutionsByFunction", _qualified),
    "ListEventSourceMappings": needs("lambda:ListEventSourceMappings"),
    "ListFunctionEventInvokeConfigs": needs("lambda:ListFunctionEventInvokeConfigs", _function),
    "ListFunctionUrlConfigs": needs("lambda:ListFunctionUrlConfigs", _function),
    "ListFunctionVersionsByCapacityProvider": needs("lambda:ListFunctionVersionsByCapacityProvider", _CAPACITY),
    "ListFunctions": needs("lambda:ListFunctions"),
    "ListFunctionsByCodeSigningConfig": needs("lambda:ListFunctionsByCodeSigningConfig", _SIGNING),
    "ListLayerVersions": needs("lambda:ListLayerVersions"),
    "ListLayers": needs("lambda:ListLayers"),
    "ListProvisionedConcurrencyConfigs": needs("lambda:ListProvisionedConcurrencyConfigs", _function),
    "ListTags": needs("lambda:ListTags", _given("Resource")),
    "ListVersionsByFunction": needs("lambda:ListVersionsByFunction", _function),
    "PauseDurableExecution": needs("lambda:PauseDurableExecution", _DURABLE),
    "PublishLayerVersion": needs("lambda:PublishLayerVersion", _layer),
    "PublishVersion": needs("lambda:PublishVersion", _function),
    "PutFunctionCodeSigningConfig": needs(
        "lambda:PutFunctionCodeSigningConfig", _function, key("lambda:codesigningconfigarn", "CodeSigningConfigArn")
    ),
    "PutFunctionConcurrency": needs("lambda:PutFunctionConcurrency", _function),
    "PutFunctionEventInvokeConfig": needs("lambda:PutFunctionEventInvokeConfig", _qualified),
    "PutFunctionRecursionConfig": needs("lambda:PutFunctionRecursionConfig", _function),
    "PutFunctionScalingConfig": needs("lambda:PutFunctionScalingConfig", _qualified),
    "PutProvisionedConcurrencyConfig": needs("lambda:PutProvisionedConcurrencyConfig", _qualified),
    "PutResourcePolicy": needs("lambda:PutResourcePolicy", _given("ResourceArn")),
    "PutRuntimeManagementConfig": needs("lambda:PutRuntimeManagementConfig", _qualified),
    "RemoveLayerVersionPermission": needs("lambda:RemoveLayerVersionPermission", _layer_version),
    "RemovePermission": needs("lambda:RemovePermission", _qualified),
    "ResumeDurableExecution": needs("lambda:ResumeDurableExecution", _DURABLE),
    "SendDurableExecutionCallbackFailure": needs("lambda:SendDurableExecutionCallbackFailure"),
    "SendDurableExecutionCallbackHeartbeat": needs("lambda:SendDurableExecutionCallbackHeartbeat"),
    "SendDurableExecutionCallbackSuccess": needs("lambda:SendDurableExecutionCallbackSuccess"),
    "StopDurableExecution": needs("lambda:StopDurableExecution", _DURABLE),
    "TagResource": needs("lambda:TagResource", _given("Resource"), request_tags()),
    "UntagResource": needs("lambda:UntagResource", _given("Resource"), tag_keys()),
    "UpdateAlias": needs("lambda:UpdateAlias", _function),
    "UpdateCapacityProvider": needs("lambda:UpdateCapacityProvider", _CAPACITY),
    "UpdateCodeSigningConfig": needs("lambda:UpdateCodeSigningConfig", _SIGNING),
    "UpdateEventSourceMapping": needs("lambda:UpdateEventSourceMapping", _MAPPING, _mapped_function),
    "UpdateFunctionCode": needs("lambda:UpdateFunctionCode", _function),
    "UpdateFunctionConfiguration": together(
        needs("lambda:UpdateFunctionConfiguration", _function, *_SETTINGS), _passed_role, _layer_uses, _key_uses
    ),
    "UpdateFunctionEventInvokeConfig": needs("lambda:UpdateFunctionEventInvokeConfig", _qualified),
    "UpdateFunctionUrlConfig": needs("lambda:UpdateFunctionUrlConfig", _qualified, _URL),
}
