"""Objects from HTML forms: `POST /bucket` with multipart/form-data, the file last and never whole in memory."""

from __future__ import annotations

import urllib.parse
from collections.abc import AsyncIterator, Mapping
from email.message import Message
from typing import Any
from xml.sax.saxutils import escape

from lambent.base.clock import Clock
from lambent.base.http import Headers, Request, Response
from lambent.base.http_bodies import BodyStream
from lambent.services.s3 import errors
from lambent.services.s3.form_policy import Policy
from lambent.services.s3.objects_api import ObjectsApi
from lambent.wire import s3_answers
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Operations
from lambent.wire.streams import Incoming

_FIELDS = 20 * 1024  # bytes of everything before the file
_MEMBERS = {
    "acl": "ACL",
    "cache-control": "CacheControl",
    "content-disposition": "ContentDisposition",
    "content-encoding": "ContentEncoding",
    "content-type": "ContentType",
    "x-amz-storage-class": "StorageClass",
    "x-amz-server-side-encryption": "ServerSideEncryption",
    "x-amz-server-side-encryption-aws-kms-key-id": "SSEKMSKeyId",
    "x-amz-website-redirect-location": "WebsiteRedirectLocation",
    "x-amz-checksum-crc32": "ChecksumCRC32",
    "x-amz-checksum-crc32c": "ChecksumCRC32C",
    "x-amz-checksum-crc64nvme": "ChecksumCRC64NVME",
    "x-amz-checksum-sha1": "ChecksumSHA1",
    "x-amz-checksum-sha256": "ChecksumSHA256",
    "content-md5": "ContentMD5",
}
_META = "x-amz-meta-"


class Forms:
    """A `lambent.wire.gateway.Forms`."""

    def __init__(self, objects: ObjectsApi, operations: Operations, clock: Clock) -> None:
        self._objects = objects
        self._operations = operations
        self._clock = clock

    async def post(self, context: Context, request: Request, body: BodyStream) -> Response:
        """Store the file of a form. Raises AwsError."""
        if self._operations.gate.enforces:
            raise AwsError("NotImplemented", "Lambent does not check the signatures of forms yet.", status=501)
        bucket = urllib.parse.unquote(request.path).strip("/")
        form = Form(_boundary(request), body)
        fields = await form.fields()
        policy = Policy.read(fields["policy"]) if "policy" in fields else None
        if "key" not in fields:
            message = (
                "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the"
                " fields."
            )
            raise errors.invalid_argument(message, "key", "")
        key = fields["key"].replace("${filename}", form.filename)
        if policy is not None:
            policy.check({**fields, "bucket": bucket}, self._clock.now())
        content = _Content(form, policy)
        put = await self._objects.put_object(
            context, {"Bucket": bucket, "Key": key, "Body": content, **_members(fields)}
        )
        return _answer(context, fields, bucket, key, put)


class Form:
    """A form that is read as it comes."""

    def __init__(self, boundary: bytes, body: BodyStream) -> None:
        self.filename = ""
        self._body = body
        self._delimiter = b"\r\n--" + boundary
        self._held = bytearray(b"\r\n")  # so that the first delimiter looks like the others

    async def _more(self) -> None:
        piece = await self._body.read()
        if not piece:
            raise _malformed("The body of your POST request is not well-formed multipart/form-data.")
        self._held += piece

    async def _until(self, mark: bytes, most: int) -> bytes:
        """What comes before `mark`, which goes too."""
        while (at := self._held.find(mark)) < 0:
            if len(self._held) > most:
                message = "Your POST request fields preceding the upload file were too large."
                raise AwsError("MaxPostPreDataLengthExceeded", message, status=400, MaxPostPreDataLengthBytes=most)
            await self._more()
        found = bytes(self._held[:at])
        del self._held[: at + len(mark)]
        return found

    async def fields(self) -> dict[str, str]:
        """All before the file, by their names in lower case."""
        fields: dict[str, str] = {}
        left = _FIELDS
        await self._until(self._delimiter, left)
        while True:
            head = await self._until(b"\r\n\r\n", left)
            if head.startswith(b"--"):
                raise errors.invalid_argument("POST requires exactly one file upload per request.", "file", "0")
            name, filename = _named(head)
            if name == "file":
                self.filename = filename
                return fields
            value = await self._until(self._delimiter, left)
            fields[name] = value.decode("utf-8", "replace")
            left = max(1024, left - len(head) - len(value))

    async def content(self) -> AsyncIterator[bytes]:
        """The file, up to the delimiter behind it. What follows is nothing."""
        while (at := self._held.find(self._delimiter)) < 0:
            ready = len(self._held) - len(self._delimiter)
            if ready > 0:
                yield bytes(self._held[:ready])
                del self._held[:ready]
            await self._more()
        yield bytes(self._held[:at])
        self._held.clear()
        self._body.discard()


