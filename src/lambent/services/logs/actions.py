"""What the operations of CloudWatch Logs need permission for.

Source: service authorization reference, "Actions, resources, and condition keys for Amazon CloudWatch Logs": actions on
a group name it `log-group:NAME`, those on a stream `log-group:NAME:log-stream:STREAM`. The trailing `:*` that AWS's own
managed policies write is matched too: operations on groups are on `log-group:NAME:*` there.
"""

from __future__ import annotations

from collections.abc import Iterable

from lambent.wire.gate import Access, Rule, Rules, needs, request_tags, tag_keys
from lambent.wire.operations import Caller, Parameters

_ON_GROUPS = (
    "DeleteDataProtectionPolicy",
    "DeleteLogGroup",
    "DeleteMetricFilter",
    "DeleteRetentionPolicy",
    "DeleteSubscriptionFilter",
    "DescribeLogStreams",
    "DescribeMetricFilters",
    "DescribeSubscriptionFilters",
    "FilterLogEvents",
    "GetDataProtectionPolicy",
    "GetLogGroupFields",
    "ListTagsLogGroup",
    "PutDataProtectionPolicy",
    "PutLogGroupDeletionProtection",
    "PutMetricFilter",
    "PutRetentionPolicy",
    "PutSubscriptionFilter",
    "TagLogGroup",
    "UntagLogGroup",
    "AssociateKmsKey",
    "DisassociateKmsKey",
)


def group_arn(caller: Caller, identifier: str) -> str:
    """The ARN of a group by its name or its ARN, with or without `:*` at the end."""
    if identifier.startswith("arn:"):
        return identifier.removesuffix(":*")
    return f"arn:{caller.partition}:logs:{caller.region}:{caller.account}:log-group:{identifier}"


def _group(caller: Caller, parameters: Parameters) -> str:
    identifier = parameters.get("logGroupName") or parameters.get("logGroupIdentifier") or "*"
    return f"{group_arn(caller, identifier)}:*"


def _new_group(caller: Caller, parameters: Parameters) -> str:
    return group_arn(caller, parameters["logGroupName"])


def _stream(caller: Caller, parameters: Parameters) -> str:
    identifier = parameters.get("logGroupName") or parameters.get("logGroupIdentifier") or "*"
    return f"{group_arn(caller, identifier)}:log-stream:{parameters.get('logStreamName', '')}"


def _every_group(caller: Caller, _parameters: Parameters) -> str:
    return group_arn(caller, "*")


def _resource(_caller: Caller, parameters: Parameters) -> str:
    return str(parameters["resourceArn"])


def _each(action: str) -> Rule:
    def rule(caller: Caller, parameters: Parameters) -> Iterable[Access]:
        identifiers = parameters.get("logGroupIdentifiers") or ("*",)
        return [Access(action, f"{group_arn(caller, identifier)}:*") for identifier in identifiers]

    return rule


RULES: Rules = {
    **{name: needs(f"logs:{name}", _group) for name in _ON_GROUPS},
    "CreateLogGroup": needs("logs:CreateLogGroup", _new_group, request_tags("tags")),
    "CreateLogStream": needs("logs:CreateLogStream", _group),
    "DeleteLogStream": needs("logs:DeleteLogStream", _stream),
    "DescribeLogGroups": needs("logs:DescribeLogGroups", _every_group),
    "GetLogEvents": needs("logs:GetLogEvents", _stream),
    "ListTagsForResource": needs("logs:ListTagsForResource", _resource),
    "PutLogEvents": needs("logs:PutLogEvents", _stream),
    "StartLiveTail": _each("logs:StartLiveTail"),
    "TagResource": needs("logs:TagResource", _resource, request_tags("tags")),
    "TestMetricFilter": needs("logs:TestMetricFilter"),
    "UntagResource": needs("logs:UntagResource", _resource, tag_keys("tagKeys")),
}
