"""Results and errors to responses, for every protocol, led by the operation's output shape."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import cbor2
import orjson
from botocore.model import ListShape, MapShape, Shape, StructureShape

from lambent.base.http import Response
from lambent.wire import models, s3_answers
from lambent.wire.errors import AwsError
from lambent.wire.models import Service
from lambent.wire.router import Route
from lambent.wire.values import ISO8601, RFC822, UNIX, format_timestamp

Headers = list[tuple[str, str]]

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what no document may hold
_REPLACEMENT = "\ufffd"

_JSON_TYPES = {"1.0": "application/x-amz-json-1.0", "1.1": "application/x-amz-json-1.1"}
_UNTYPED = frozenset(
    {"ValidationException", "SerializationException", "RequestEntityTooLargeException", "AccessDeniedException"}
)


def serialize(route: Route, result: Mapping[str, Any], request_id: str) -> Response:
    """The response to a request that went well."""
    shape = route.operation.output_shape
    protocol = route.protocol
    if protocol in (models.REST_JSON, models.REST_XML):
        return _rest(route, shape, result, request_id)
    if protocol == models.JSON:
        version = str(route.service.metadata.get("jsonVersion", "1.0"))
        body = orjson.dumps(_document(shape, result, UNIX)) if shape is not None else b"{}"
        return Response(200, _headers(_JSON_TYPES[version], request_id), body)
    if protocol == models.CBOR:
        headers = [*_headers("application/cbor", request_id), ("smithy-protocol", "rpc-v2-cbor")]
        return Response(200, headers, _cbor(shape, result) if shape is not None else b"")
    return _query(route, shape, result, request_id)


def serialize_error(route: Route | None, error: AwsError, request_id: str) -> Response:
    """The response to a request that was refused; without a route as rest-json, which most can read."""
    service = route.service if route is not None else None
    shape = service.error(error.code) if service is not None else None
    status = error.status or _status(shape)
    protocol = route.protocol if route is not None else models.REST_JSON
    if protocol in (models.QUERY, models.EC2, models.REST_XML):
        return _xml_error(protocol, service.name if service else "", error, shape, status, request_id)
    code = shape.name if shape is not None else error.code
    body = _error_body(protocol, error, shape, code)
    further = [*_query_compatible(service, shape, status), *_error_headers(shape, error)]
    if protocol == models.CBOR:
        headers = [*_headers("application/cbor", request_id), ("smithy-protocol", "rpc-v2-cbor"), *further]
        return Response(status, headers, cbor2.dumps(body))
    kind = "application/json"
    if protocol == models.JSON and service is not None:
        kind = _JSON_TYPES[str(service.metadata.get("jsonVersion", "1.0"))]
    headers = [*_headers(kind, request_id), ("x-amzn-ErrorType", code), *further]
    return Response(status, headers, orjson.dumps(body))


def serialize_s3_error(error: AwsError, request_id: str) -> Response:
    """As `serialize_error` for S3, whatever was asked."""
    shape = models.service("s3").error(error.code)
    status, headers, text = s3_answers.error(error, error.status or _status(shape), request_id)
    return Response(status, [("Content-Type", "application/xml"), *headers], _declared(text))


def _headers(content_type: str, request_id: str) -> Headers:
    return [("Content-Type", content_type), ("x-amzn-RequestId", request_id)]


def _status(shape: Shape | None) -> int:
    if shape is None:
        return 400
    return int(shape.metadata.get("error", {}).get("httpStatusCode", 400))


# Errors


def _error_body(protocol: str, error: AwsError, shape: Shape | None, code: str) -> dict[str, Any]:
    body: dict[str, Any] = {}
    members = shape.members if isinstance(shape, StructureShape) else {}
    if protocol != models.REST_JSON:
        body["__type"] = code
    elif "Type" in members and error.code not in _UNTYPED:
        fault = error.fields.get("Type", "User" if _status(shape) < 500 else "Service")
        if fault is not None:
            body["Type"] = fault
    for name, value in error.fields.items():
        member = members.get(name)
        if name == "Type" or value is None or (member is not None and "location" in member.serialization):
            continue
        if member is None:
            body[name] = value
        else:
            body[name] = _cbor_value(member, value) if protocol == models.CBOR else _document(member, value, UNIX)
    spelling = next((name for name in members if name.lower() == "message"), None)
    if spelling is None:
        spelling = "message" if protocol != models.CBOR else "Message"
    if error.code == "AccessDeniedException" and error.message is None:
        spelling = "Message"
    body[spelling] = None if error.message is None else _encodable(error.message)
    return body


def _error_headers(shape: Shape | None, error: AwsError) -> Headers:
    members = shape.members if isinstance(shape, StructureShape) else {}
    found = []
    for name, value in error.fields.items():
        member = members.get(name)
        if member is not None and member.serialization.get("location") == "header":
            found.append((str(member.serialization.get("name", name)), str(value)))
    return found


def _query_compatible(service: Service | None, shape: Shape | None, status: int) -> Headers:
    """The code that clients of the older protocol know, where a service has moved from query to JSON."""
    if service is None or "awsQueryCompatible" not in service.metadata or shape is None:
        return []
    code = shape.metadata.get("error", {}).get("code", shape.name)
    return [("x-amzn-query-error", f"{code};{'Sender' if status < 500 else 'Receiver'}")]


def _xml_error(
    protocol: str, service: str, error: AwsError, shape: Shape | None, status: int, request_id: str
) -> Response:
    code = shape.metadata.get("error", {}).get("code", error.code) if shape is not None else error.code
    if protocol == models.QUERY and shape is None and code == "ValidationException":
        code = "ValidationError"  # as the services of the query protocol have always called it
    inner = f"<Code>{escape(str(code))}</Code><Message>{escape(error.message or '')}</Message>"
    extra = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in error.fields.items() if name != "Type")
    header = ("x-amz-request-id" if protocol == models.REST_XML else "x-amzn-RequestId", request_id)
    if service == "s3":
        return serialize_s3_error(error, request_id)
    if protocol == models.EC2:
        text = f"<Response><Errors><Error>{inner}{extra}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    elif protocol == models.REST_XML:
        text = f"<Error>{inner}{extra}<RequestId>{request_id}</RequestId></Error>"
    else:
        fault = "Sender" if status < 500 else "Receiver"
        text = (
            f"<ErrorResponse><Error><Type>{fault}</Type>{inner}{extra}</Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    return Response(status, [("Content-Type", "text/xml"), header], _declared(text))


def _encodable(text: str) -> str:
    """`text` without lone surrogates, which UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()


