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
_NOT_NULL = "Member must not be null"
_CLASS = re.compile(r"\\p\{(\w+)\}")
_CLASSES = {
    "L": r"\w",
    "N": r"\w",
    "Z": r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
    "Alpha": "a-zA-Z",
    "Alnum": "a-zA-Z0-9",
}
_NUMBERS = ("integer", "long", "short", "byte", "float", "double")


def validate(operation: OperationModel, parameters: Mapping[str, Any]) -> None:
    """Raise ValidationException, or what the service calls it (400), with every violation, in the members' order."""
    shape = operation.input_shape
    if shape is None:
        return
    found = list(_structure(operation, shape, parameters, ""))
    if not found:
        return
    noun = "error" if len(found) == 1 else "errors"
    text = "; ".join(found)
    code = constraints.code(operation.service_model.service_name)
    raise AwsError(code, f"{len(found)} validation {noun} detected: {text}", status=400)


def _lower(name: str) -> str:
    """`FunctionName` as AWS prints it, `functionName`; `KMSKeyArn` as `kMSKeyArn`."""
    return name[:1].lower() + name[1:]


def _structure(operation: OperationModel, shape: StructureShape, value: Mapping[str, Any], path: str) -> Iterable[str]:
    required = shape.required_members
    for name, member in constraints.members(shape):
        where = f"{path}.{_lower(name)}" if path else _lower(name)
        if name not in value:
            if name in required:
                yield f"Value null at '{where}' failed to satisfy constraint: {_NOT_NULL}"
            continue
        yield from _member(operation, member, value[name], where)


def _member(operation: OperationModel, shape: Shape, value: Any, path: str) -> Iterable[str]:
    if constraints.is_checked_elsewhere(operation.name, path):
        return
    for violation in _violations(shape, value):
        yield f"{_failed(shape, value, path)}: {violation}"
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
    elif own := constraints.own_list(operation.name, path):
        printed, further = own
        if any(item not in printed and item not in further for item in value):
            yield f"{_failed(shape, value, path)}: {_enum(printed)}"
    elif any(_is_broken(member, item) for item in value):
        further_rule = [] if constraints.is_nullable(member) else [_NOT_NULL]
        yield f"{_failed(shape, value, path)}: Member must satisfy constraint: [{_joined(_all(member) + further_rule)}]"


def _entries(operation: OperationModel, shape: MapShape, value: Mapping[str, Any], path: str) -> Iterable[str]:
    if any(_is_broken(shape.key, key) for key in value):
        yield f"{_failed(shape, value, path)}: Map keys must satisfy constraint: [{_joined(_all(shape.key))}]"
    part = shape.value
    if isinstance(part, StructureShape):
        for key, item in value.items():
            yield from _structure(operation, part, item, f"{path}.{key}.member")
    elif isinstance(part, ListShape):
        for key, item in value.items():
            yield from _member(operation, part, item, f"{path}.{key}.member")
    elif any(_is_broken(part, item) for item in value.values()):
        rules = _joined([*_all(part), _NOT_NULL])
        yield f"{_failed(shape, value, path)}: Map value must satisfy constraint: [{rules}]"


def _is_broken(shape: Shape, value: Any) -> bool:
    return next(iter(_violations(shape, value)), None) is not None


def _failed(shape: Shape, value: Any, path: str) -> str:
    return f"Value '{_render(shape, value)}' at '{path}' failed to satisfy constraint"


def _enum(values: Iterable[str]) -> str:
    return f"Member must satisfy enum value set: [{_joined(values)}]"


_joined = ", ".join


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
        if not constraints.allows(shape, value):
            yield _enum(constraints.enumeration(shape))
        return
    if kind in ("string", "blob", "list", "map"):
        too_long = high is not None and len(value) > high
        if too_long:
            yield f"Member must have length less than or equal to {high}"
        if low is not None and len(value) < low:
            yield f"Member must have length greater than or equal to {low}"
        pattern = constraints.pattern(shape)
        if pattern is not None and kind == "string" and not _matches(shape, value, too_long):
            yield f"Member must satisfy regular expression pattern: {pattern}"


def _all(shape: Shape) -> list[str]:
    """Every constraint of a list's or map's elements, as AWS lists them when one is broken."""
    metadata, kind = shape.metadata, shape.type_name
    found = []
    if metadata.get("enum"):
        found.append(_enum(constraints.enumeration(shape)))
    measure = "value" if kind in _NUMBERS else "length"
    if "max" in metadata:
        found.append(f"Member must have {measure} less than or equal to {metadata['max']}")
    if "min" in metadata:
        found.append(f"Member must have {measure} greater than or equal to {metadata['min']}")
    if pattern := constraints.pattern(shape):
        found.append(f"Member must satisfy regular expression pattern: {pattern}")
    return found


def _matches(shape: Shape, value: str, too_long: bool) -> bool:
    # A value far beyond its length limit is not run through a pattern: that is where expressions blow up.
    if too_long and len(value) > 2048:
        return False
    compiled = [_compiled(pattern) for pattern in constraints.patterns(shape)]
    return any(expression is None or expression.fullmatch(value) for expression in compiled)


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """A Java expression as Python's; None for the few that Python does not know.

    Classes of letters and digits become `\\w`, which takes in a little more.
    """
    translated = _CLASS.sub(lambda match: _CLASSES.get(match[1], match[0]), pattern)
    try:
        return re.compile(translated, re.ASCII if translated == pattern else 0)
    except re.error:
        return None


def _render(shape: Shape, value: Any) -> str:
    """A value as AWS prints it; what is sensitive, or holds something sensitive, is not shown."""
    if shape.metadata.get("sensitive"):
        return "***"
    if isinstance(shape, StructureShape):
        parts = [f"{name}={_render(shape.members[name], item)}" for name, item in value.items()]
        return "{" + _joined(parts) + "}"
    if isinstance(shape, MapShape):
        return "{" + _joined(f"{_render(shape.key, key)}={_render(shape.value, value[key])}" for key in value) + "}"
    if isinstance(shape, ListShape):
        return "[" + _joined(_render(shape.member, item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
