"""Parameters against the model's constraints, in AWS's own words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from lambent.wire import constraints
from lambent.wire.errors import AwsError

_CONSTRAINED = ("min", "max", "pattern", "enum")
_NUMBERS = ("integer", "long", "short", "byte", "float", "double")


def validate(operation: OperationModel, parameters: Mapping[str, Any]) -> None:
    """Raise ValidationException (400) with every violation, in the order of the model's members."""
    shape = operation.input_shape
    if shape is None:
        return
    found = list(_structure(operation, shape, parameters, ""))
    if not found:
        return
    noun = "error" if len(found) == 1 else "errors"
    text = "; ".join(found)
    raise AwsError("ValidationException", f"{len(found)} validation {noun} detected: {text}", status=400)


def _lower(name: str) -> str:
    """`FunctionName` as AWS prints it, `functionName`; `KMSKeyArn` as `kMSKeyArn`."""
    return name[:1].lower() + name[1:]


def _structure(operation: OperationModel, shape: StructureShape, value: Mapping[str, Any], path: str) -> Iterable[str]:
    required = shape.required_members
    for name, member in shape.members.items():
        where = f"{path}.{_lower(name)}" if path else _lower(name)
        if name not in value:
            if name in required:
                yield f"Value null at '{where}' failed to satisfy constraint: Member must not be null"
            continue
        yield from _member(operation, shape, name, member, value[name], where)


def _member(operation: OperationModel, parent: Shape, name: str, shape: Shape, value: Any, path: str) -> Iterable[str]:
    if constraints.is_checked_elsewhere(operation.name, path):
        return
    for violation in _violations(shape, value):
        yield f"Value {_quote(shape, value)} at '{path}' failed to satisfy constraint: {violation}"
    if isinstance(shape, StructureShape):
        yield from _structure(operation, shape, value, path)
    elif isinstance(shape, ListShape):
        yield from _elements(operation, shape, value, path)
    elif isinstance(shape, MapShape):
        yield from _entries(operation, shape, value, path)


def _elements(operation: OperationModel, shape: ListShape, value: list[Any], path: str) -> Iterable[str]:
    member = shape.member
    if isinstance(member, StructureShape):
        for number, item in enumerate(value, 1):
            yield from _structure(operation, member, item, f"{path}.{number}.member")
    elif any(next(iter(_violations(member, item)), None) for item in value):
        yield (
            f"Value {_quote(shape, value)} at '{path}' failed to satisfy constraint: "
            f"Member must satisfy constraint: [{', '.join(_all(member))}]"
        )


def _entries(operation: OperationModel, shape: MapShape, value: Mapping[str, Any], path: str) -> Iterable[str]:
    for what, part, items in (("keys", shape.key, list(value)), ("value", shape.value, list(value.values()))):
        if isinstance(part, StructureShape):
            for key, item in value.items():
                yield from _structure(operation, part, item, f"{path}.{key}.member")
        elif any(next(iter(_violations(part, item)), None) for item in items):
            yield (
                f"Value {_quote(shape, value)} at '{path}' failed to satisfy constraint: "
                f"Map {what} must satisfy constraint: [{', '.join(_all(part))}]"
            )


def _violations(shape: Shape, value: Any) -> Iterable[str]:
    metadata = shape.metadata
    kind = shape.type_name
    if not any(name in metadata for name in _CONSTRAINED):
        return
    low, high = metadata.get("min"), metadata.get("max")
    if kind in _NUMBERS:
        if high is not None and value > high:
            yield f"Member must have value less than or equal to {high}"
        if low is not None and value < low:
            yield f"Member must have value greater than or equal to {low}"
        return
    if kind == "string" and metadata.get("enum"):
        if value not in metadata["enum"]:
            yield f"Member must satisfy enum value set: [{', '.join(constraints.enum_order(shape))}]"
        return
    if kind in ("string", "blob", "list", "map"):
        too_long = high is not None and len(value) > high
        if too_long:
            yield f"Member must have length less than or equal to {high}"
        if low is not None and len(value) < low:
            yield f"Member must have length greater than or equal to {low}"
        pattern = metadata.get("pattern")
        if pattern is not None and kind == "string" and not _matches(pattern, value, too_long):
            yield f"Member must satisfy regular expression pattern: {pattern}"


def _all(shape: Shape) -> list[str]:
    """Every constraint of a list's or map's elements, as AWS lists them when one is broken."""
    metadata, kind = shape.metadata, shape.type_name
    found = []
    if metadata.get("enum"):
        found.append(f"Member must satisfy enum value set: [{', '.join(constraints.enum_order(shape))}]")
    measure = "value" if kind in _NUMBERS else "length"
    if "max" in metadata:
        found.append(f"Member must have {measure} less than or equal to {metadata['max']}")
    if "min" in metadata:
        found.append(f"Member must have {measure} greater than or equal to {metadata['min']}")
    if "pattern" in metadata:
        found.append(f"Member must satisfy regular expression pattern: {metadata['pattern']}")
    if kind != "map":
        found.append("Member must not be null")
    return found


def _matches(pattern: str, value: str, too_long: bool) -> bool:
    # A value far beyond its length limit is not run through a pattern: that is where expressions blow up.
    if too_long and len(value) > 2048:
        return False
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(value) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """A Java expression as Python's; None for the few that Python does not know."""
    translated = pattern.replace(r"\p{L}\p{Z}\p{N}", r"\w\s").replace(r"\p{L}", r"[^\W\d_]").replace(r"\p{N}", r"\d")
    translated = translated.replace(r"\p{Alpha}", "[a-zA-Z]").replace(r"\p{Alnum}", "[a-zA-Z0-9]")
    try:
        return re.compile(translated, re.ASCII if translated == pattern else 0)
    except re.error:
        return None


def _quote(shape: Shape, value: Any) -> str:
    """A value as AWS prints it; a sensitive one is not shown."""
    return f"'{'***' if shape.metadata.get('sensitive') else _render(value)}'"


def _render(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}={_render(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_render(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
