"""The rows of the table, a file for each subject.

A file offers `CONTENDERS`, the names of those it measures, and `async def measure(stand)`, which adds to
`stand.figures`. `python benchmarks/compare.py --rows warm,cold` runs some of them. All files of one contender run in
this order against the same server; each makes the functions that it needs, under names of its own.
"""

from __future__ import annotations

from types import ModuleType

from rows import boto, burst, cold, control, idle, images, languages, logs, s3, snap_start, startup, warm

ROWS: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (startup, warm, boto, cold, languages, snap_start, images, idle, burst, control, logs, s3)
}
