"""Expressions over metrics: `SUM(METRICS()) / PERIOD(m1) * 100`, read once, computed over what the queries found.

A value is a number, a series of numbers by time, or several series. Source: "Using metric math" of AWS's guide.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from lambent.services.cloudwatch import errors

Series = dict[int, float]
Value = float | Series | list[Series]
_TOKEN = re.compile(
    r"\s*(?:(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|(\"[^\"]*\"|'[^']*')|(==|!=|<=|>=|&&|\|\||.))"
)
_MOST_DEEP = 40
_ORDER = (("||",), ("&&",), ("==", "!=", "<", "<=", ">", ">="), ("+", "-"), ("*", "/"))
_BINARY: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b if b else math.nan,
    "^": lambda a, b: _power(a, b),
    "==": lambda a, b: float(a == b),
    "!=": lambda a, b: float(a != b),
    "<": lambda a, b: float(a < b),
    "<=": lambda a, b: float(a <= b),
    ">": lambda a, b: float(a > b),
    ">=": lambda a, b: float(a >= b),
    "&&": lambda a, b: float(bool(a) and bool(b)),
    "||": lambda a, b: float(bool(a) or bool(b)),
}


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may speak of."""

    lookup: Callable[[str], Value]
    """The value of a query, by its id. Raises AwsError."""
    metrics: Callable[[str], list[Series]]
    """The series of all queries of metrics; of those with a text in their id."""
    period: int
    times: Sequence[int] = field(default=())  # of all periods that were asked for


Node = Callable[[Scope], Value]


def compile(text: str) -> Node:
    """ValidationError for what is no expression, or uses a function that is not built."""
    parser = _Parser(text)
    node = parser.binary(0, 0)
    if parser.token is not None:
        raise wrong(text)
    return node


def wrong(text: str) -> Exception:
    return errors.validation(f"Error in expression '{text[:200]}': it cannot be read.")


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_TOKEN.finditer(text.strip()))
        self._at = 0

    @property
    def token(self) -> str | None:
        return self._tokens[self._at][0].strip() if self._at < len(self._tokens) else None

    def _take(self, *words: str) -> str | None:
        if self.token in words:
            self._at += 1
            return self._tokens[self._at - 1][0].strip()
        return None

    def binary(self, level: int, deep: int) -> Node:
        if deep > _MOST_DEEP:
            raise wrong(self._text)
        if level == len(_ORDER):
            return self._power(deep)
        node = self.binary(level + 1, deep)
        while sign := self._take(*_ORDER[level]):
            node = _combined(_BINARY[sign], node, self.binary(level + 1, deep))
        return node

    def _power(self, deep: int) -> Node:
        if deep > _MOST_DEEP:
            raise wrong(self._text)
        if self._take("-"):
            inner = self._power(deep + 1)
            return lambda scope: _each(operator.neg, inner(scope))
        node = self._atom(deep)
        return _combined(_BINARY["^"], node, self._power(deep + 1)) if self._take("^") else node

    def _atom(self, deep: int) -> Node:
        if self._take("("):
            node = self.binary(0, deep + 1)
            self._demand(")")
            return node
        if self._take("["):
            parts = self._list("]", deep)
            return lambda scope: [one for part in parts for one in _several(part(scope), scope)]
        if self._at == len(self._tokens):
            raise wrong(self._text)
        number, name, text, _sign = self._tokens[self._at].groups()
        self._at += 1
        if number is not None:
            value = float(number)
            return lambda scope: value
        if text is not None:
            raise errors.validation(f"Error in expression '{self._text[:200]}': unexpected text {text[:100]}.")
        if name is None:
            raise wrong(self._text)
        if self._take("("):
            return self._call(name, deep)
        return lambda scope: scope.lookup(name)

    def _call(self, name: str, deep: int) -> Node:
        if name.upper() == "METRICS":
            text = ""
            if self._at < len(self._tokens) and self._tokens[self._at][3]:
                text = self._tokens[self._at][3][1:-1]
                self._at += 1
            self._demand(")")
            return lambda scope: scope.metrics(text)
        function = _FUNCTIONS.get(name.upper())
        if function is None:
            raise errors.validation(
                f"Error in expression '{self._text[:200]}': Lambent does not implement the function {name.upper()} of"
                f" metric math; it has {', '.join(sorted([*_FUNCTIONS, 'METRICS']))}."
            )
        parts = self._fill(deep) if name.upper() == "FILL" else self._list(")", deep)
        most, work = function
        if not 1 <= len(parts) <= most:
            raise wrong(self._text)
        return lambda scope: work(scope, *(part(scope) for part in parts))

    def _fill(self, deep: int) -> list[Node]:
        """`FILL(m1, 0)`; REPEAT is the only word that can stand for the number."""
        node = self.binary(0, deep + 1)
        self._demand(",")
        if self._take("REPEAT"):
            self._demand(")")
            return [node, lambda scope: math.nan]
        value = self.binary(0, deep + 1)
        self._demand(")")
        return [node, value]

    def _list(self, end: str, deep: int) -> list[Node]:
        if self._take(end):
            return []
        parts = [self.binary(0, deep + 1)]
        while self._take(","):
            parts.append(self.binary(0, deep + 1))
        self._demand(end)
        return parts

    def _demand(self, word: str) -> None:
        if not self._take(word):
            raise wrong(self._text)


def _power(a: float, b: float) -> float:
    try:
        found = a**b
    except (OverflowError, ZeroDivisionError):
        return math.nan
    return found if isinstance(found, float) else math.nan