class _Content(Incoming):
    """The file of a form as the body of an object."""

    def __init__(self, form: Form, policy: Policy | None) -> None:
        super().__init__(Headers([]), BodyStream())
        self._form = form
        self._policy = policy

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._form.content():
            size += len(piece)
            if self._policy is not None:
                self._policy.check_size(size, complete=False)
            if piece:
                yield piece
        if self._policy is not None:
            self._policy.check_size(size, complete=True)


def _boundary(request: Request) -> bytes:
    message = Message()
    message["content-type"] = request.headers.get("content-type") or ""
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str) or not 1 <= len(boundary) <= 70:
        raise _malformed("The Content-Type of a POST of a form must name its boundary.")
    return boundary.encode("latin-1", "replace")


def _named(head: bytes) -> tuple[str, str]:
    """(name in lower case, file name) of a part."""
    for line in head.decode("utf-8", "replace").split("\r\n"):
        label, _, value = line.partition(":")
        if label.strip().lower() == "content-disposition":
            message = Message()
            message["content-disposition"] = value.strip()
            name = message.get_param("name", header="content-disposition")
            filename = (message.get_filename() or "").replace("\\", "/").rpartition("/")[2]
            return (name if isinstance(name, str) else "").lower(), filename
    raise _malformed("A part of your POST request has no name.")


def _members(fields: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {member: fields[name] for name, member in _MEMBERS.items() if fields.get(name)}
    metadata = {name.removeprefix(_META): value for name, value in fields.items() if name.startswith(_META)}
    return found | ({"Metadata": metadata} if metadata else {})


def _answer(context: Context, fields: Mapping[str, str], bucket: str, key: str, put: Mapping[str, Any]) -> Response:
    location = f"{context.endpoint}/{bucket}/{urllib.parse.quote(key)}"
    headers = [("ETag", put["ETag"]), ("Location", location), *s3_answers.identity(context.request_id)]
    if "VersionId" in put:
        headers.append(("x-amz-version-id", put["VersionId"]))
    redirect = fields.get("success_action_redirect") or fields.get("redirect")
    if redirect and redirect.startswith(("http://", "https://")) and redirect.isprintable():
        query = urllib.parse.urlencode({"bucket": bucket, "key": key, "etag": put["ETag"]})
        target = redirect + ("&" if "?" in redirect else "?") + query
        return Response(303, [(name, value) for name, value in headers if name != "Location"] + [("Location", target)])
    status = fields.get("success_action_status")
    if status == "201":
        inner = {"Location": location, "Bucket": bucket, "Key": key, "ETag": put["ETag"]}
        text = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in inner.items())
        document = f'<?xml version="1.0" encoding="UTF-8"?>\n<PostResponse>{text}</PostResponse>'.encode()
        return Response(201, [("Content-Type", "application/xml"), *headers], document)
    return Response(200 if status == "200" else 204, headers)


def _malformed(message: str) -> AwsError:
    return AwsError("MalformedPOSTRequest", message, status=400)
