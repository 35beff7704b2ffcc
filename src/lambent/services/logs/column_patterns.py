"""Filter patterns for events whose words stand between spaces: `[ip, user, ..., status = 4*, bytes > 1000]`."""

from __future__ import annotations

import re
from collections.abc import Callable

from lambent.services.logs.expressions import Reader, Test, invalid

_COLUMN = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*")*', re.DOTALL)
_NAME = re.compile(r"[A-Za-z_$][\w.$-]*")
_WORD = re.compile(r'"([^"]*)"|\[([^\]]{0,1000})\]|(\S+)')
_MOST_WORDS = 1000  # of an event that are looked at


def compile(text: str) -> Callable[[str], bool]:
    """`text` begins with `[`."""
    if not text.endswith("]"):
        raise invalid()
    columns = [_column(part) for part in _split(text[1:-1])]
    if columns.count(None) > 1:
        raise invalid()
    gap = columns.index(None) if None in columns else None
    before = [one for one in (columns if gap is None else columns[:gap]) if one is not None]
    behind = [one for one in (() if gap is None else columns[gap + 1 :]) if one is not None]

    def matches(message: str) -> bool:
        words = _words(message)
        if len(words) < len(before) + len(behind) or (gap is None and len(words) != len(before)):
            return False
        tests = [*zip(before, words, strict=False)]
        if behind:
            tests += zip(behind, words[-len(behind) :], strict=True)
        return all(test(word) for test, word in tests)

    return matches


def columns(text: str) -> Callable[[str], dict[str, str | None]]:
    """A function of a message: the word that each named column stands for, by `$name`; None where there is none."""
    names = [None if part == "..." else _NAME.match(part) for part in _split(text.strip()[1:-1])]
    gap = names.index(None) if None in names else len(names)
    places = {f"${match[0]}": at if at < gap else at - len(names) for at, match in enumerate(names) if match}

    def read(message: str) -> dict[str, str | None]:
        words = _words(message)
        return {name: words[at] if -len(words) <= at < len(words) else None for name, at in places.items()}

    return read


def _split(text: str) -> list[str]:
    """At the commas that are not in quotes."""
    parts, at = [], 0
    while True:
        match = _COLUMN.match(text, at)
        assert match is not None
        parts.append(match[0].strip())
        if match.end() == len(text):
            return parts
        if text[match.end()] != ",":  # a quote that does not end
            raise invalid()
        at = match.end() + 1


def _column(part: str) -> Test[str] | None:
    """What is asked of one word; None for `...`."""
    if part == "...":
        return None
    if _NAME.fullmatch(part):
        return lambda word: True
    reader = Reader(part)
    test: Test[str] = reader.expression(_leaf)
    if not reader.is_done:
        raise invalid()
    return test


def _leaf(reader: Reader) -> Test[str]:
    if reader.match(_NAME) is None:
        raise invalid()
    return reader.comparison()


def _words(message: str) -> list[str]:
    """What stands in quotes or in brackets is one word."""
    found = []
    for match in _WORD.finditer(message):
        found.append(match[match.lastindex or 0])
        if len(found) == _MOST_WORDS:
            break
    return found