def _combined(work: Callable[[float, float], float], left: Node, right: Node) -> Node:
    return lambda scope: _pairs(work, left(scope), right(scope))


def _pairs(work: Callable[[float, float], float], a: Value, b: Value) -> Value:
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            raise errors.validation("Two arrays of metrics can only be combined when they are of the same length.")
        return [_series(work, one, other) for one, other in zip(a, b, strict=True)]
    if isinstance(a, list):
        return [_series(work, one, b) for one in a]
    if isinstance(b, list):
        return [_series(work, a, other) for other in b]
    if isinstance(a, float) and isinstance(b, float):
        return work(a, b)
    return _series(work, a, b)


def _series(work: Callable[[float, float], float], a: float | Series, b: float | Series | list[Series]) -> Series:
    """At the times that both have; a number has all."""
    if isinstance(a, dict) and isinstance(b, dict):
        return {time: work(value, b[time]) for time, value in a.items() if time in b}
    if isinstance(a, dict) and isinstance(b, float):
        return {time: work(value, b) for time, value in a.items()}
    if isinstance(a, float) and isinstance(b, dict):
        return {time: work(a, value) for time, value in b.items()}
    raise errors.validation("A list of metrics cannot stand there.")


def _each(work: Callable[[float], float], value: Value) -> Value:
    if isinstance(value, list):
        return [{time: work(one) for time, one in series.items()} for series in value]
    if isinstance(value, dict):
        return {time: work(one) for time, one in value.items()}
    return work(value)


def _several(value: Value, scope: Scope) -> list[Series]:
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, dict) else [dict.fromkeys(scope.times, value)]


def _across(work: Callable[[list[float]], float]) -> Callable[[Scope, Value], Value]:
    """Of one series: a number. Of several: at each time, of those that have a value then."""

    def reduce(scope: Scope, value: Value) -> Value:
        if isinstance(value, float):
            return value
        if isinstance(value, dict):
            return work(list(value.values())) if value else math.nan
        times = sorted({time for series in value for time in series})
        return {time: work([series[time] for series in value if time in series]) for time in times}

    return reduce


def _mapped(work: Callable[[float], float]) -> Callable[[Scope, Value], Value]:
    return lambda scope, value: _each(work, value)


def _running(work: Callable[[Series, Scope], Series]) -> Callable[[Scope, Value], Value]:
    def run(scope: Scope, value: Value) -> Value:
        if isinstance(value, list):
            return [work(dict(sorted(series.items())), scope) for series in value]
        if isinstance(value, dict):
            return work(dict(sorted(value.items())), scope)
        raise errors.validation("This function needs a metric.")

    return run


def _differences(series: Series, scope: Scope) -> Series:
    return {time: series[time] - series[before] for before, time in pairwise(series)}


def _rates(series: Series, scope: Scope) -> Series:
    return {time: (series[time] - series[before]) / (time - before) for before, time in pairwise(series)}


def _sums(series: Series, scope: Scope) -> Series:
    total, found = 0.0, {}
    for time, value in series.items():
        found[time] = total = total + value
    return found


def _fill(scope: Scope, value: Value, filler: Value = 0.0) -> Value:
    if not isinstance(filler, float):
        raise errors.validation("FILL takes a number or REPEAT.")

    def fill(series: Series) -> Series:
        found, last = {}, math.nan
        for time in scope.times:
            last = series.get(time, last)
            if time in series or not math.isnan(filler):
                found[time] = series.get(time, filler)
            elif not math.isnan(last):
                found[time] = last
        return found

    filled = [fill(series) for series in _several(value, scope)]
    return filled if isinstance(value, list) else filled[0]


def _if(scope: Scope, condition: Value, yes: Value = 1.0, no: Value | None = None) -> Value:
    if isinstance(condition, float):
        return yes if condition else (no if no is not None else {})
    if isinstance(condition, list):
        raise errors.validation("The condition of IF must be one metric.")
    found: Series = {}
    for time, value in condition.items():
        chosen = yes if value else no
        one = chosen.get(time) if isinstance(chosen, dict) else chosen
        if isinstance(one, float):
            found[time] = one
    return found


def _period(scope: Scope, value: Value) -> Value:
    return float(scope.period)


def _count(scope: Scope, value: Value) -> Value:
    return float(len(_several(value, scope)))


def _deviation(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))


_FUNCTIONS: Mapping[str, tuple[int, Callable[..., Value]]] = {
    "SUM": (1, _across(math.fsum)),
    "AVG": (1, _across(lambda values: math.fsum(values) / len(values))),
    "MIN": (1, _across(min)),
    "MAX": (1, _across(max)),
    "STDDEV": (1, _across(_deviation)),
    "ABS": (1, _mapped(abs)),
    "CEIL": (1, _mapped(lambda value: float(math.ceil(value)) if math.isfinite(value) else value)),
    "FLOOR": (1, _mapped(lambda value: float(math.floor(value)) if math.isfinite(value) else value)),
    "LOG": (1, _mapped(lambda value: math.log(value) if value > 0 else math.nan)),
    "LOG10": (1, _mapped(lambda value: math.log10(value) if value > 0 else math.nan)),
    "DIFF": (1, _running(_differences)),
    "RATE": (1, _running(_rates)),
    "RUNNING_SUM": (1, _running(_sums)),
    "FILL": (2, _fill),
    "IF": (3, _if),
    "PERIOD": (1, _period),
    "METRIC_COUNT": (1, _count),
}
