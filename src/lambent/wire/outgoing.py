"""Operations asked of a service that is somewhere else: parameters to a request, and the answer back to members.

By botocore's own serialisers and parsers, which AWS's clients use.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore import parsers, serialize
from botocore.awsrequest import HeadersDict

from lambent.base.http import Headers, Request
from lambent.wire import models
from lambent.wire.errors import AwsError
from lambent.wire.operations import Caller, Parameters

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Call:
    """One operation that is asked of somebody else."""

    service: str
    operation: str
    request: Request
    body: bytes

    @property
    def streams(self) -> str | None:
        """The member of the answer that is a stream of bytes."""
        model = models.service(self.service).operation(self.operation)
        return str(model.output_shape.serialization["payload"]) if model.has_streaming_output else None

    def result(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> dict[str, Any]:
        """The members of the answer. Raises AwsError for an error."""
        model = models.service(self.service).operation(self.operation)
        parser = parsers.create_parser(models.service(self.service).protocol)
        told = HeadersDict(headers)
        found = parser.parse({"status_code": status, "headers": told, "body": body}, model.output_shape)
        if status >= 300:
            error = found.get("Error", {})
            raise AwsError(error.get("Code") or str(status), error.get("Message") or "", status=status)
        found.pop("ResponseMetadata", None)
        return dict(found)


def call(service: str, operation: str, parameters: Parameters, caller: Caller) -> Call:
    """The request for an operation. It names the caller's account as its access key; its signature is none."""
    model = models.service(service)
    made = serialize.create_serializer(model.protocol, include_validation=False).serialize_to_request(
        dict(parameters), model.operation(operation)
    )
    query = made.get("query_string") or {}
    text = query if isinstance(query, str) else urllib.parse.urlencode(query, doseq=True)
    path = made["url_path"]
    target = path + ("&" if "?" in path else "?") * bool(text) + text
    body = made.get("body") or b""
    if isinstance(body, Mapping):
        body = urllib.parse.urlencode(body, doseq=True).encode()
    elif isinstance(body, str):
        body = body.encode()
    scope = f"{caller.account}/20260101/{caller.region}/{_signing_name(service)}/aws4_request"
    headers = {
        **{name.lower(): str(value) for name, value in made.get("headers", {}).items()},
        "host": _HOST,
        "authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={'0' * 64}",
    }
    if body:
        headers["content-length"] = str(len(body))
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Call(service, operation, Request(made["method"], target, Headers(pairs), body), body)


def _signing_name(service: str) -> str:
    metadata = models.service(service).metadata
    return str(metadata.get("signingName") or metadata["endpointPrefix"])
