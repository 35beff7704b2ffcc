"""Writes docs/operations.md: every operation of Lambda's API, and whether this server has a handler for it.

`--check` writes nothing and leaves with 1 when the file is not what it would write.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import botocore.session

from lambent import app
from lambent.config import Config
from lambent.wire.operations import Operations

TARGET = Path(__file__).resolve().parent.parent / "docs/operations.md"
HEAD = """# Operations

Every operation of Lambda's API, in the model of botocore {version}. What is not built answers HTTP 501
(`NotImplementedException`) and names itself. Written by `make operations`.

{built} of {total} work.

| operation | |
|---|---|
"""


async def registered() -> Operations:
    """The operations that a real server registers."""
    seen: list[Operations] = []

    class Recorded(Operations):
        def __init__(self) -> None:
            super().__init__()
            seen.append(self)

    app.Operations = Recorded  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as directory:
        server = app.App(Config(data_dir=Path(directory) / "data", port=0, isolation="process"))
        try:
            await server.start()
            return seen[0]
        finally:
            await server.stop()


def page(built: list[str]) -> str:
    model = botocore.session.Session().get_service_model("lambda")
    names = sorted(model.operation_names)
    rows = [f"| {name} | {'works' if name in built else '501'} |" for name in names]
    head = HEAD.format(version=botocore.__version__, built=len(built), total=len(names))
    return head + "\n".join(rows) + "\n"


def main() -> int:
    text = page(asyncio.run(registered()).names("lambda"))
    if "--check" in sys.argv[1:]:
        if not TARGET.exists() or TARGET.read_text() != text:
            print("docs/operations.md is out of date: make operations", file=sys.stderr)
            return 1
        return 0
    TARGET.write_text(text)
    print(f"wrote {TARGET.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
