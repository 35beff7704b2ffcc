"""Answers and errors of the OCI distribution API."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from lambent.base.http import Response
from lambent.wire.errors import AwsError

JSON = "application/json"
_VERSION = ("Docker-Distribution-Api-Version", "registry/2.0")
Header = tuple[str, str]


class OciError(Exception):
    """What the specification calls an error: a code and a message."""

    def __init__(self, status: int, code: str, message: str, *, headers: Sequence[Header] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


# The registry's stores raise ECR's errors
_CODES = {
    "RepositoryNotFoundException": (404, "NAME_UNKNOWN"),
    "ImageNotFoundException": (404, "MANIFEST_UNKNOWN"),
    "LayersNotFoundException": (404, "MANIFEST_BLOB_UNKNOWN"),
    "ReferencedImagesNotFoundException": (404, "MANIFEST_BLOB_UNKNOWN"),
    "ImageTagAlreadyExistsException": (400, "TAG_INVALID"),
    "ImageReferencedByManifestList": (409, "DENIED"),
    "UploadNotFoundException": (404, "BLOB_UPLOAD_UNKNOWN"),
    "LimitExceededException": (429, "TOOMANYREQUESTS"),
}


def from_aws(error: AwsError) -> OciError:
    status, code = _CODES.get(error.code, (400, "UNSUPPORTED"))
    return OciError(status, code, error.message or error.code)


def answer(status: int, body: bytes = b"", headers: Sequence[Header] = (), content_type: str = JSON) -> Response:
    return Response(status, (("Content-Type", content_type), _VERSION, *headers), body)


def refuse(error: OciError) -> Response:
    body = orjson.dumps({"errors": [{"code": error.code, "message": error.message}]})
    return answer(error.status, body, error.headers)


def number(text: str | None, what: str, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise OciError(400, "PAGINATION_NUMBER_INVALID", f"{what} is no number")
    return int(text)
