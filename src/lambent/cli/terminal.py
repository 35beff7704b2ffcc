"""What a person sees: colour where a terminal takes it, tables, and errors that say what to do next."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from lambent import config

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """`text` in `colour` (a key of `_COLOURS`) where `stream` is a terminal, else as it is."""
    if not (stream or sys.stdout).isatty() or not config.colour_wanted():
        return text
    return f"\033[{_COLOURS[colour]}m{text}\033[0m"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, two spaces apart, without trailing blanks."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    title = "  ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=True))
    return "\n".join([paint(title.rstrip(), "bold"), *(line.rstrip() for line in lines)])


def complain(message: str) -> None:
    """One error on standard error."""
    print(f"{paint('error:', 'red', sys.stderr)} {message}", file=sys.stderr, flush=True)


def remark(message: str) -> None:
    """One line on standard error: what goes on."""
    print(paint(message, "dim", sys.stderr), file=sys.stderr, flush=True)
