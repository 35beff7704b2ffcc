"""Compares an answer with a recorded one, strictly: values, which members there are, and which are not."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

_PLACE = re.compile(r"<[^<>]+>")
_REPEATED = re.compile(r"<(.):len\((\d+)\)>")
_NUMBERED = re.compile(r"<(.+):\d+>")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}(\+0000|Z)")
_CHANGING = frozenset(("<location>", "<layer-location>"))  # signed anew each time
_HOLLOW = {  # what a recording has in place of a value of its own: what it stands for
    "date": lambda value: isinstance(value, str) and _DATE.fullmatch(value),
    "datetime": lambda value: isinstance(value, datetime),
    "<code-size>": lambda value: isinstance(value, int) and value > 0,
    "lambda-url": lambda value: (
        isinstance(value, str) and re.fullmatch(r"https?://[a-z0-9]{32}\.lambda-url\..+/", value)
    ),
}


class Mismatch(AssertionError):
    """An answer that is not the recorded one."""


class Matcher:
    """Placeholders stand for values: the same one always for the same, two numbers of one kind never for one value."""

    def __init__(self) -> None:
        self.bound: dict[str, Any] = {}

    def bind(self, placeholder: str, value: Any) -> None:
        """From now on `placeholder` stands for `value`."""
        self._equal(self.bound.setdefault(placeholder, value), value, placeholder)
        if kind := _NUMBERED.fullmatch(placeholder):
            for other, taken in self.bound.items():
                rival = _NUMBERED.fullmatch(other)
                if other != placeholder and rival and rival[1] == kind[1] and taken == value:
                    raise Mismatch(f"{placeholder} and {other} are both {value!r}")

    def fill(self, text: str) -> str:
        """`text` with what its placeholders are bound to; KeyError for one that is not."""
        return _PLACE.sub(lambda match: str(self._known(match[0], required=True)), text)

    def check(self, recorded: Any, answered: Any, path: str) -> None:
        """Raises Mismatch."""
        if isinstance(recorded, str) and recorded in _HOLLOW:
            if not _HOLLOW[recorded](answered):
                raise Mismatch(f"{path}: {answered!r} is no {recorded}")
        elif isinstance(recorded, dict):
            self._members(recorded, answered, path)
        elif isinstance(recorded, list):
            if not isinstance(answered, list) or len(answered) != len(recorded):
                raise Mismatch(f"{path}: {answered!r} has not the {len(recorded)} elements of {recorded!r}")
            for number, (one, other) in enumerate(zip(recorded, answered, strict=True)):
                self.check(one, other, f"{path}[{number}]")
        elif isinstance(recorded, str):
            self._text(recorded, answered, path)
        else:
            self._equal(recorded, answered, path)

    def _members(self, recorded: dict[str, Any], answered: Any, path: str) -> None:
        if not isinstance(answered, dict):
            raise Mismatch(f"{path}: {answered!r} is no object")
        if missing := recorded.keys() - answered.keys():
            raise Mismatch(f"{path} lacks {', '.join(sorted(missing))}: {answered!r}")
        if more := answered.keys() - recorded.keys():
            raise Mismatch(f"{path} has {', '.join(sorted(more))} more: {answered!r}")
        for name, value in recorded.items():
            self.check(value, answered[name], f"{path}.{name}")

    def _text(self, recorded: str, answered: Any, path: str) -> None:
        places = _PLACE.findall(recorded)
        if not places:
            return self._equal(recorded, answered, path)
        if places == [recorded]:  # it may stand for something that is no text
            return self._bind(recorded, answered, path)
        if not isinstance(answered, str):
            raise Mismatch(f"{path}: {answered!r} is not {recorded!r}")
        unknown, pattern = [], ""
        for part in re.split(r"(<[^<>]+>)", recorded):
            known = self._known(part) if _PLACE.fullmatch(part) else part
            unknown += [part] if known is None else []
            pattern += "(.+?)" if known is None else re.escape(str(known))
        found = re.fullmatch(pattern, answered, re.DOTALL)
        if not found:
            raise Mismatch(f"{path}: {answered!r} is not {recorded!r}")
        for place, value in zip(unknown, found.groups(), strict=True):
            self._bind(place, value, path)
        return None

    def _bind(self, placeholder: str, value: Any, path: str) -> None:
        if placeholder in _CHANGING:
            return
        try:
            self._equal(self._known(placeholder) or value, value, path)
            self.bind(placeholder, value)
        except Mismatch as error:
            raise Mismatch(f"{path}: {error}") from None

    def _known(self, placeholder: str, *, required: bool = False) -> Any:
        if repeated := _REPEATED.fullmatch(placeholder):
            return repeated[1] * int(repeated[2])
        return self.bound[placeholder] if required else self.bound.get(placeholder)

    @staticmethod
    def _equal(recorded: Any, answered: Any, path: str) -> None:
        if type(recorded) is not type(answered) or recorded != answered:
            raise Mismatch(f"{path}: {answered!r} is not {recorded!r}")
