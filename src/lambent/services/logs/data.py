"""What log events say in numbers, on its way to the metric service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Datum(NamedTuple):
    account: str
    region: str
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]  # in the order of their names
    unit: str
    at: int  # milliseconds since the epoch
    resolution: int  # seconds: 1 or 60
    values: tuple[float, ...]


Publish = Callable[[Sequence[Datum]], None]
"""Called on the event loop."""
