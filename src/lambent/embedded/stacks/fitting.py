"""From the properties of a template to the parameters of an API: templates have texts where APIs have numbers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape


class Unfit(Exception):
    """A property that the service does not know, or whose value it cannot take."""


def fit(shape: Shape, value: Any, name: str = "") -> Any:
    """`value` as `shape` wants it. Unfit names the property."""
    if isinstance(shape, StructureShape):
        return fit_members(shape, value, name) if isinstance(value, Mapping) else _unfit(name, value)
    if isinstance(shape, ListShape):
        values = value if isinstance(value, list) else [value]
        return [fit(shape.member, item, name) for item in values]
    if isinstance(shape, MapShape):
        if not isinstance(value, Mapping):
            return _unfit(name, value)
        return {str(key): fit(shape.value, item, f"{name}.{key}") for key, item in value.items()}
    return _scalar(shape, value, name)


def fit_members(shape: StructureShape, values: Mapping[str, Any], name: str = "", drop: Collection[str] = ()) -> Any:
    """Every member, but for those in `drop`."""
    known = {member.lower(): member for member in shape.members}
    fitted = {}
    for key, value in values.items():
        if key in drop or value is None:
            continue
        place = f"{name}.{key}" if name else key
        member = key if key in shape.members else known.get(key.lower())
        if member is None:
            raise Unfit(f"the property {place} is not known here")
        fitted[member] = fit(shape.members[member], value, place)
    return fitted


def _scalar(shape: Shape, value: Any, name: str) -> Any:
    kind = shape.type_name
    try:
        if kind in ("integer", "long"):
            return int(value)
        if kind in ("float", "double"):
            return float(value)
    except (TypeError, ValueError):
        return _unfit(name, value)
    if kind == "boolean":
        return value if isinstance(value, bool) else str(value).lower() == "true"
    if kind == "blob":
        return value if isinstance(value, bytes) else str(value).encode()
    if kind == "string":
        if isinstance(value, Mapping | list):
            return json.dumps(value)
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


def _unfit(name: str, value: Any) -> Any:
    raise Unfit(f"the property {name} cannot be {json.dumps(value, default=str)[:100]}")
