"""Requests that are wrong in one place."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from lambent.wire import constraints

Path = tuple[str | int, ...]
_DEPTH = 6
# What cannot be wrong outside of a body: there every value is text, and an empty label makes another path.
_IMPOSSIBLE = {
    "uri": ("of a wrong type", "too short"),
    "querystring": ("of a wrong type", "too few"),
    "header": ("of a wrong type", "too short"),
}
_ENDLESS = 1 << 20  # longer than this is no test of a limit
# Texts of which most patterns refuse one.
_ODD = ("!", " ", "\u2603", "*", "a b", "-", "\n", "arn:", "0", "$", "..", "A" * 30 + "!")


@dataclass(frozen=True)
class Mutant:
    """`members` with what is wrong at `path`."""

    what: str  # "too long", "missing" …
    path: Path
    members: dict[str, Any]

    @property
    def top(self) -> str:
        return str(self.path[0])

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path))} {self.what}"


def mutants(operation: OperationModel, valid: dict[str, Any]) -> Iterator[Mutant]:
    """`valid` are members that the operation takes."""
    shape = operation.input_shape
    if shape is None:
        return
    for path, member, required in _places(shape, (), 0):
        for what, value in _bad(member):
            if what in _IMPOSSIBLE.get(_location(shape, path), ()):
                continue
            yield Mutant(what, path, _with(valid, path, value))
        if required and len(path) == 1 and not _makes_the_route(operation, path):
            yield Mutant("missing", path, {name: value for name, value in valid.items() if name != path[0]})


def _places(shape: StructureShape, path: Path, depth: int) -> Iterator[tuple[Path, Shape, bool]]:
    """Every member and element in the request, however deep."""
    if depth > _DEPTH:
        return
    for name, member in shape.members.items():
        yield from _below((*path, name), member, name in shape.required_members, depth)


def _below(path: Path, member: Shape, required: bool, depth: int) -> Iterator[tuple[Path, Shape, bool]]:
    yield path, member, required
    if isinstance(member, StructureShape):
        yield from _places(member, path, depth + 1)
    elif isinstance(member, ListShape):
        yield from _below((*path, 0), member.member, False, depth + 1)
    elif isinstance(member, MapShape):
        yield from _below((*path, _a_key(member)), member.value, False, depth + 1)


def _a_key(shape: MapShape) -> str:
    allowed = shape.key.metadata.get("enum")
    return str(allowed[0]) if allowed else "key"


def _bad(shape: Shape) -> Iterator[tuple[str, Any]]:
    """(what is wrong, a value that the model does not allow)."""
    metadata, kind = shape.metadata, shape.type_name
    low, high = metadata.get("min"), metadata.get("max")
    if kind == "string":
        yield "of a wrong type", {"an": "object"}
        if metadata.get("enum"):
            yield "not of the enumeration", "NoSuchValue"
            return
        if high is not None and high < _ENDLESS:
            yield "too long", "a" * (high + 1)
        if low:
            yield "too short", ""
        if odd := _refused(shape):
            yield "against its pattern", odd
    elif kind in ("integer", "long", "float", "double"):
        yield "of a wrong type", "many"
        if high is not None:
            yield "too great", high + 1
        if low is not None:
            yield "too small", low - 1
    elif kind == "boolean":
        yield "of a wrong type", "perhaps"
    elif kind == "timestamp":
        yield "of a wrong type", "yesterday"
    elif kind == "list":
        yield "of a wrong type", "text"
        if high is not None and high < 1000:
            yield "too many", [_some(shape.member)] * (high + 1)
        if low:
            yield "too few", []
    elif kind == "map":
        yield "of a wrong type", "text"
        if high is not None and high < 1000:
            yield "too many", {f"key{number}": _some(shape.value) for number in range(high + 1)}
        if odd := _refused(shape.key):
            yield "with a wrong key", {odd: _some(shape.value)}
    elif kind == "structure":
        yield "of a wrong type", "text"


def _refused(shape: Shape) -> str | None:
    """A text of a lawful length that no pattern of the shape takes."""
    patterns = [re.compile(_translated(pattern)) for pattern in constraints.patterns(shape)]
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max", _ENDLESS)
    if not patterns:
        return None
    for text in _ODD:
        if low <= len(text) <= high and not any(pattern.fullmatch(text) for pattern in patterns):
            return text
    for text in _ODD:  # one that is long enough
        long = text * (low // len(text) + 1)
        if len(long) <= high and not any(pattern.fullmatch(long) for pattern in patterns):
            return long
    return None


def _translated(pattern: str) -> str:
    for java, python in (
        (r"\p{L}", "A-Za-z"),
        (r"\p{Z}", " "),
        (r"\p{N}", "0-9"),
        (r"\p{Alpha}", "A-Za-z"),
        (r"\p{Alnum}", "A-Za-z0-9"),
    ):
        pattern = pattern.replace(java, python)
    return pattern


def _some(shape: Shape) -> Any:
    """Anything of the right type."""
    return {"string": "a", "integer": 1, "structure": {}, "list": [], "map": {}, "double": 1.0}.get(
        shape.type_name, "a"
    )


def _with(valid: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    members = copy.deepcopy(valid)
    place: Any = members
    for step, following in itertools.pairwise(path):
        if isinstance(place, list):
            place[:] = place or [{} if isinstance(following, str) else []]
            place = place[0]
        else:
            if not isinstance(place.get(step), dict | list):
                place[step] = {} if isinstance(following, str) else []
            place = place[step]
    if isinstance(place, list):
        place[:] = [value]
    else:
        place[path[-1]] = value
    return members


def _makes_the_route(operation: OperationModel, path: Path) -> bool:
    """Whether a request without the member is a request for something else."""
    location = _location(operation.input_shape, path)
    return location == "uri" or (location == "querystring" and "?" in operation.http["requestUri"])


def _location(shape: StructureShape, path: Path) -> str:
    return str(shape.members[str(path[0])].serialization.get("location", "body"))
