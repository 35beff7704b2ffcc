"""The .NET runtimes: known by name. Lambent cannot run them yet, and says what is missing."""

from __future__ import annotations

from pathlib import Path

from lambent.engine.runtimes.packages import Component
from lambent.engine.runtimes.runtime import Missing

NAMES = ("dotnet8", "dotnet10")

_ROOTS = (Path("/usr/share/dotnet"), Path("/usr/lib/dotnet"), Path("/opt/dotnet"))


def components(name: str) -> tuple[Component, ...]:
    """AWS's client lies in a registry that Lambent does not use yet."""
    return ()


def find(name: str, directory: Path) -> Missing:
    """Why the runtime is not here; `directory` plays no part."""
    major = name.removeprefix("dotnet")
    place = next((root for root in _ROOTS if any(root.glob(f"shared/Microsoft.NETCore.App/{major}.*"))), None)
    own = "; a program published as self-contained runs on provided.al2023"
    image = f"lambent runtimes install {name} --image FILE"
    if place is None:
        return Missing(name, f"no .NET {major} was found on this machine, and Lambent does not run it yet{own}", image)
    return Missing(
        name, f".NET {major} is here ({place}), but Lambent does not run AWS's client for it yet{own}", image
    )
