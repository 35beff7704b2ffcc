"""The OS-only runtimes: a program called `bootstrap` of the function itself or of a layer."""

from __future__ import annotations

from pathlib import Path

from lambent.engine.runtimes.packages import Component
from lambent.engine.runtimes.runtime import LIBRARIES, SEARCH, Runtime, Start

NAMES = ("provided.al2", "provided.al2023")
BOOTSTRAPS = "/var/task/bootstrap:/opt/bootstrap"


def components(name: str) -> tuple[Component, ...]:
    """No registry has them, and none is needed."""
    return ()


def find(name: str, directory: Path) -> Runtime:
    """Every machine has these; `directory` plays no part."""
    release = name.removeprefix("provided.")
    own = release != "al2"  # only the newer one looks into /var/lang
    return Runtime(
        name,
        release,
        build=f"provided:{release}.v1",
        source=Path("/"),
        start=Start.EXEC,
        command=lambda environment: (BOOTSTRAPS,),
        variables={
            "LANG": "en_US.UTF-8",
            "LD_LIBRARY_PATH": f"/var/lang/lib:{LIBRARIES}" if own else LIBRARIES,
            "PATH": f"/var/lang/bin:{SEARCH}" if own else SEARCH,
            "TZ": ":UTC",
        },
        wrappable=False,
    )
