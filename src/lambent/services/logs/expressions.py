"""What the two structured languages of filter patterns share: `a && (b || c)`, comparisons, `*` in values."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lambent.services.logs import errors
from lambent.wire.errors import AwsError, not_built

T = TypeVar("T")
Test = Callable[[T], bool]
_MOST_DEEP = 32  # parentheses within each other
_SPACE = re.compile(r"\s*")
_VALUE = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s()&|"=<>!,]+)', re.DOTALL)
_OPERATOR = re.compile(r"!=|<=|>=|=|<|>")
_NUMBER = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?")
_ORDERS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def invalid() -> AwsError:
    return errors.invalid("Invalid filter pattern")


class Reader:
    """A pattern, read from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._skip()

    @property
    def is_done(self) -> bool:
        return self._at == len(self._text)

    def match(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        """What stands here, if it is that; then what follows behind spaces is next."""
        found = expression.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
            self._skip()
        return found

    def take(self, word: str) -> bool:
        if not self._text.startswith(word, self._at):
            return False
        self._at += len(word)
        self._skip()
        return True

    def expression(self, leaf: Callable[[Reader], Test[T]], deep: int = 0) -> Test[T]:
        """`||` of `&&` of what `leaf` reads."""
        tests = [self._all(leaf, deep)]
        while self.take("||"):
            tests.append(self._all(leaf, deep))
        return tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)

    def _all(self, leaf: Callable[[Reader], Test[T]], deep: int) -> Test[T]:
        tests = [self._one(leaf, deep)]
        while self.take("&&"):
            tests.append(self._one(leaf, deep))
        return tests[0] if len(tests) == 1 else lambda value: all(test(value) for test in tests)

    def _one(self, leaf: Callable[[Reader], Test[T]], deep: int) -> Test[T]:
        if not self.take("("):
            return leaf(self)
        if deep >= _MOST_DEEP:
            raise invalid()
        inner = self.expression(leaf, deep + 1)
        if not self.take(")"):
            raise invalid()
        return inner

    def comparison(self) -> Test[Any]:
        """`= value` and its like: of a text, a number, a truth value."""
        sign = self.match(_OPERATOR)
        value = self.match(_VALUE)
        if sign is None or value is None:
            raise invalid()
        quoted, plain = value.groups()
        if plain is not None and len(plain) > 1 and plain.startswith("%") and plain.endswith("%"):
            raise not_built("regular expressions in filter patterns")
        number = float(plain) if plain is not None and _NUMBER.fullmatch(plain) else None
        if sign[0] in _ORDERS:
            if number is None:
                raise invalid()
            return _ordered(_ORDERS[sign[0]], number)
        text = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
        same = _equal(text, number)
        return same if sign[0] == "=" else lambda found: not same(found)

    def _skip(self) -> None:
        space = _SPACE.match(self._text, self._at)
        assert space is not None
        self._at = space.end()


def number_of(value: Any) -> float | None:
    """What a value is as a number; a text counts when it is one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    return float(value) if isinstance(value, str) and len(value) < 64 and _NUMBER.fullmatch(value) else None


def _ordered(compare: Callable[[float, float], bool], bound: float) -> Test[Any]:
    def test(value: Any) -> bool:
        number = number_of(value)
        return number is not None and compare(number, bound)

    return test


def _equal(text: str, number: float | None) -> Test[Any]:
    fits = glob(text)

    def test(value: Any) -> bool:
        if isinstance(value, bool):
            return text == ("true" if value else "false")
        if isinstance(value, int | float):
            return value == number if number is not None else fits(str(value))
        if not isinstance(value, str):
            return False
        return fits(value) or (number is not None and number_of(value) == number)

    return test


def glob(pattern: str) -> Callable[[str], bool]:
    """`*` stands for any text. Looks at each part once, from left to right: no pattern takes long."""
    first, *parts = pattern.split("*")
    if not parts:
        return lambda text: text == pattern
    *middle, last = parts

    def fits(text: str) -> bool:
        if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
            return False
        at, end = len(first), len(text) - len(last)
        for part in middle:
            found = text.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True

    return fits
