"""Programs that tests run as functions, built once for each version of their source and kept in the user's cache."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
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


def java() -> dict[str, bytes]:
    """`functions/java`, for Java 11 and newer: path of a class file → its content."""
    from support import RUNTIMES

    core = next((RUNTIMES / "java-client").glob("aws-lambda-java-core-*.jar"), None)
    if core is None:
        pytest.skip("AWS's Java client is not installed")
    files = ["Told.java", "echo/Handler.java", "layered/Greeter.java"]
    compiler = ["javac", "--release", "11", "-cp", str(core), "-d", "classes", *files]
    packer = [sys.executable, "-m", "zipfile", "-c", "classes.zip", "classes/."]
    with zipfile.ZipFile(io.BytesIO(_built("java", compiler, "classes.zip", then=packer))) as archive:
        return {name.removeprefix("./"): archive.read(name) for name in archive.namelist() if name.endswith(".class")}


def _built(name: str, command: list[str], product: str, then: list[str] | None = None, **variables: str) -> bytes:
    """What `command`, and `then`, make of functions/NAME. Skips the test where the machine lacks the tool."""
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
            for step in (command, *([then] if then else [])):
                subprocess.run(step, cwd=work, env=os.environ | variables, check=True, timeout=600)
            (work / product).rename(work.with_suffix(".made"))
            os.replace(work.with_suffix(".made"), cache)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return cache.read_bytes()
