"""Filter patterns: which log events are meant.

Three languages, told apart by their first character: terms, `{ $.field = value }` for JSON, `[column, column = value]`
for words between spaces. Matching takes time in proportion to the event, whatever the pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lambent.services.logs import column_patterns, json_patterns
from lambent.services.logs.expressions import invalid
from lambent.wire.errors import not_built

Matcher = Callable[[str], bool]
_TERM = re.compile(r'\s*([?-]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)', re.DOTALL)


def compile(pattern: str) -> Matcher:
    """A function that tells whether an event's message matches. InvalidParameterException; 501 for `%expressions%`."""
    text = pattern.strip()
    if text.startswith("{"):
        return json_patterns.compile(text)
    if text.startswith("["):
        return column_patterns.compile(text)
    return _terms(text)


def _terms(text: str) -> Matcher:
    """All of the plain terms, none of the `-` ones. Terms with `?`: one of them, where no others are."""
    wanted: list[str] = []
    unwanted: list[str] = []
    choices: list[str] = []
    at = 0
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None:
            raise invalid()
        sign, quoted, plain = match.groups()
        if plain is not None and len(plain) > 1 and plain.startswith("%") and plain.endswith("%"):
            raise not_built("regular expressions in filter patterns")
        term = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if quoted is not None else plain
        {"": wanted, "-": unwanted, "?": choices}[sign].append(term)
        at = match.end()
    if wanted or unwanted:
        return lambda message: all(term in message for term in wanted) and not any(term in message for term in unwanted)
    if choices:
        return lambda message: any(term in message for term in choices)
    return lambda message: True
