"""The Python runtimes: AWS's own client on each interpreter that this machine has."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lambent.base.machine import PYTHON_VERSIONS, interpreters
from lambent.engine.runtimes.packages import Component
from lambent.engine.runtimes.runtime import LIBRARIES, SEARCH, Missing, Runtime, Start

NAMES = tuple(f"python{version}" for version in PYTHON_VERSIONS)

_PROBE = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.base_prefix, sep='\\n')"
_GUEST = Path(__file__).parent.parent / "guest"
_FLAGS = ("-I", "-S", "-B", "-X", "utf8")
_FIRST_WITH_LC_CTYPE = (3, 12)
_FIRST_WITH_SDK = (3, 10)  # what today's boto3 runs on


def components(name: str) -> tuple[Component, ...]:
    """No registry has an interpreter of Python."""
    return ()


def find(name: str, directory: Path) -> Runtime | Missing:
    """The runtime called `name` ("python3.12"), or why it is not here. Starts an interpreter: blocks.

    `directory` plays no part: no registry has an interpreter of Python.
    """
    version = name.removeprefix("python")
    place = dict(interpreters()).get(version)
    if place is not None and (found := _probe(version, place)) is not None:
        return _runtime(name, *found)
    remedy = f"apt-get install python{version}" if version == "3.11" else None
    return Missing(name, f"no {name} interpreter was found on this machine", remedy)


def _probe(wanted: str, interpreter: Path) -> tuple[str, Path, Path] | None:
    """(version, interpreter, prefix), from the interpreter itself: a shim that cannot start is no runtime."""
    try:
        result = subprocess.run(
            [interpreter, "-I", "-S", "-c", _PROBE], capture_output=True, text=True, timeout=10, check=True
        )
        version, prefix = result.stdout.splitlines()
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if not version.startswith(wanted + "."):
        return None
    return version, interpreter.resolve(), Path(prefix)


def _runtime(name: str, version: str, interpreter: Path, prefix: Path) -> Runtime:
    executable = f"/var/lang/{interpreter.relative_to(prefix)}"
    major, minor, patch = map(int, re.findall(r"\d+", version)[:3])

    def command(environment: Mapping[str, str]) -> tuple[str, ...]:
        return (executable, "-S", "-B", "-X", "utf8", "/var/runtime/bootstrap.py")

    return Runtime(
        name,
        version,
        build=f"python:{major}.{minor}.v{patch}",
        source=interpreter,
        start=Start.FORK,
        command=command,
        binds=((prefix, "/var/lang"), *_client_files(own=True), *_sdk((major, minor))),
        variables=_variables(name, (major, minor)),
        waiting=(executable, *_FLAGS),
        start_up=("PYTHON",),
        reserves=0,
    )


def _variables(name: str, version: tuple[int, int]) -> dict[str, str]:
    variables = {
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{name}",
        "LANG": "en_US.UTF-8",
        "PATH": f"/var/lang/bin:{SEARCH}",
        "LD_LIBRARY_PATH": f"/var/lang/lib:{LIBRARIES}",
        "PYTHONPATH": "/var/runtime",
        "SHLVL": "0",
        "PWD": "/var/task",
    }
    if version >= _FIRST_WITH_LC_CTYPE:
        variables["LC_CTYPE"] = "C.UTF-8"
    return variables


def with_aws_transport(runtime: Runtime) -> Runtime:
    """The same with the C extension of `awslambdaric` in the place of Lambent's leaner transport.

    It fits only the version of Python that Lambent itself runs on.
    """
    ours = set(_client_files(own=True))
    return replace(runtime, binds=(*(bind for bind in runtime.binds if bind not in ours), *_client_files(own=False)))


def _client_files(*, own: bool) -> tuple[tuple[Path, str], ...]:
    """AWS's Python runtime client, what it imports, and how it is started."""
    files = {name: _GUEST / name for name in ("bootstrap.py", "python_runtime.py")}
    modules = ("awslambdaric", "simplejson", "snapshot_restore_py")
    if own:
        files["runtime_client.py"] = _GUEST / "runtime_client.py"
    for module in modules if own else (*modules, "runtime_client"):
        path = _installed(module)
        files[path.name] = path
    return tuple((path, f"/var/runtime/{name}") for name, path in files.items())


def _sdk(version: tuple[int, int]) -> tuple[tuple[Path, str], ...]:
    """boto3, which AWS's runtimes bring; a function's own and a layer's go before it."""
    if version < _FIRST_WITH_SDK:
        return ()
    modules = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
    return tuple((path, f"/var/runtime/{path.name}") for path in map(_installed, modules))


def _installed(module: str) -> Path:
    """The module's file or directory, as the server has it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the Python package {module} is not installed: pip install --force-reinstall lambent")
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" else origin
