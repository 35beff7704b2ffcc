"""The condition operators of policies, each a small function over one policy value and one value of the request.

Source: IAM user guide, "IAM JSON policy elements: Condition operators" and "Multivalued context keys".
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from lambent.services.iam import patterns
from lambent.services.iam.patterns import Token, Values

Test = Callable[[Sequence[Token], str], bool]
"""(a policy value with its variables resolved, a value of the request) → whether they fit together."""

FOR_ALL, FOR_ANY = "ForAllValues", "ForAnyValue"
_IF_EXISTS = "IfExists"


class Unreadable(ValueError):
    """A value is not of the operator's kind (a number, a date, …): it compares with nothing."""


def _exactly(wanted: Sequence[Token], given: str) -> bool:
    return patterns.plain(wanted) == given


def _ignoring_case(wanted: Sequence[Token], given: str) -> bool:
    return patterns.plain(wanted).casefold() == given.casefold()


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise Unreadable(text) from None
    if not number.is_finite():
        raise Unreadable(text)
    return number


def _date(text: str) -> datetime:
    """ISO 8601, with whole days and months allowed, or seconds since the epoch."""
    text = text.strip()
    try:
        if re.fullmatch(r"-?\d{5,}(\.\d+)?", text):
            return datetime.fromtimestamp(float(text), UTC)
        if re.fullmatch(r"\d{4}(-\d{2})?", text):
            text = "-".join([*text.split("-"), "01", "01"][:3])
        date = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise Unreadable(text) from None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _compared(read: Callable[[str], Any], holds: Callable[[Any, Any], bool]) -> Test:
    """A test that reads both sides by `read` and asks whether (the request's, the policy's) holds."""
    return lambda wanted, given: holds(read(given), read(patterns.plain(wanted)))


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise Unreadable(text)
    return text.lower() == "true"


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable(text) from None


def _address(wanted: Sequence[Token], given: str) -> bool:
    try:
        network = ipaddress.ip_network(patterns.plain(wanted).strip(), strict=False)
        address = ipaddress.ip_address(given.strip())
    except ValueError:
        raise Unreadable(given) from None
    return address.version == network.version and address in network


def _tests() -> dict[str, Test]:
    return {
        "StringEquals": _exactly,
        "StringEqualsIgnoreCase": _ignoring_case,
        "StringLike": patterns.like,
        "NumericEquals": _compared(_number, lambda given, wanted: given == wanted),
        "NumericLessThan": _compared(_number, lambda given, wanted: given < wanted),
        "NumericLessThanEquals": _compared(_number, lambda given, wanted: given <= wanted),
        "NumericGreaterThan": _compared(_number, lambda given, wanted: given > wanted),
        "NumericGreaterThanEquals": _compared(_number, lambda given, wanted: given >= wanted),
        "DateEquals": _compared(_date, lambda given, wanted: given == wanted),
        "DateLessThan": _compared(_date, lambda given, wanted: given < wanted),
        "DateLessThanEquals": _compared(_date, lambda given, wanted: given <= wanted),
        "DateGreaterThan": _compared(_date, lambda given, wanted: given > wanted),
        "DateGreaterThanEquals": _compared(_date, lambda given, wanted: given >= wanted),
        "Bool": _compared(_boolean, lambda given, wanted: given is wanted),
        "BinaryEquals": _compared(_bytes, lambda given, wanted: given == wanted),
        "IpAddress": _address,
        "ArnEquals": patterns.arn_like,  # AWS gives both the same meaning
        "ArnLike": patterns.arn_like,
    }


_TESTS = _tests()
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}


@dataclass(frozen=True, slots=True)
class Operator:
    """A condition operator as a policy writes it: `ForAnyValue:StringLikeIfExists`."""

    name: str
    base: str  # "StringLike", "Null"
    quantifier: str | None  # FOR_ALL, FOR_ANY
    if_exists: bool
    negated: bool

    @classmethod
    def parse(cls, name: str) -> Operator | None:
        """None when there is no such operator. AWS compares their names as they are, capitals and all."""
        prefix, colon, rest = name.partition(":")
        quantifier = prefix if colon else None
        base = (rest if colon else name).removesuffix(_IF_EXISTS)
        if_exists = (rest if colon else name).endswith(_IF_EXISTS)
        if quantifier not in (None, FOR_ALL, FOR_ANY):
            return None
        if base == "Null":
            return None if quantifier or if_exists else cls(name, base, None, False, False)
        if base not in _TESTS and base not in _NEGATED:
            return None
        return cls(name, base, quantifier, if_exists, base in _NEGATED)


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one key: `StringEquals: {aws:SourceAccount: [...]}`."""

    operator: Operator
    key: str  # as the policy writes it; compared without regard to case
    values: tuple[str, ...]

    def holds(self, context: Values, *, variables: bool) -> bool:
        """Whether the request's `context` satisfies this. `variables`: the policy's version has policy variables."""
        operator, given = self.operator, context.get(self.key.lower(), ())
        if operator.base == "Null":
            return any((wanted.lower() == "true") is not bool(given) for wanted in self.values)
        if not given:
            return self._without_value()
        fits = [self._fits(value, context, variables) for value in given]
        if operator.quantifier == FOR_ALL:
            return all(fits)
        if operator.quantifier == FOR_ANY or not operator.negated:
            return any(fits)
        return all(fits)  # a negated operator on a key of several values: none of them may match

    def _without_value(self) -> bool:
        """The request does not have the key, or has it without any value."""
        operator = self.operator
        if operator.if_exists or operator.quantifier == FOR_ALL:
            return True
        return operator.negated and operator.quantifier is None

    def _fits(self, given: str, context: Values, variables: bool) -> bool:
        """One value of the request against all values of the policy: any of them, or none for a negated operator.

        What cannot be compared (a variable without a value, a number that is none) fits neither way.
        """
        negated = self.operator.negated
        test = _TESTS[_NEGATED.get(self.operator.base, self.operator.base)]
        for wanted in self.values:
            try:
                found = test(patterns.resolve(wanted, context, variables=variables), given)
            except (patterns.Unresolved, Unreadable):
                if negated:
                    return False
                continue
            if found:
                return not negated
        return negated

    def __str__(self) -> str:
        wanted = self.values[0] if len(self.values) == 1 else f"one of {', '.join(self.values)}"
        return f"{self.operator.name} {self.key} {wanted}"
