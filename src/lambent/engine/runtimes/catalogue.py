"""The runtimes of this machine: found once and kept."""

from __future__ import annotations

from collections.abc import Mapping

from lambent.engine.runtimes import python
from lambent.engine.runtimes.runtime import Missing, Runtime


class Runtimes:
    """Every runtime that Lambent knows how to run, and which of them are here."""

    names = python.NAMES

    def __init__(self) -> None:
        self._found: dict[str, Runtime] = {}

    @property
    def available(self) -> Mapping[str, Runtime]:
        """Every runtime that this machine has. May start interpreters: blocks."""
        found = {name: self.find(name) for name in self.names}
        return {name: runtime for name, runtime in found.items() if isinstance(runtime, Runtime)}

    def find(self, name: str) -> Runtime | Missing:
        """The runtime called `name` ("python3.12"), or why it is not here. May start an interpreter: blocks."""
        if name in self._found:
            return self._found[name]
        if name not in self.names:
            return Missing(name, f"Lambent does not run {name} yet", None)
        runtime = python.find(name)
        if isinstance(runtime, Runtime):
            self._found[name] = runtime
        return runtime
