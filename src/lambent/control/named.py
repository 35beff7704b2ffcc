"""The function, version or alias that a setting belongs to."""

from __future__ import annotations

import string
from dataclasses import dataclass

from lambent.base.clock import Clock
from lambent.control import names
from lambent.control.records import LATEST, FunctionKey
from lambent.wire.operations import Context, Parameters

_LETTERS = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class Named:
    key: FunctionKey
    qualifier: str | None  # None when none was given

    @property
    def name(self) -> str:
        """The name under which what belongs to it is stored, in the order of AWS's lists."""
        return stored_name(self.key, self.qualifier or LATEST)

    @property
    def arn(self) -> str:
        """With the qualifier that was given."""
        return self.key.arn(self.qualifier)


def named(context: Context, parameters: Parameters) -> Named:
    """What `FunctionName` and `Qualifier` name. Raises as `wire.arn.parse` does."""
    return Named(*names.qualified(context, parameters))


def stored_name(key: FunctionKey, qualifier: str) -> str:
    return f"{key.name}:{qualifier}"


def random_id(clock: Clock, length: int) -> str:
    """Small letters and digits, as in the identifiers that AWS gives."""
    number = int(clock.token(length), 16)
    letters = []
    for _ in range(length):
        number, letter = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[letter])
    return "".join(letters)
