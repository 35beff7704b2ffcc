"""Filter patterns for events that are JSON: `{ $.level = "ERROR" && $.request.took > 100 }`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

from lambent.services.logs.expressions import Reader, Test, invalid

_SELECTOR = re.compile(r"""\$((?:\.[^\s=!<>()&|.\[\]"']+|\[(?:'[^']*'|"[^"]*"|\d{1,9}|\*)\])+)""")
_STEP = re.compile(r"""\.([^.\[]+)|\['([^']*)'\]|\["([^"]*)"\]|\[(\d+)\]|\[(\*)\]""")
_WORD = re.compile(r"(NOT\s+EXISTS|EXISTS|IS\s+NULL|IS\s+TRUE|IS\s+FALSE)(?!\w)", re.IGNORECASE)
_WORDS: dict[str, Test[list[Any]]] = {
    "NOT EXISTS": lambda found: not found,
    "EXISTS": bool,
    "IS NULL": lambda found: None in found,
    "IS TRUE": lambda found: any(value is True for value in found),
    "IS FALSE": lambda found: any(value is False for value in found),
}
_ANY = object()
_MOST_FOUND = 10_000  # values that one selector leads to


def compile(text: str) -> Callable[[str], bool]:
    """`text` begins with `{`."""
    if not text.endswith("}"):
        raise invalid()
    reader = Reader(text[1:-1])
    test: Test[Any] = reader.expression(_leaf)
    if not reader.is_done:
        raise invalid()

    def matches(message: str) -> bool:
        if not message.lstrip().startswith(("{", "[")):
            return False
        try:
            value = orjson.loads(message)
        except orjson.JSONDecodeError:
            return False
        return test(value)

    return matches


def _leaf(reader: Reader) -> Test[Any]:
    """A selector and what is asked of its values: true when it is so of one of them."""
    selector = reader.match(_SELECTOR)
    if selector is None:
        raise invalid()
    steps = [_step(match) for match in _STEP.finditer(selector[1])]
    if word := reader.match(_WORD):
        asked = _WORDS[" ".join(word[1].upper().split())]
        return lambda value: asked(_select(value, steps))
    compare = reader.comparison()
    return lambda value: any(compare(found) for found in _select(value, steps))


def selector(text: str) -> Callable[[Any], Any]:
    """A function of a JSON value: the first value that the selector `$.…` leads to, None when there is none."""
    match = _SELECTOR.fullmatch(text)
    if match is None:
        raise invalid()
    steps = [_step(one) for one in _STEP.finditer(match[1])]

    def select(value: Any) -> Any:
        found = _select(value, steps)
        return found[0] if found else None

    return select


def selectors(text: str) -> list[str]:
    """Those of a pattern, each once."""
    return list(dict.fromkeys(match[0] for match in _SELECTOR.finditer(text)))


def _step(match: re.Match[str]) -> Any:
    """A name (str), a place in an array (int) or any of them."""
    dotted, single, double, index, star = match.groups()
    if star or dotted == "*":
        return _ANY
    if index is not None:
        return int(index)
    return next(name for name in (dotted, single, double) if name is not None)


def _select(value: Any, steps: list[Any]) -> list[Any]:
    found = [value]
    for step in steps:
        inner: list[Any] = []
        for one in found:
            if step is _ANY:
                inner += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
            elif isinstance(step, int):
                if isinstance(one, list) and step < len(one):
                    inner.append(one[step])
            elif isinstance(one, dict) and step in one:
                inner.append(one[step])
        found = inner[:_MOST_FOUND]
    return found
