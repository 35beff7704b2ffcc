"""Markers of paged lists. A marker stands for a place in the list's order: what comes and goes shifts nothing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson

from lambent.wire.errors import AwsError

Place = tuple[str | int, ...]
T = TypeVar("T")


def make(place: Place) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode()


def read(marker: str, start: Place) -> Place:
    """The place behind `marker`, of the same types as `start`. Raises InvalidParameterValueException."""
    try:
        place = orjson.loads(base64.urlsafe_b64decode(marker))
        if [type(part) for part in place] == [type(part) for part in start]:
            return tuple(place)
    except (binascii.Error, ValueError, TypeError):
        pass
    raise AwsError("InvalidParameterValueException", "Invalid value for Marker", Type="User")


def cut(items: Sequence[T], most: int, place_of: Callable[[T], Place]) -> tuple[list[T], str | None]:
    """The first `most` of `items`, and the marker of what follows, if anything does."""
    shown = list(items[:most])
    return shown, make(place_of(shown[-1])) if len(items) > most else None


def answer(name: str, items: list[Any], marker: str | None) -> dict[str, Any]:
    """A page as Lambda answers it: `name` is its member, NextMarker stands there only when there is more."""
    return {name: items} if marker is None else {name: items, "NextMarker": marker}
