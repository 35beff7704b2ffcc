"""S3's errors, in its words."""

from __future__ import annotations

from typing import Any

from lambent.wire.errors import AwsError


def no_bucket(name: str) -> AwsError:
    return AwsError("NoSuchBucket", "The specified bucket does not exist", status=404, BucketName=name)


def no_key(key: str, **more: Any) -> AwsError:
    return AwsError("NoSuchKey", "The specified key does not exist.", status=404, Key=key, **more)


def no_version(key: str, version: str) -> AwsError:
    message = "The specified version does not exist."
    return AwsError("NoSuchVersion", message, status=404, Key=key, VersionId=version)


def no_upload(upload: str) -> AwsError:
    message = (
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or"
        " completed."
    )
    return AwsError("NoSuchUpload", message, status=404, UploadId=upload)


def invalid_argument(message: str, name: str = "", value: str = "") -> AwsError:
    if not name:
        return AwsError("InvalidArgument", message, status=400)
    return AwsError("InvalidArgument", message, status=400, ArgumentName=name, ArgumentValue=value)


def invalid_request(message: str) -> AwsError:
    return AwsError("InvalidRequest", message, status=400)


def malformed_xml() -> AwsError:
    message = "The XML you provided was not well-formed or did not validate against our published schema"
    return AwsError("MalformedXML", message, status=400)


def bad_digest(algorithm: str) -> AwsError:
    if algorithm == "Content-MD5":
        return AwsError("BadDigest", "The Content-MD5 you specified did not match what we received.", status=400)
    message = f"The {algorithm} you specified did not match the calculated checksum."
    return AwsError("BadDigest", message, status=400)


def precondition_failed(condition: str) -> AwsError:
    message = "At least one of the pre-conditions you specified did not hold"
    return AwsError("PreconditionFailed", message, status=412, Condition=condition)


def invalid_part() -> AwsError:
    message = (
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the"
        " specified entity tag may not match the part's entity tag."
    )
    return AwsError("InvalidPart", message, status=400)


def method_not_allowed(method: str, kind: str, **more: Any) -> AwsError:
    message = "The specified method is not allowed against this resource."
    return AwsError("MethodNotAllowed", message, status=405, Method=method, ResourceType=kind, **more)


def access_denied(message: str = "Access Denied") -> AwsError:
    return AwsError("AccessDenied", message, status=403)
