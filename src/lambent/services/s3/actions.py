"""What S3's operations need permission for.

Source: service authorization reference, "Actions, resources, and condition keys for Amazon S3".
"""

from __future__ import annotations

from collections.abc import Iterable

from lambent.services.s3.copies_api import parse_source
from lambent.wire.errors import AwsError
from lambent.wire.gate import Access, Parameters, Rule, Rules, key, needs, together, where
from lambent.wire.operations import Caller


def _bucket(_caller: Caller, parameters: Parameters) -> str:
    return _arn(parameters["Bucket"])


def _object(_caller: Caller, parameters: Parameters) -> str:
    return f"{_arn(parameters['Bucket'])}/{parameters['Key']}"


def _arn(bucket: str) -> str:
    return bucket if bucket.startswith("arn:") else f"arn:aws:s3:::{bucket}"


def _source(_caller: Caller, parameters: Parameters) -> Iterable[Access]:
    """Reading what is copied."""
    try:
        bucket, name, version = parse_source(parameters["CopySource"])
    except AwsError:
        return ()  # which the handler refuses
    action = "s3:GetObject" if version is None else "s3:GetObjectVersion"
    return (Access(action, f"{_arn(bucket)}/{name}"),)


def _deleted(_caller: Caller, parameters: Parameters) -> Iterable[Access]:
    """One for each of the objects that are to go."""
    for item in parameters["Delete"]["Objects"]:
        action = "s3:DeleteObjectVersion" if item.get("VersionId") else "s3:DeleteObject"
        yield Access(action, f"{_arn(parameters['Bucket'])}/{item['Key']}")


def _versioned(action: str, of_version: str) -> Rule:
    """On an object, and another action where the request names a version."""

    def rule(caller: Caller, parameters: Parameters) -> Iterable[Access]:
        chosen = of_version if parameters.get("VersionId") else action
        return (Access(chosen, _object(caller, parameters)),)

    return rule


_LISTED = (key("s3:prefix", "Prefix"), key("s3:delimiter", "Delimiter"), key("s3:max-keys", "MaxKeys"))
_SAID = (key("s3:x-amz-acl", "ACL"), key("s3:x-amz-server-side-encryption", "ServerSideEncryption"))
_PUT = needs("s3:PutObject", _object, *_SAID)
_TAGGED = where(lambda given: given.get("Tagging"), needs("s3:PutObjectTagging", _object))
_WITH_ACL = where(lambda given: given.get("ACL"), needs("s3:PutObjectAcl", _object))
_ON_BUCKETS = {
    "CreateBucket": "CreateBucket",
    "DeleteBucket": "DeleteBucket",
    "DeleteBucketCors": "PutBucketCORS",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "DeleteBucketPolicy": "DeleteBucketPolicy",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "GetBucketAcl": "GetBucketAcl",
    "GetBucketCors": "GetBucketCORS",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetBucketLocation": "GetBucketLocation",
    "GetBucketLogging": "GetBucketLogging",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "GetBucketOwnershipControls": "GetBucketOwnershipControls",
    "GetBucketPolicy": "GetBucketPolicy",
    "GetBucketPolicyStatus": "GetBucketPolicyStatus",
    "GetBucketReplication": "GetReplicationConfiguration",
    "GetBucketRequestPayment": "GetBucketRequestPayment",
    "GetBucketTagging": "GetBucketTagging",
    "GetBucketVersioning": "GetBucketVersioning",
    "GetBucketWebsite": "GetBucketWebsite",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
    "ListBucketAnalyticsConfigurations": "GetAnalyticsConfiguration",
    "ListBucketIntelligentTieringConfigurations": "GetIntelligentTieringConfiguration",
    "ListBucketInventoryConfigurations": "GetInventoryConfiguration",
    "ListBucketMetricsConfigurations": "GetMetricsConfiguration",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "PutBucketAcl": "PutBucketAcl",
    "PutBucketCors": "PutBucketCORS",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "PutBucketOwnershipControls": "PutBucketOwnershipControls",
    "PutBucketPolicy": "PutBucketPolicy",
    "PutBucketRequestPayment": "PutBucketRequestPayment",
    "PutBucketTagging": "PutBucketTagging",
    "PutBucketVersioning": "PutBucketVersioning",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}

RULES: Rules = {
    **{operation: needs(f"s3:{action}", _bucket) for operation, action in _ON_BUCKETS.items()},
    "ListBuckets": needs("s3:ListAllMyBuckets"),
    "ListObjects": needs("s3:ListBucket", _bucket, *_LISTED),
    "ListObjectsV2": needs("s3:ListBucket", _bucket, *_LISTED),
    "ListObjectVersions": needs("s3:ListBucketVersions", _bucket, *_LISTED),
    "PutObject": together(_PUT, _TAGGED, _WITH_ACL),
    "CopyObject": together(_PUT, _TAGGED, _WITH_ACL, _source),
    "CreateMultipartUpload": together(_PUT, _TAGGED, _WITH_ACL),
    "UploadPart": needs("s3:PutObject", _object),
    "UploadPartCopy": together(needs("s3:PutObject", _object), _source),
    "CompleteMultipartUpload": needs("s3:PutObject", _object),
    "AbortMultipartUpload": needs("s3:AbortMultipartUpload", _object),
    "ListParts": needs("s3:ListMultipartUploadParts", _object),
    "GetObject": _versioned("s3:GetObject", "s3:GetObjectVersion"),
    "HeadObject": _versioned("s3:GetObject", "s3:GetObjectVersion"),
    "GetObjectAttributes": together(
        _versioned("s3:GetObject", "s3:GetObjectVersion"),
        _versioned("s3:GetObjectAttributes", "s3:GetObjectVersionAttributes"),
    ),
    "DeleteObject": _versioned("s3:DeleteObject", "s3:DeleteObjectVersion"),
    "DeleteObjects": _deleted,
    "GetObjectTagging": _versioned("s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
    "PutObjectTagging": _versioned("s3:PutObjectTagging", "s3:PutObjectVersionTagging"),
    "DeleteObjectTagging": _versioned("s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging"),
    "GetObjectAcl": _versioned("s3:GetObjectAcl", "s3:GetObjectVersionAcl"),
    "PutObjectAcl": _versioned("s3:PutObjectAcl", "s3:PutObjectVersionAcl"),
}
