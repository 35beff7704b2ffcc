"""HTTP requests from members of which some are wrong: the serializers of the SDKs refuse to make such."""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from datetime import datetime
from typing import Any

from botocore.model import OperationModel

from lambent.base.http import Headers, Request
from recorded.stage import ACCOUNT, REGION

# Whose request it is; nobody checks the signature.
_AUTHORIZATION = (
    f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/{REGION}/lambda/aws4_request, SignedHeaders=host, Signature=0"
).encode()


def request(operation: OperationModel, members: dict[str, Any]) -> Request:
    """A rest-json request. A label that is missing is left empty."""
    shape = operation.input_shape
    path, query, headers, body = operation.http["requestUri"], [], [], {}
    payload = shape.serialization.get("payload") if shape is not None else None
    content = b""
    for name, value in members.items():
        member = shape.members[name]
        location, wire = member.serialization.get("location"), member.serialization.get("name", name)
        if location == "uri":
            path = re.sub(rf"\{{{wire}\+?\}}", urllib.parse.quote(_text(value), safe=""), path)
        elif location == "querystring":
            query += [(wire, _text(one)) for one in (value if isinstance(value, list) else [value])]
        elif location == "header":
            headers.append((wire.lower().encode(), _text(value).encode()))
        elif name == payload:
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
        else:
            body[wire] = value
    if body or not payload:
        content = content or json.dumps(body, default=_plain).encode()
    target = path + (f"{'&' if '?' in path else '?'}{urllib.parse.urlencode(query)}" if query else "")
    headers += [(b"content-type", b"application/json"), (b"authorization", _AUTHORIZATION)]
    return Request(operation.http["method"], target, Headers(headers), content)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(type(value))
