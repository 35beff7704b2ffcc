"""Fields of events that a filter pattern speaks of: `$.latency` of JSON, `$bytes` of words between spaces."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import orjson

from lambent.services.logs import column_patterns, json_patterns
from lambent.services.logs.expressions import invalid


@lru_cache(maxsize=256)
def field(pattern: str, name: str) -> Callable[[str], Any]:
    """A function of an event's message: the field's value, None where there is none. InvalidParameterException."""
    text = pattern.strip()
    if text.startswith("{"):
        select = json_patterns.selector(name)
        return lambda message: select(_loaded(message))
    if text.startswith("["):
        columns = column_patterns.columns(text)
        if name not in columns(""):
            raise invalid()
        return lambda message: columns(message)[name]
    raise invalid()


def extracted(pattern: str, message: str) -> dict[str, str]:
    """Everything that the pattern names, as text; for TestMetricFilter."""
    text = pattern.strip()
    if text.startswith("["):
        return {name: value for name, value in column_patterns.columns(text)(message).items() if value is not None}
    if not text.startswith("{"):
        return {}
    value = _loaded(message)
    found = {name: json_patterns.selector(name)(value) for name in json_patterns.selectors(text)}
    return {name: one if isinstance(one, str) else orjson.dumps(one).decode() for name, one in found.items()}


def _loaded(message: str) -> Any:
    try:
        return orjson.loads(message)
    except orjson.JSONDecodeError:
        return None
