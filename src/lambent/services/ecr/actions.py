"""What the registry's operations need permission for.

Source: service authorization reference, "Actions, resources, and condition keys for Amazon ECR".
"""

from __future__ import annotations

from collections.abc import Iterable

from lambent.wire.gate import Access, Rule, Rules, anything, needs, request_tags, tag_keys
from lambent.wire.operations import Caller, Parameters

_ON_REPOSITORIES = (
    "BatchCheckLayerAvailability",
    "BatchDeleteImage",
    "BatchGetImage",
    "CompleteLayerUpload",
    "DeleteLifecyclePolicy",
    "DeleteRepository",
    "DeleteRepositoryPolicy",
    "DescribeImageReplicationStatus",
    "DescribeImageScanFindings",
    "DescribeImages",
    "GetDownloadUrlForLayer",
    "GetLifecyclePolicy",
    "GetLifecyclePolicyPreview",
    "GetRepositoryPolicy",
    "InitiateLayerUpload",
    "ListImageReferrers",
    "ListImages",
    "PutImage",
    "PutImageScanningConfiguration",
    "PutImageTagMutability",
    "PutLifecyclePolicy",
    "SetRepositoryPolicy",
    "StartImageScan",
    "StartLifecyclePolicyPreview",
    "UploadLayerPart",
)
_ON_THE_REGISTRY = (
    "DeleteRegistryPolicy",
    "DescribePullThroughCacheRules",
    "DescribeRegistry",
    "GetAccountSetting",
    "GetAuthorizationToken",
    "GetRegistryPolicy",
    "GetRegistryScanningConfiguration",
    "PutAccountSetting",
    "PutRegistryPolicy",
    "PutRegistryScanningConfiguration",
    "PutReplicationConfiguration",
)


def repository_arn(account: str, region: str, name: str, partition: str = "aws") -> str:
    return f"arn:{partition}:ecr:{region}:{account}:repository/{name}"


def _repository(caller: Caller, parameters: Parameters) -> str:
    account = parameters.get("registryId", caller.account)
    return repository_arn(account, caller.region, parameters["repositoryName"], caller.partition)


def _resource(_caller: Caller, parameters: Parameters) -> str:
    return str(parameters["resourceArn"])


def _described(action: str) -> Rule:
    """On every repository that is named; on all of them where none is."""

    def rule(caller: Caller, parameters: Parameters) -> Iterable[Access]:
        names = parameters.get("repositoryNames") or ("*",)
        account = parameters.get("registryId", caller.account)
        return [Access(action, repository_arn(account, caller.region, name, caller.partition)) for name in names]

    return rule


RULES: Rules = {
    **{name: needs(f"ecr:{name}", _repository) for name in _ON_REPOSITORIES},
    **{name: needs(f"ecr:{name}", anything) for name in _ON_THE_REGISTRY},
    "BatchGetRepositoryScanningConfiguration": _described("ecr:BatchGetRepositoryScanningConfiguration"),
    "CreateRepository": needs("ecr:CreateRepository", _repository, request_tags("tags")),
    "DescribeRepositories": _described("ecr:DescribeRepositories"),
    "ListTagsForResource": needs("ecr:ListTagsForResource", _resource),
    "TagResource": needs("ecr:TagResource", _resource, request_tags("tags")),
    "UntagResource": needs("ecr:UntagResource", _resource, tag_keys("tagKeys")),
}