def _declared(text: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{_NOT_XML.sub(_REPLACEMENT, text)}'.encode()


# REST


def _rest(route: Route, shape: Shape | None, result: Mapping[str, Any], request_id: str) -> Response:
    status = int(route.operation.http.get("responseCode", 200))
    is_json = route.protocol == models.REST_JSON
    identity = [("x-amzn-RequestId" if is_json else "x-amz-request-id", request_id)]
    if route.service.name == "s3":
        identity = s3_answers.identity(request_id)
    if not isinstance(shape, StructureShape):
        return Response(status, identity, b"")
    headers: Headers = []
    body_members: dict[str, Any] = {}
    places = _places(shape)
    for name, value in result.items():
        if value is None or name not in places:
            continue
        location, key, member = places[name]
        if location == "statusCode":
            status = int(value)
        elif location == "header":
            headers.append((key, _header(member, value)))
        elif location == "headers":
            headers += [(key + suffix, str(item)) for suffix, item in value.items()]
        else:
            body_members[name] = value
    payload = shape.serialization.get("payload")
    if payload is not None:
        body, content_type = _payload(places[payload][2], result.get(payload), is_json)
    elif is_json:
        if route.operation.name == "DeleteFunction":  # its StatusCode member is the status line's
            status = int(body_members.get("StatusCode", status))
        body, content_type = orjson.dumps(_document(shape, body_members, UNIX)), "application/json"
    elif body_members or _has_body(shape):
        body, content_type = _xml_result(route, shape, body_members)
    else:
        body, content_type = b"", ""
    if content_type and not any(name.lower() == "content-type" for name, _value in headers):
        headers.append(("Content-Type", content_type))
    return Response(status, [*headers, *identity], body)


def _xml_result(route: Route, shape: StructureShape, members: Mapping[str, Any]) -> tuple[bytes, str]:
    name = route.operation.name
    if route.service.name != "s3":
        return _xml_root(shape, members, f"{name}Result"), "text/xml"
    if name == "GetBucketLocation":
        return _declared(s3_answers.location(members)), "application/xml"
    root = s3_answers.ROOTS.get(name, f"{name}Result")
    return _xml_root(shape, members, root, s3_answers.NAMESPACE), "application/xml"


@cache
def _places(shape: StructureShape) -> Mapping[str, tuple[str, str, Shape]]:
    """Where each member of a model's structure goes: (location, "" for the body; its name there; its shape)."""
    return {
        name: (
            member.serialization.get("location", ""),
            str(member.serialization.get("name", "" if member.serialization.get("location") == "headers" else name)),
            member,
        )
        for name, member in shape.members.items()
    }


def _has_body(shape: StructureShape) -> bool:
    return any("location" not in member.serialization for member in shape.members.values())


def _payload(member: Shape, value: Any, is_json: bool) -> tuple[bytes, str]:
    if member.serialization.get("eventstream"):
        return b"", ""  # wire.eventstream sends it
    if member.type_name == "blob":
        return (value or b""), "application/json" if is_json else "binary/octet-stream"
    if member.type_name == "string":
        return (value or "").encode(), "application/json" if is_json else "text/plain"
    if is_json:
        return orjson.dumps(_document(member, value or {}, UNIX)), "application/json"
    return _xml_root(member, value or {}, member.name), "application/xml"


def _header(shape: Shape, value: Any) -> str:
    if type(value) is str and "jsonvalue" not in shape.serialization:
        return value
    if isinstance(value, datetime):
        return str(format_timestamp(value, shape.serialization.get("timestampFormat", RFC822)))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    if shape.serialization.get("jsonvalue"):
        return base64.b64encode(orjson.dumps(value)).decode()
    return str(value)


# Documents: JSON and CBOR


def json_document(shape: Shape, value: Mapping[str, Any]) -> bytes:
    """A structure as JSON, under its names on the wire."""
    return orjson.dumps(_document(shape, value, UNIX))


def _document(shape: Shape, value: Any, form: str) -> Any:
    """`value` in what JSON can hold, under its names on the wire."""
    if isinstance(shape, StructureShape):
        if getattr(shape, "is_document_type", False):
            return value
        found = {}
        for name, item in value.items():
            member = shape.members.get(name)
            if member is not None and item is not None:
                found[member.serialization.get("name", name)] = _document(member, item, form)
        return found
    if isinstance(shape, ListShape):
        return [_document(shape.member, item, form) for item in value]
    if isinstance(shape, MapShape):
        return {str(key): _document(shape.value, item, form) for key, item in value.items()}
    if isinstance(value, datetime):
        return format_timestamp(value, shape.serialization.get("timestampFormat", form))
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    return value


def _cbor(shape: Shape, value: Any) -> bytes:
    return cbor2.dumps(_cbor_value(shape, value))


def _cbor_value(shape: Shape, value: Any) -> Any:
    if isinstance(shape, StructureShape):
        members = shape.members
        return {
            members[name].serialization.get("name", name): _cbor_value(members[name], item)
            for name, item in value.items()
            if name in members and item is not None
        }
    if isinstance(shape, ListShape):
        return [_cbor_value(shape.member, item) for item in value]
    if isinstance(shape, MapShape):
        return {str(key): _cbor_value(shape.value, item) for key, item in value.items()}
    if isinstance(value, datetime):
        return cbor2.CBORTag(1, value.timestamp())
    if shape.type_name in ("double", "float") and isinstance(value, int):
        return float(value)
    return value


# XML, query and EC2


def _query(route: Route, shape: Shape | None, result: Mapping[str, Any], request_id: str) -> Response:
    name = route.operation.name
    namespace = route.service.metadata.get("xmlNamespace") or ""
    if isinstance(namespace, Mapping):
        namespace = namespace.get("uri", "")
    ec2 = route.protocol == models.EC2
    inner = ""
    wrapper = None
    if isinstance(shape, StructureShape):
        inner = _xml_members(shape, result, ec2)
        wrapper = shape.serialization.get("resultWrapper")
    if ec2:
        text = f"<requestId>{request_id}</requestId>{inner}"
    else:
        inner = f"<{wrapper}>{inner}</{wrapper}>" if wrapper else inner
        text = f"{inner}<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
    root = f"<{name}Response xmlns={quoteattr(str(namespace))}>{text}</{name}Response>"
    return Response(200, [("Content-Type", "text/xml"), ("x-amzn-RequestId", request_id)], _declared(root))


def _xml_root(shape: Shape, value: Mapping[str, Any], default: str, namespace: str | None = None) -> bytes:
    name = shape.serialization.get("name") or shape.serialization.get("resultWrapper") or default
    namespace = namespace or shape.serialization.get("xmlNamespace", {})
    uri = namespace.get("uri") if isinstance(namespace, Mapping) else namespace
    attribute = f" xmlns={quoteattr(str(uri))}" if uri else ""
    assert isinstance(shape, StructureShape)
    return _declared(f"<{name}{attribute}{_xml_attributes(shape, value)}>{_xml_members(shape, value)}</{name}>")


def _xml_attributes(shape: StructureShape, value: Mapping[str, Any]) -> str:
    found = ""
    for name, member in shape.members.items():
        if member.serialization.get("xmlAttribute") and name in value:
            key = member.serialization.get("name", name)
            if ":" in key and "xmlns:" + key.split(":")[0] not in found:
                uri = shape.serialization.get("xmlNamespace", {}).get("uri", "")
                found += f" xmlns:{key.split(':')[0]}={quoteattr(uri)}"
            found += f" {key}={quoteattr(str(value[name]))}"
    return found


def _xml_members(shape: StructureShape, value: Mapping[str, Any], ec2: bool = False) -> str:
    parts = []
    for name, member in shape.members.items():
        item = value.get(name)
        if item is None or member.serialization.get("xmlAttribute") or "location" in member.serialization:
            continue
        parts.append(_xml(member, item, str(member.serialization.get("name", name)), ec2))
    return "".join(parts)


def _xml(shape: Shape, value: Any, name: str, ec2: bool) -> str:
    if isinstance(shape, StructureShape):
        return f"<{name}{_xml_attributes(shape, value)}>{_xml_members(shape, value, ec2)}</{name}>"
    if isinstance(shape, ListShape):
        return _xml_list(shape, value, name, ec2)
    if isinstance(shape, MapShape):
        return _xml_map(shape, value, name, ec2)
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, datetime):
        text = str(format_timestamp(value, shape.serialization.get("timestampFormat", ISO8601)))
    elif isinstance(value, bytes | bytearray):
        text = base64.b64encode(value).decode()
    else:
        text = escape(str(value), {"\r": "&#xD;"})
    return f"<{name}>{text}</{name}>"


def _xml_list(shape: ListShape, value: Sequence[Any], name: str, ec2: bool) -> str:
    if shape.serialization.get("flattened"):
        item_name = str(shape.member.serialization.get("name", name))
        return "".join(_xml(shape.member, item, item_name, ec2) for item in value)
    item_name = str(shape.member.serialization.get("name", "item" if ec2 else "member"))
    return f"<{name}>{''.join(_xml(shape.member, item, item_name, ec2) for item in value)}</{name}>"


def _xml_map(shape: MapShape, value: Mapping[str, Any], name: str, ec2: bool) -> str:
    key_name = str(shape.key.serialization.get("name", "key"))
    value_name = str(shape.value.serialization.get("name", "value"))
    flattened = bool(shape.serialization.get("flattened"))
    entry = name if flattened else "entry"
    entries = "".join(
        f"<{entry}>{_xml(shape.key, key, key_name, ec2)}{_xml(shape.value, item, value_name, ec2)}</{entry}>"
        for key, item in value.items()
    )
    return entries if flattened else f"<{name}>{entries}</{name}>"
