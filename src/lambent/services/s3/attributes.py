"""What is said of an object when it is put, and said again when it is read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lambent.services.s3 import acl, errors
from lambent.services.s3.records import Bucket
from lambent.wire.errors import AwsError, not_built
from lambent.wire.operations import Parameters

HEADERS = (
    *("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType"),
    *("Expires", "WebsiteRedirectLocation"),
)
_METADATA_BYTES = 2048
_CLASSES = ("STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR")
_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE", "OUTPOSTS", "SNOW", "EXPRESS_ONEZONE", "FSX_OPENZFS", "FSX_ONTAP")
_CUSTOMER_KEYS = (
    *("SSECustomerAlgorithm", "SSECustomerKey", "CopySourceSSECustomerAlgorithm", "CopySourceSSECustomerKey"),
)
_LOCKS = ("ObjectLockMode", "ObjectLockRetainUntilDate", "ObjectLockLegalHoldStatus")
_DEFAULT_TYPE = "binary/octet-stream"

Attributes = dict[str, Any]


def of_request(parameters: Parameters, bucket: Bucket) -> Attributes:
    """From the members of PutObject, CreateMultipartUpload or CopyObject. Raises AwsError for what cannot be."""
    refuse_not_built(parameters)
    found: Attributes = {name: parameters[name] for name in HEADERS if parameters.get(name)}
    if isinstance(expires := found.get("Expires"), datetime):
        found["Expires"] = expires.timestamp()
    coding = [name.strip() for name in found.pop("ContentEncoding", "").split(",")]
    if coding := [name for name in coding if name and name.lower() != "aws-chunked"]:
        found["ContentEncoding"] = ",".join(coding)
    found.setdefault("ContentType", _DEFAULT_TYPE)
    if metadata := _metadata(parameters):
        found["Metadata"] = metadata
    found |= storage_class(parameters)
    found |= encryption(parameters, bucket)
    if (grants := acl.of_request(parameters, bucket)) is not None:
        found["Grants"] = grants
    return found


def refuse_not_built(parameters: Parameters) -> None:
    if any(parameters.get(name) for name in _CUSTOMER_KEYS):
        raise not_built("encryption with keys that the client provides (SSE-C)")
    if any(parameters.get(name) for name in _LOCKS):
        raise not_built("object lock")


def _metadata(parameters: Parameters) -> dict[str, str]:
    metadata = {name.lower(): value for name, value in parameters.get("Metadata", {}).items()}
    size = sum(len(name) + len(value) for name, value in metadata.items())
    if size > _METADATA_BYTES:
        message = "Your metadata headers exceed the maximum allowed metadata size"
        raise AwsError("MetadataTooLarge", message, status=400, Size=size, MaxSizeAllowed=_METADATA_BYTES)
    return metadata


def storage_class(parameters: Parameters) -> Attributes:
    """Nothing for STANDARD, which goes without saying."""
    wanted = parameters.get("StorageClass", "STANDARD")
    if wanted in _ARCHIVES:
        raise not_built(f"the storage class {wanted}")
    if wanted not in _CLASSES:
        raise AwsError("InvalidStorageClass", "The storage class you specified is not valid", status=400)
    return {} if wanted == "STANDARD" else {"StorageClass": wanted}


def encryption(parameters: Parameters, bucket: Bucket) -> Attributes:
    """What the request says of encryption at rest, else what the bucket does."""
    wanted, key = parameters.get("ServerSideEncryption"), parameters.get("SSEKMSKeyId")
    keyed = parameters.get("BucketKeyEnabled")
    if wanted is None:
        if key:
            raise errors.invalid_argument(
                "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption :"
                " aws:kms"
            )
        rule: Mapping[str, Any] = next(iter(bucket.configurations.get("encryption", {}).get("Rules", ())), {})
        default = rule.get("ApplyServerSideEncryptionByDefault", {})
        wanted, key = default.get("SSEAlgorithm", "AES256"), default.get("KMSMasterKeyID")
        keyed = rule.get("BucketKeyEnabled") if keyed is None else keyed
    if wanted not in ("AES256", "aws:kms", "aws:kms:dsse"):
        raise errors.invalid_argument(
            "The encryption method specified is not supported", "x-amz-server-side-encryption", wanted
        )
    found: Attributes = {"ServerSideEncryption": wanted}
    if wanted != "AES256":
        found |= {"SSEKMSKeyId": key} if key else {}
        found |= {"BucketKeyEnabled": True} if keyed else {}
    return found


def shown(attributes: Mapping[str, Any], *names: str) -> Attributes:
    """Members of an answer."""
    return {name: attributes[name] for name in names if name in attributes}


def encryption_shown(attributes: Mapping[str, Any]) -> Attributes:
    return shown(attributes, "ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled")


def headers_shown(attributes: Mapping[str, Any]) -> Attributes:
    """As GetObject and HeadObject tell them."""
    found = shown(attributes, *HEADERS, "Metadata", "StorageClass")
    if "Expires" in found:
        found["Expires"] = datetime.fromtimestamp(found["Expires"], UTC)
    return found | encryption_shown(attributes)


def moment(seconds: float) -> datetime:
    """As answers tell it: whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC)


def http_date(seconds: float) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(int(seconds)))
