"""The runtimes of this machine: found once and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lambent.engine.runtimes import base_images, dotnet, images, java, node, provided, python, ruby
from lambent.engine.runtimes.packages import Component
from lambent.engine.runtimes.runtime import Missing, Runtime

_FAMILIES = (python, node, java, ruby, provided, dotnet)
_NOWHERE = Path("/nonexistent")


def components(name: str) -> tuple[Component, ...]:
    """What the packages of a registry bring for the runtime `name`; none for one that no registry has."""
    return next((family.components(name) for family in _FAMILIES if name in family.NAMES), ())


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table of runtimes."""

    name: str
    available: bool
    source: str | None  # where it lies
    detail: str  # its version, or why it is not here
    install: str | None  # the command that brings it


Marks = tuple[tuple[int, int] | None, ...]


def _marks(runtime: Runtime) -> Marks:
    """What tells the files of a runtime from those that may take their place; None for one that is gone."""
    return tuple(_mark(path) for path, _inside in runtime.binds)


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Runtimes:
    """Every runtime that Lambent knows how to run, and which of them are here."""

    names = tuple(name for family in _FAMILIES for name in family.NAMES)

    def __init__(self, directory: Path = _NOWHERE, install: str = "lambent runtimes install") -> None:
        """`directory` is where the command `install` puts things."""
        self._directory = directory
        self._install = install
        self._found: dict[str, tuple[Runtime, Marks]] = {}

    @property
    def available(self) -> Mapping[str, Runtime]:
        """Every runtime that this machine has. May start interpreters: blocks."""
        found = {name: self.find(name) for name in self.names}
        return {name: runtime for name, runtime in found.items() if isinstance(runtime, Runtime)}

    def find(self, name: str) -> Runtime | Missing:
        """The runtime called `name` ("python3.12"), or why it is not here. May start an interpreter: blocks."""
        if name == images.RUNTIME.name:
            return images.RUNTIME
        if name in self._found:
            kept, marks = self._found[name]
            if _marks(kept) == marks:
                return kept
            del self._found[name]  # removed, or replaced by another build: its directory is not the same any more
        family = next((family for family in _FAMILIES if name in family.NAMES), None)
        if family is None:
            return Missing(name, f"Lambent does not run {name} yet", None)
        runtime: Runtime | Missing = base_images.find(name, self._directory) or family.find(name, self._directory)
        if isinstance(runtime, Runtime):
            self._found[name] = runtime, _marks(runtime)
        elif runtime.lacking:
            runtime = replace(runtime, remedy=f"{self._install} {name}")
        return runtime

    def rows(self) -> list[Row]:
        """Every runtime, here or not. May start interpreters: blocks."""
        found = [self.find(name) for name in self.names]
        return [
            Row(runtime.name, False, None, runtime.reason, runtime.remedy)
            if isinstance(runtime, Missing)
            else Row(runtime.name, True, str(runtime.source), runtime.version, None)
            for runtime in found
        ]
