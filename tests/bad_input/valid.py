"""For each operation, members that it takes in the world that `build` makes."""

from __future__ import annotations

import json
from typing import Any

from recorded.stage import ACCOUNT, REGION, Stage
from unit.control.lab import make_zip

_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}"
_ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
_QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue"
_PROFILE = {"SigningProfileVersionArns": [f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/p/v"]}
_POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "whole",
                "Effect": "Allow",
                "Principal": {"AWS": ACCOUNT},
                "Action": "lambda:InvokeFunction",
                "Resource": f"{_ARN}:function:f",
            }
        ],
    }
)
_GET_LAYER = {"Action": "lambda:GetLayerVersion", "Principal": "*"}


def build(stage: Stage) -> dict[str, Any]:
    """A function `f` with a version, an alias and what can belong to one; a layer; what `valid` refers to by name."""
    client = stage.client()
    client.create_function(
        FunctionName="f", Runtime="python3.12", Role=_ROLE, Handler="h.h", Code={"ZipFile": make_zip()}
    )
    stage.ready("f")
    client.publish_version(FunctionName="f")
    client.update_function_configuration(FunctionName="f", Description="more to publish")
    stage.ready("f")
    client.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    client.publish_layer_version(LayerName="l", Content={"ZipFile": make_zip()})
    client.add_layer_version_permission(LayerName="l", VersionNumber=1, StatementId="s", **_GET_LAYER)
    client.add_permission(FunctionName="f", StatementId="s", Action="lambda:InvokeFunction", Principal=ACCOUNT)
    client.put_provisioned_concurrency_config(FunctionName="f", Qualifier="1", ProvisionedConcurrentExecutions=1)
    client.create_function_url_config(FunctionName="f", AuthType="NONE")
    client.put_function_event_invoke_config(FunctionName="f", MaximumRetryAttempts=1)
    config = client.create_code_signing_config(AllowedPublishers=_PROFILE)["CodeSigningConfig"]
    mapping = client.create_event_source_mapping(FunctionName="f", EventSourceArn=_QUEUE)
    return {"signing": config["CodeSigningConfigArn"], "mapping": mapping["UUID"]}


def valid(operation: str, world: dict[str, Any]) -> dict[str, Any]:
    """Members of a request that succeeds."""
    f: dict[str, Any] = {"FunctionName": "f"}
    alias = {**f, "Name": "live"}
    provisioned = {**f, "Qualifier": "1"}
    layer = {"LayerName": "l", "VersionNumber": 1}
    signing, mapping = {"CodeSigningConfigArn": world["signing"]}, {"UUID": world["mapping"]}
    resource = {"Resource": f"{_ARN}:function:f"}
    known: dict[str, dict[str, Any]] = {
        "AddLayerVersionPermission": {**layer, "StatementId": "other", **_GET_LAYER},
        "AddPermission": {**f, "StatementId": "other", "Action": "lambda:InvokeFunction", "Principal": "*"},
        "CreateAlias": {**f, "Name": "other", "FunctionVersion": "1"},
        "CreateCodeSigningConfig": {"AllowedPublishers": _PROFILE},
        "CreateEventSourceMapping": {**f, "EventSourceArn": f"{_QUEUE}2"},
        "CreateFunction": {
            "FunctionName": "g",
            "Runtime": "python3.12",
            "Role": _ROLE,
            "Handler": "h.h",
            "Code": {"ZipFile": make_zip()},
        },
        "CreateFunctionUrlConfig": {**f, "Qualifier": "live", "AuthType": "NONE"},
        "DeleteAlias": alias,
        "DeleteCodeSigningConfig": signing,
        "DeleteEventSourceMapping": mapping,
        "DeleteFunction": f,
        "DeleteFunctionCodeSigningConfig": f,
        "DeleteFunctionConcurrency": f,
        "DeleteFunctionEventInvokeConfig": f,
        "DeleteFunctionUrlConfig": f,
        "DeleteLayerVersion": layer,
        "DeleteProvisionedConcurrencyConfig": provisioned,
        "DeleteResourcePolicy": {"ResourceArn": f"{_ARN}:function:f"},
        "GetAccountSettings": {},
        "GetAlias": alias,
        "GetCodeSigningConfig": signing,
        "GetEventSourceMapping": mapping,
        "GetFunction": f,
        "GetFunctionCodeSigningConfig": f,
        "GetFunctionConcurrency": f,
        "GetFunctionConfiguration": f,
        "GetFunctionEventInvokeConfig": f,
        "GetFunctionRecursionConfig": f,
        "GetFunctionUrlConfig": f,
        "GetLayerVersion": layer,
        "GetLayerVersionByArn": {"Arn": f"{_ARN}:layer:l:1"},
        "GetLayerVersionPolicy": layer,
        "GetPolicy": f,
        "GetProvisionedConcurrencyConfig": provisioned,
        "GetResourcePolicy": {"ResourceArn": f"{_ARN}:function:f"},
        "GetRuntimeManagementConfig": f,
        "Invoke": {**f, "InvocationType": "DryRun"},
        "InvokeAsync": {**f, "InvokeArgs": b"{}"},
        "InvokeWithResponseStream": {**f, "InvocationType": "DryRun"},
        "ListAliases": f,
        "ListCodeSigningConfigs": {},
        "ListEventSourceMappings": {},
        "ListFunctionEventInvokeConfigs": f,
        "ListFunctionUrlConfigs": f,
        "ListFunctions": {},
        "ListFunctionsByCodeSigningConfig": signing,
        "ListLayerVersions": {"LayerName": "l"},
        "ListLayers": {},
        "ListProvisionedConcurrencyConfigs": f,
        "ListTags": resource,
        "ListVersionsByFunction": f,
        "PublishLayerVersion": {"LayerName": "l", "Content": {"ZipFile": make_zip()}},
        "PublishVersion": f,
        "PutFunctionCodeSigningConfig": {**f, **signing},
        "PutFunctionConcurrency": {**f, "ReservedConcurrentExecutions": 5},
        "PutFunctionEventInvokeConfig": {**f, "MaximumRetryAttempts": 2},
        "PutFunctionRecursionConfig": {**f, "RecursiveLoop": "Allow"},
        "PutProvisionedConcurrencyConfig": {**provisioned, "ProvisionedConcurrentExecutions": 2},
        "PutResourcePolicy": {"ResourceArn": f"{_ARN}:function:f", "Policy": _POLICY},
        "PutRuntimeManagementConfig": {**f, "UpdateRuntimeOn": "Auto"},
        "RemoveLayerVersionPermission": {**layer, "StatementId": "s"},
        "RemovePermission": {**f, "StatementId": "s"},
        "TagResource": {**resource, "Tags": {"a": "b"}},
        "UntagResource": {**resource, "TagKeys": ["a"]},
        "UpdateAlias": {**alias, "Description": "new"},
        "UpdateCodeSigningConfig": {**signing, "Description": "new"},
        "UpdateEventSourceMapping": {**mapping, "BatchSize": 5},
        "UpdateFunctionCode": {**f, "ZipFile": make_zip("new")},
        "UpdateFunctionConfiguration": {**f, "Timeout": 5},
        "UpdateFunctionEventInvokeConfig": {**f, "MaximumRetryAttempts": 0},
        "UpdateFunctionUrlConfig": {**f, "AuthType": "AWS_IAM"},
    }
    assert operation in known, f"{operation} works: give it members here that it takes"
    return known[operation]
