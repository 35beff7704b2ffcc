"""Prometheus's text format, version 0.0.4: families of samples as a scraper reads them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lambent.base.sketch import Sketch

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, str]


@dataclass(slots=True)
class Family:
    """All samples of one name."""

    name: str
    kind: str  # counter, gauge or histogram
    help: str
    samples: list[tuple[str, Labels, float]] = field(default_factory=list)
    """(what follows the name, labels, value)"""

    def add(self, value: float, **labels: str) -> None:
        self.samples.append(("", labels, value))

    def spread(self, values: Sketch, limits: Sequence[float], scale: float = 1.0, /, **labels: str) -> None:
        """One histogram of `values`, which are `scale` times as large as the `limits` of its buckets."""
        counts = values.at_most(limit * scale for limit in limits)
        for limit, count in zip(limits, counts, strict=True):
            self.samples.append(("_bucket", {**labels, "le": _number(limit)}, count))
        self.samples.append(("_bucket", {**labels, "le": "+Inf"}, values.count))
        self.samples.append(("_sum", labels, values.sum / scale))
        self.samples.append(("_count", labels, values.count))


def text(families: Iterable[Family]) -> bytes:
    lines = []
    for family in families:
        help = family.help.replace("\\", r"\\").replace("\n", r"\n")
        lines += [f"# HELP {family.name} {help}", f"# TYPE {family.name} {family.kind}"]
        for suffix, labels, value in family.samples:
            pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            lines.append(f"{family.name}{suffix}{{{pairs}}} {_number(value)}")
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
