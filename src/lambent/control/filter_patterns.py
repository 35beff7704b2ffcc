"""The patterns by which event source mappings choose records: EventBridge's language, checked here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

_COMPARISONS = frozenset(("=", "<", "<=", ">", ">="))
_MOST_BOUNDS = 2


def is_valid(pattern: str) -> bool:
    """Whether `pattern` is JSON that says which fields have which values."""
    try:
        parsed = orjson.loads(pattern)
    except orjson.JSONDecodeError:
        return False
    return isinstance(parsed, dict) and bool(parsed) and _is_object(parsed)


def _is_object(fields: Mapping[str, Any]) -> bool:
    for name, rule in fields.items():
        if name == "$or":
            if not isinstance(rule, list) or not all(isinstance(one, dict) and _is_object(one) for one in rule):
                return False
        elif isinstance(rule, dict):
            if not rule or not _is_object(rule):
                return False
        elif not isinstance(rule, list) or not rule or not all(map(_is_alternative, rule)):
            return False
    return True


def _is_alternative(value: Any) -> bool:
    if not isinstance(value, dict):
        return not isinstance(value, list)
    if len(value) != 1:
        return False
    [(operator, operand)] = value.items()
    check = _OPERATORS.get(operator)
    return check is not None and check(operand)


def _is_text(operand: Any) -> bool:
    return isinstance(operand, str) or _is_case_blind(operand)


def _is_case_blind(operand: Any) -> bool:
    return (
        isinstance(operand, dict)
        and set(operand) == {"equals-ignore-case"}
        and isinstance(operand["equals-ignore-case"], str)
    )


def _is_numeric(operand: Any) -> bool:
    if not isinstance(operand, list) or not operand or len(operand) % 2 or len(operand) > 2 * _MOST_BOUNDS:
        return False
    pairs = zip(operand[::2], operand[1::2], strict=True)
    return all(
        sign in _COMPARISONS and isinstance(bound, int | float) and not isinstance(bound, bool) for sign, bound in pairs
    )


def _is_but(operand: Any) -> bool:
    if isinstance(operand, dict):
        return len(operand) == 1 and all(
            name in ("prefix", "suffix", "equals-ignore-case", "wildcard") and isinstance(value, str | list)
            for name, value in operand.items()
        )
    values = operand if isinstance(operand, list) else [operand]
    return bool(values) and all(isinstance(value, str | int | float) for value in values)


_OPERATORS: Mapping[str, Callable[[Any], bool]] = {
    "exists": lambda operand: isinstance(operand, bool),
    "prefix": _is_text,
    "suffix": _is_text,
    "equals-ignore-case": lambda operand: isinstance(operand, str),
    "wildcard": lambda operand: isinstance(operand, str),
    "numeric": _is_numeric,
    "anything-but": _is_but,
    "cidr": lambda operand: isinstance(operand, str),
}
