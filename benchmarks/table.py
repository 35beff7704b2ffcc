"""Figures by row, and the table that they are printed in: one column for each contender."""

from __future__ import annotations

import statistics

Figures = dict[str, float]
"""Row with its unit in parentheses, "warm, 1 connection, p50 (ms)" → value."""

LOWER_IS_BETTER = ("ms", "µs", "MB", "kB")


def share(values: list[float], part: float) -> float:
    """The value that `part` (0.99) of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def put(figures: Figures, name: str, seconds: list[float]) -> None:
    """Two rows: the median and the 99th percentile in milliseconds."""
    figures[f"{name}, p50 (ms)"] = statistics.median(seconds) * 1000
    figures[f"{name}, p99 (ms)"] = share(seconds, 0.99) * 1000


def show(results: dict[str, Figures]) -> str:
    """The table; a ratio to the first column behind every figure of the others."""
    rows = list(dict.fromkeys(row for figures in results.values() for row in figures))
    width = max(map(len, rows), default=0)
    first, *others = results
    lines = [f"{'':{width}}{first:>12}" + "".join(f"{name:>24}" for name in others)]
    for row in rows:
        ours = results[first].get(row)
        cells = f"{'-':>12}" if ours is None else f"{ours:>12,.2f}"
        for name in others:
            theirs = results[name].get(row)
            cells += f"{'-':>24}" if theirs is None else f"{theirs:>13,.2f} {ratio(row, ours, theirs):>10}"
        lines.append(f"{row:{width}}{cells}".rstrip())
    if others:
        lines.append(f"\nIn parentheses: how many times better {first} is (below 1: worse).")
    return "\n".join(lines)


def ratio(row: str, ours: float | None, theirs: float) -> str:
    if not ours or not theirs:
        return ""
    lower = row.endswith(tuple(f"({unit})" for unit in LOWER_IS_BETTER))
    return f"({theirs / ours if lower else ours / theirs:,.2f}x)"
