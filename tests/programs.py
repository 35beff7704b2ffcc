"""Programs that tests run as functions, built once for each version of their source and kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

FUNCTIONS = Path(__file__).parent / "functions"


def go() -> bytes:
    """`functions/go`, linked statically."""
    command = ["go", "build", "-trimpath", "-ldflags=-s", "-o", "bootstrap", "."]
    return _built("go", command, "bootstrap", CGO_ENABLED="0", GOFLAGS="-mod=readonly", GOTOOLCHAIN="local")


def rust() -> bytes:
    """`functions/rust`."""
    return _built("rust", ["cargo", "build", "--quiet"], "target/debug/bootstrap")


def _built(name: str, command: list[str], product: str, **variables: str) -> bytes:
    """What `command` makes of functions/NAME. Skips the test where the machine lacks the tool."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not on this machine")
    source = FUNCTIONS / name
    files = sorted(path for path in source.rglob("*") if path.is_file())
    digest = hashlib.sha256(b"\0".join([repr(command).encode(), *(path.read_bytes() for path in files)])).hexdigest()
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lambent" / "tests" / f"{name}-{digest[:16]}"
    )
    if not cache.exists():
        work = cache.with_name(f"{cache.name}.{os.getpid()}")
        shutil.copytree(source, work)
        try:
            subprocess.run(command, cwd=work, env=os.environ | variables, check=True, timeout=600)
            (work / product).rename(work.with_suffix(".made"))
            os.replace(work.with_suffix(".made"), cache)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return cache.read_bytes()
