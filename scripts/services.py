"""Writes the lists in docs/services.md: the services that a real server has, and those that moto has beside them.

`--check` writes nothing and leaves with 1 when the file is not what it would write.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import botocore.session
import moto.backends
from operations import registered

TARGET = Path(__file__).resolve().parent.parent / "docs/services.md"
_MODULES = {"awslambda": "lambda"}  # of moto, where they are not called as the service


def embedded() -> set[str]:
    """The services that moto has, by botocore's names."""
    names = {name.replace("-", ""): name for name in botocore.session.Session().get_available_services()}
    modules = [_MODULES.get(name, name).replace("_", "") for name in moto.backends.list_of_moto_modules()]
    return {names[module] for module in modules if module in names}


def page(text: str, native: set[str]) -> str:
    text = fill(text, "native", native)
    return fill(text, "embedded", embedded() - native)


def fill(text: str, mark: str, names: set[str]) -> str:
    listed = " ".join(f"`{name}`" for name in sorted(names))
    return re.sub(rf"<!-- {mark} -->\n(.*\n)?", f"<!-- {mark} -->\n{listed}\n", text)


def main() -> int:
    before = TARGET.read_text(encoding="utf-8")
    after = page(before, set(asyncio.run(registered()).services()))
    if "--check" in sys.argv[1:]:
        if before != after:
            print("docs/services.md is out of date: make operations", file=sys.stderr)
        return int(before != after)
    TARGET.write_text(after, encoding="utf-8")
    print(f"wrote {TARGET.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
