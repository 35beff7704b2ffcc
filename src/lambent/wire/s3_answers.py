"""What S3's answers have that its model does not tell: the names of documents, and errors in its own words."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from lambent.wire.errors import AwsError

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

ROOTS = {
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "DeleteObjects": "DeleteResult",
    "GetBucketAccelerateConfiguration": "AccelerateConfiguration",
    "GetBucketAcl": "AccessControlPolicy",
    "GetBucketCors": "CORSConfiguration",
    "GetBucketLifecycle": "LifecycleConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketNotificationConfiguration": "NotificationConfiguration",
    "GetBucketRequestPayment": "RequestPaymentConfiguration",
    "GetBucketTagging": "Tagging",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketWebsite": "WebsiteConfiguration",
    "GetObjectAcl": "AccessControlPolicy",
    "GetObjectAttributes": "GetObjectAttributesResponse",
    "GetObjectTagging": "Tagging",
    "ListBuckets": "ListAllMyBucketsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "ListObjectVersions": "ListVersionsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListParts": "ListPartsResult",
}
"""The name of the document that answers an operation, where it is not that of its payload."""

_CODES = {
    "AccessDeniedException": "AccessDenied",
    "IncompleteSignatureException": "AuthorizationHeaderMalformed",
    "InvalidRequestContentException": "InvalidRequest",
    "NotImplementedException": "NotImplemented",
    "RequestEntityTooLargeException": "EntityTooLarge",
    "SerializationException": "InvalidArgument",
    "ServiceException": "InternalError",
    "UnknownOperationException": "MethodNotAllowed",
    "UnsupportedMediaTypeException": "InvalidRequest",
    "ValidationException": "InvalidArgument",
}
"""What S3 calls the errors that all services share."""
_STATUSES = {"EntityTooLarge": 400, "MethodNotAllowed": 405}


def error(raised: AwsError, status: int, request_id: str) -> tuple[int, list[tuple[str, str]], str]:
    """(status, headers, document) of an error."""
    code = _CODES.get(raised.code, raised.code)
    status = _STATUSES.get(code, status)
    inner = f"<Code>{escape(code)}</Code><Message>{escape(raised.message or '')}</Message>"
    inner += "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in raised.fields.items())
    document = f"<Error>{inner}<RequestId>{request_id}</RequestId><HostId>{host_id(request_id)}</HostId></Error>"
    return status, [*identity(request_id), *raised.headers], document


def identity(request_id: str) -> list[tuple[str, str]]:
    return [("x-amz-request-id", request_id), ("x-amz-id-2", host_id(request_id))]


def host_id(request_id: str) -> str:
    """A second identifier, of the shape that clients expect; it tells nothing that the first does not."""
    return base64.b64encode(hashlib.sha256(request_id.encode()).digest()).decode()


def location(result: Mapping[str, Any]) -> str:
    """The document of GetBucketLocation: a single element."""
    region = escape(result.get("LocationConstraint") or "")
    return f'<LocationConstraint xmlns="{NAMESPACE}">{region}</LocationConstraint>'
