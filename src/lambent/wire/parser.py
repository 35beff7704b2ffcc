"""Requests to parameters: one parser for every protocol, led by the operation's input shape.

Parameters come out by their model names: blobs as bytes, timestamps as aware datetimes, absent members absent.
What the model does not know is ignored; what has the wrong type is a SerializationException.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree

import cbor2
import orjson
from botocore.model import ListShape, MapShape, Shape, StructureShape

from lambent.base.http import Request
from lambent.wire import models
from lambent.wire.errors import AwsError
from lambent.wire.router import Route
from lambent.wire.values import parse_timestamp

_INTEGERS = {"byte": 8, "short": 16, "integer": 32, "long": 64}  # bits
_FLOATS = ("float", "double", "bigdecimal")
_DIGITS = re.compile(r"[+-]?[0-9]{1,19}")
_DEPTH = 64  # nested values of recursive shapes
_XML_BYTES_LIMIT = 16 << 20


def _wrong(message: str) -> AwsError:
    return AwsError("SerializationException", message, status=400)


def parse(route: Route, request: Request, body: bytes) -> dict[str, Any]:
    """The parameters of the request. `body` is what was left after transfer and content codings were undone."""
    shape = route.operation.input_shape
    if shape is None:
        return {}
    if route.protocol in (models.REST_JSON, models.REST_XML):
        return _rest(route, shape, request, body)
    if route.protocol == models.JSON:
        return _structure(shape, _load_json(body), "") if body else {}
    if route.protocol == models.CBOR:
        return _structure(shape, _load_cbor(body), "") if body else {}
    return _query(route, shape, request, body)


# Documents: JSON and CBOR


def _load_json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        found = json.loads(body)  # NaN, Infinity and very large numbers, as botocore may send them
        json.dumps(found, ensure_ascii=False).encode()  # lone surrogates fit no answer and no database
    except (ValueError, RecursionError):
        raise _wrong("Could not parse request body into json") from None
    return found


def _load_cbor(body: bytes) -> Any:
    try:
        return cbor2.loads(body)
    except Exception:
        raise _wrong("Could not parse request body into cbor") from None


def _structure(shape: Shape, value: Any, path: str, depth: int = 0) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(f"Expected an object{_at(path)}, not {_kind(value)}")
    assert isinstance(shape, StructureShape)
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        key = member.serialization.get("name", name)
        if (given := value.get(key)) is not None and "location" not in member.serialization:
            found[name] = _value(member, given, f"{path}.{name}" if path else name, depth + 1)
    return found


def _value(shape: Shape, value: Any, path: str, depth: int) -> Any:
    """One value of a document as the shape wants it."""
    if depth > _DEPTH:
        raise _wrong(f"Nested too deeply{_at(path)}")
    kind = shape.type_name
    if kind == "structure":
        if getattr(shape, "is_document_type", False):
            return value
        return _structure(shape, value, path, depth)
    if kind == "list":
        assert isinstance(shape, ListShape)
        if not isinstance(value, list):
            raise _wrong(f"Expected a list{_at(path)}, not {_kind(value)}")
        return [_value(shape.member, item, path, depth + 1) for item in value if item is not None]
    if kind == "map":
        assert isinstance(shape, MapShape)
        if not isinstance(value, dict):
            raise _wrong(f"Expected a map{_at(path)}, not {_kind(value)}")
        inner = shape.value
        return {str(key): _value(inner, item, path, depth + 1) for key, item in value.items() if item is not None}
    return _scalar(shape, value, path)


def _scalar(shape: Shape, value: Any, path: str) -> Any:
    kind = shape.type_name
    if kind in ("string", "character"):
        if isinstance(value, str):
            return value
        if isinstance(value, int | float):  # AWS turns numbers and booleans into text
            return str(value).lower() if isinstance(value, bool) else str(value)
    elif kind == "boolean":
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
    elif kind in _INTEGERS:
        return _integer(value, _INTEGERS[kind], path)
    elif kind in _FLOATS:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, str):
            return _number(value, path)
    elif kind == "blob":
        return _blob(value, path)
    elif kind == "timestamp":
        try:
            return parse_timestamp(value)
        except ValueError:
            pass
    else:
        return value
    raise _wrong(f"Expected a {kind}{_at(path)}, not {_kind(value)}")


def _integer(value: Any, bits: int, path: str) -> int:
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not (is_whole or (isinstance(value, str) and _DIGITS.fullmatch(value))):
        raise _wrong(f"Expected an integer{_at(path)}, not {_kind(value)}")
    found = int(value)
    if not -(1 << bits - 1) <= found < 1 << bits - 1:
        raise _wrong(f"Expected an integer of {bits} bits{_at(path)}")
    return found


def _number(text: str, path: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _wrong(f"Expected a number{_at(path)}, not {text[:50]!r}") from None


def _blob(value: Any, path: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise _wrong(f"Expected base64{_at(path)}")


def _at(path: str) -> str:
    return f" at '{path}'" if path else ""


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null" if value is None else type(value).__name__)


# REST


def _rest(route: Route, shape: StructureShape, request: Request, body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    query: dict[str, list[str]] | None = None
    in_body = False
    for name, member in shape.members.items():
        serialization = member.serialization
        location = serialization.get("location")
        if location is None:
            in_body = True
            continue
        key = serialization.get("name", name)
        given: Any
        if location == "uri":
            given = route.labels.get(key)
        elif location == "header":
            given = _header(member, request, key)
        elif location == "headers":
            given = _prefixed_headers(request, key)
        elif location == "querystring":
            if query is None:
                query = urllib.parse.parse_qs(request.query, keep_blank_values=True) if request.query else {}
            given = _query_string(member, query, key, shape)
        else:
            continue
        if given is not None:
            found[name] = given if isinstance(given, dict | list) else _text(member, given, name)
    payload = shape.serialization.get("payload")
    if payload is not None:
        _payload(route, shape, payload, body, found)
    elif in_body and body:
        if route.protocol == models.REST_JSON:
            found |= _structure(shape, _load_json(body), "")
        else:
            found |= _xml_structure(shape, _load_xml(body), "")
    return found


def _payload(route: Route, shape: StructureShape, name: str, body: bytes, found: dict[str, Any]) -> None:
    """The member that the whole body is."""
    member = shape.members[name]
    if member.type_name == "blob":
        if body:
            found[name] = body
    elif member.type_name == "string":
        if body:
            found[name] = body.decode("utf-8", "replace")
    elif body:
        if route.protocol == models.REST_JSON:
            found[name] = _value(member, _load_json(body), name, 0)
        else:
            found[name] = _xml_structure(member, _load_xml(body), name)


def _header(member: Shape, request: Request, key: str) -> Any:
    text = request.headers.get(key.lower())
    if text is None:
        return None
    if member.serialization.get("jsonvalue"):
        try:
            return base64.b64decode(text).decode()
        except ValueError:
            raise _wrong(f"Expected base64 in the header {key}") from None
    if isinstance(member, ListShape):
        return [_text(member.member, item.strip(), key) for item in text.split(",")]
    return text


def _prefixed_headers(request: Request, prefix: str) -> dict[str, str] | None:
    lower = prefix.lower()
    found = {name[len(prefix) :]: value for name, value in request.headers.items() if name.startswith(lower)}
    return found or None


def _query_string(member: Shape, query: Mapping[str, list[str]], key: str, shape: StructureShape) -> Any:
    if isinstance(member, MapShape):
        taken = {m.serialization.get("name", n) for n, m in shape.members.items() if m is not member}
        rest = {name: values for name, values in query.items() if name not in taken}
        many = isinstance(member.value, ListShape)
        return {name: values if many else values[0] for name, values in rest.items()} or None
    values = query.get(key)
    if values is None:
        return None
    if isinstance(member, ListShape):
        return [_text(member.member, item, key) for item in values]
    return values[0]


def _text(shape: Shape, text: Any, path: str) -> Any:
    """A value that came as text: in a header, a path, a query string or XML."""
    if shape.type_name in ("string", "character"):
        return text
    return _scalar(shape, text.strip() if isinstance(text, str) else text, path)


# XML


class _PlainBuilder(ElementTree.TreeBuilder):
    """Refuses document types, in whatever encoding they come: without them there are no entities to expand."""

    def doctype(self, *_declared: str | None) -> None:
        raise ValueError("a document type")


def _load_xml(body: bytes) -> ElementTree.Element:
    if len(body) > _XML_BYTES_LIMIT:
        raise AwsError("MalformedXML", "The XML you provided was not well-formed.", status=400)
    try:
        return ElementTree.fromstring(body, ElementTree.XMLParser(target=_PlainBuilder()))  # noqa: S314
    except (ElementTree.ParseError, ValueError, LookupError):
        raise AwsError("MalformedXML", "The XML you provided was not well-formed.", status=400) from None


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _xml_structure(shape: Shape, element: ElementTree.Element, path: str, depth: int = 0) -> dict[str, Any]:
    if depth > _DEPTH:
        raise _wrong(f"Nested too deeply{_at(path)}")
    assert isinstance(shape, StructureShape)
    children: dict[str, list[ElementTree.Element]] = {}
    for child in element:
        children.setdefault(_local(child), []).append(child)
    attributes = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        if "location" in member.serialization:
            continue
        key = member.serialization.get("name", name)
        where = f"{path}.{name}" if path else name
        if member.serialization.get("xmlAttribute"):
            local = key.rpartition(":")[2]
            if local in attributes:
                found[name] = _text(member, attributes[local], where)
            continue
        if isinstance(member, ListShape | MapShape) and member.serialization.get("flattened"):
            if isinstance(member, ListShape):
                key = member.member.serialization.get("name", key)
            if matching := children.get(key):
                found[name] = _xml_collection(member, matching, where, depth)
        elif matching := children.get(key):
            found[name] = _xml_value(member, matching[0], where, depth + 1)
    return found


def _xml_collection(shape: Shape, elements: list[ElementTree.Element], path: str, depth: int) -> Any:
    if isinstance(shape, ListShape):
        return [_xml_value(shape.member, element, path, depth + 1) for element in elements]
    assert isinstance(shape, MapShape)
    key_name = shape.key.serialization.get("name", "key")
    value_name = shape.value.serialization.get("name", "value")
    found = {}
    for element in elements:
        parts = {_local(child): child for child in element}
        if key_name in parts and value_name in parts:
            found[parts[key_name].text or ""] = _xml_value(shape.value, parts[value_name], path, depth + 1)
    return found


def _xml_value(shape: Shape, element: ElementTree.Element, path: str, depth: int) -> Any:
    if isinstance(shape, StructureShape):
        return _xml_structure(shape, element, path, depth)
    if isinstance(shape, ListShape | MapShape):
        return _xml_collection(shape, list(element), path, depth)
    return _text(shape, element.text or "", path)


# Query and EC2


def _query(route: Route, shape: StructureShape, request: Request, body: bytes) -> dict[str, Any]:
    try:
        text = body.decode("utf-8") if body else request.query
        pairs = urllib.parse.parse_qsl(text, keep_blank_values=True, max_num_fields=20_000)
    except ValueError:
        raise AwsError("MalformedQueryString", "The query string contains a syntax error.", status=400) from None
    tree: dict[str, Any] = {}
    for name, value in pairs:
        if all(path := name.split(".")):
            _plant(tree, path, value)
    return _branches(shape, tree, route.protocol == models.EC2, "")


def _plant(tree: dict[str, Any], path: list[str], value: str) -> None:
    """`a.b.1=x` as nested dicts; a value that has children too keeps them under its name."""
    for part in path[: _DEPTH * 2]:
        tree = tree.setdefault(part, {})
    tree[""] = value


def _branches(shape: Shape, tree: dict[str, Any], ec2: bool, path: str) -> dict[str, Any]:
    assert isinstance(shape, StructureShape)
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        key = _query_name(member, name, ec2)
        where = f"{path}.{name}" if path else name
        flattened = bool(member.serialization.get("flattened"))
        if flattened and isinstance(member, ListShape) and key not in tree:
            key = member.member.serialization.get("name", key)
        if key in tree:
            value = _branch(member, tree[key], ec2, where)
            if value is not None:
                found[name] = value
    return found


def _query_name(member: Shape, name: str, ec2: bool) -> str:
    if not ec2:
        return str(member.serialization.get("name", name))
    if "queryName" in member.serialization:
        return str(member.serialization["queryName"])
    key = str(member.serialization.get("name", name))
    return key[:1].upper() + key[1:]


def _branch(shape: Shape, tree: dict[str, Any], ec2: bool, path: str) -> Any:
    if isinstance(shape, StructureShape):
        return _branches(shape, tree, ec2, path)
    if isinstance(shape, ListShape):
        flattened = ec2 or shape.serialization.get("flattened")
        items = tree if flattened else tree.get(shape.member.serialization.get("name", "member"), {})
        return [_branch(shape.member, item, ec2, path) for _index, item in _numbered(items)]
    if isinstance(shape, MapShape):
        entries = tree if shape.serialization.get("flattened") else tree.get("entry", {})
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        found = {}
        for _index, entry in _numbered(entries):
            if key_name in entry and value_name in entry:
                found[entry[key_name].get("", "")] = _branch(shape.value, entry[value_name], ec2, path)
        return found
    return _text(shape, tree[""], path) if "" in tree else None


def _numbered(tree: Mapping[str, Any]) -> list[tuple[int, Any]]:
    numbered = [(int(key), item) for key, item in tree.items() if key.isdecimal() and len(key) < 10]
    return sorted(numbered, key=_first)


_first: Callable[[tuple[int, Any]], int] = lambda pair: pair[0]  # noqa: E731
