"""Patterns of policies: wildcards, policy variables, and ARNs that are compared part by part.

Matching takes time in proportion to the product of both lengths at most: a policy is somebody's input, and a
regular expression made of it could be made to take forever.

Sources: IAM user guide, "Resource" (wildcards in ARNs), "Variables and tags" (policy variables, default values).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Values = Mapping[str, tuple[str, ...]]
"""The context of a request: lower-case condition key → its values."""

ANY, ONE = "*", "?"
_ARN_PARTS = 6


class Unresolved(Exception):
    """A policy variable has no single value in this request and no default. The element matches nothing."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


@dataclass(frozen=True, slots=True)
class Variable:
    """`${key}` or `${key, 'default'}`."""

    key: str  # in lower case
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Wildcard:
    """`*` or `?` where it is meant as one; the same character from a variable's value is a plain one."""

    sign: str


Token = str | Variable | Wildcard


@functools.lru_cache(maxsize=4096)
def tokens(text: str, variables: bool) -> tuple[Token, ...]:
    """`text` as literal pieces, wildcards and, where the policy's version has them, variables."""
    found: list[Token] = []
    literal: list[str] = []
    position = 0
    while position < len(text):
        sign = text[position]
        end = text.find("}", position) if variables and text.startswith("${", position) else -1
        if end > 0:
            special = _variable(text[position + 2 : end])
            if isinstance(special, str):
                literal.append(special)
            else:
                _flush(literal, found)
                found.append(special)
            position = end + 1
            continue
        if sign in (ANY, ONE):
            _flush(literal, found)
            found.append(Wildcard(sign))
        else:
            literal.append(sign)
        position += 1
    _flush(literal, found)
    return tuple(found)


def _flush(literal: list[str], found: list[Token]) -> None:
    if literal:
        found.append("".join(literal))
        literal.clear()


def _variable(inside: str) -> Variable | str:
    if inside in ("*", "?", "$"):
        return inside  # `${*}` is how a policy writes the plain character
    key, comma, rest = inside.partition(",")
    default = rest.strip()
    if comma and len(default) >= 2 and default[0] == default[-1] == "'":
        return Variable(key.strip().lower(), default[1:-1])
    return Variable(inside.strip().lower())


def resolve(text: str, values: Values, *, variables: bool) -> tuple[Token, ...]:
    """The tokens of `text` with every variable replaced by its value. Unresolved when one has none."""
    return tuple(_value(token, values) if isinstance(token, Variable) else token for token in tokens(text, variables))


def _value(variable: Variable, values: Values) -> str:
    found = values.get(variable.key, ())
    if len(found) == 1:
        return found[0]
    if not found and variable.default is not None:
        return variable.default
    raise Unresolved(variable.key)


def variable_keys(text: str) -> list[str]:
    """The condition keys that the variables of `text` read."""
    return [token.key for token in tokens(text, True) if isinstance(token, Variable)]


def plain(pattern: Sequence[Token]) -> str:
    """The tokens as one string in which a wildcard is its own character: for operators that know no wildcards."""
    return "".join(token.sign if isinstance(token, Wildcard) else str(token) for token in pattern)


def like(pattern: Sequence[Token], text: str) -> bool:
    """Whether `text` matches the resolved `pattern`; both compared as they are."""
    pieces: list[list[str | None]] = [[]]  # between two `*`; None is a `?`
    for token in pattern:
        if not isinstance(token, Wildcard):
            pieces[-1].extend(str(token))
        elif token.sign == ONE:
            pieces[-1].append(None)
        else:
            pieces.append([])
    first, *rest = pieces
    if not rest:
        return len(first) == len(text) and _at(first, text, 0)
    last = rest.pop()
    end = len(text) - len(last)
    if end < len(first) or not _at(first, text, 0) or not _at(last, text, end):
        return False
    position = len(first)
    for piece in rest:
        position = _find(piece, text, position, end)
        if position < 0:
            return False
        position += len(piece)
    return True


def _at(piece: Sequence[str | None], text: str, position: int) -> bool:
    if position + len(piece) > len(text):
        return False
    return all(sign is None or sign == text[position + offset] for offset, sign in enumerate(piece))


def _find(piece: Sequence[str | None], text: str, start: int, end: int) -> int:
    """The first place at or after `start` where `piece` lies wholly before `end`; -1 when there is none."""
    if None not in piece:
        return text.find("".join(sign for sign in piece if sign is not None), start, end)
    return next((at for at in range(start, end - len(piece) + 1) if _at(piece, text, at)), -1)


def like_ignoring_case(pattern: str, text: str) -> bool:
    """For names of actions: `lambda:Get*` matches `Lambda:GETFUNCTION`. They hold no variables."""
    return like(tokens(pattern.lower(), False), text.lower())


def arn_like(pattern: Sequence[Token], arn: str) -> bool:
    """Each of the six colon-separated parts is compared for itself; only the last may hold further colons.

    So `arn:aws:s3:*:*:bucket` does not match across a colon, and `arn:aws:lambda:*:*:function:a*` matches any tail.
    A pattern with fewer parts is read as if `*` stood in those that it leaves out, as AWS completes it.
    """
    wanted, given = _parts(pattern), arn.split(":", _ARN_PARTS - 1)
    if len(given) != _ARN_PARTS or plain(wanted[0]) not in ("arn", ANY):
        return False
    wanted += [[Wildcard(ANY)]] * (_ARN_PARTS - len(wanted))
    return all(like(part, text) for part, text in zip(wanted, given, strict=True))


def _parts(pattern: Sequence[Token]) -> list[list[Token]]:
    """The pattern split at its first five colons. A colon inside a variable's value counts: that is what it says."""
    parts: list[list[Token]] = [[]]
    for token in pattern:
        if isinstance(token, Wildcard):
            parts[-1].append(token)
            continue
        first, *others = str(token).split(":", _ARN_PARTS - len(parts))
        parts[-1].append(first)
        parts.extend([other] for other in others)
    return parts


def resource_like(pattern: Sequence[Token], resource: str) -> bool:
    """Whether a `Resource` element names `resource`. `*` names everything, also what has no ARN."""
    if list(pattern) == [Wildcard(ANY)]:
        return True
    if resource == "*":  # an operation that acts on no particular resource is granted only on all of them
        return False
    return arn_like(pattern, resource)
