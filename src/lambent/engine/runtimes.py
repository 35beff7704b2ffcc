"""What a runtime is on this machine: an interpreter and how to start a function on it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lambent.base.machine import PYTHON_VERSIONS, interpreters

_PROBE = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.base_prefix, sep='\\n')"


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime that functions can run on here."""

    name: str  # "python3.12"
    version: str  # of the interpreter, "3.12.4"
    interpreter: Path  # "/usr/bin/python3.12"
    prefix: Path  # what becomes /var/lang: "/usr"


@dataclass(frozen=True, slots=True)
class Missing:
    """A runtime that Lambda has and this machine lacks."""

    name: str
    reason: str
    remedy: str | None  # the command that would bring it, where there is one


def _probe(name: str, interpreter: Path) -> Runtime | None:
    """Ask the interpreter itself: a shim that cannot start is no runtime."""
    try:
        result = subprocess.run(
            [interpreter, "-I", "-S", "-c", _PROBE], capture_output=True, text=True, timeout=10, check=True
        )
        version, prefix = result.stdout.splitlines()
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if not version.startswith(name.removeprefix("python") + "."):
        return None
    return Runtime(name, version, interpreter.resolve(), Path(prefix))


class Runtimes:
    """The runtimes of this machine, found once and kept."""

    def __init__(self) -> None:
        self._found: dict[str, Runtime | None] = {}

    @property
    def available(self) -> Mapping[str, Runtime]:
        """Every runtime that this machine has; asks each interpreter once."""
        names = [f"python{version}" for version in PYTHON_VERSIONS]
        return {name: runtime for name in names if (runtime := self._look_up(name))}

    def _look_up(self, name: str) -> Runtime | None:
        if name not in self._found:
            place = dict(interpreters()).get(name.removeprefix("python"))
            self._found[name] = _probe(name, place) if place is not None else None
        return self._found[name]

    def find(self, name: str) -> Runtime | Missing:
        """The runtime called `name` ("python3.12"), or why it is not here. May start an interpreter: blocks."""
        if name.removeprefix("python") in PYTHON_VERSIONS and (runtime := self._look_up(name)):
            return runtime
        if match := re.fullmatch(r"python(3\.\d+)", name):
            remedy = f"apt-get install python{match[1]}" if match[1] == "3.11" else None
            return Missing(name, f"no {name} interpreter was found on this machine", remedy)
        return Missing(name, f"Lambent does not run {name} yet", None)


def client_files(*, own_client: bool) -> dict[str, Path]:
    """AWS's Python runtime client and what it imports: name under /var/runtime → where it lies here.

    Without `own_client` the C extension that `awslambdaric` was installed with comes along; it fits only the
    interpreter version that Lambent itself runs on.
    """
    files: dict[str, Path] = {}
    modules = ("awslambdaric", "simplejson", "snapshot_restore_py")
    for module in modules if own_client else (*modules, "runtime_client"):
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise RuntimeError(f"the Python package {module} is not installed: pip install awslambdaric")
        origin = Path(spec.origin)
        path = origin.parent if origin.name == "__init__.py" else origin
        files[path.name] = path
    return files
