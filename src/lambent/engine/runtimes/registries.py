"""Packages of public registries, through their ordinary clients as they are set up on this machine, and checked."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from lambent.engine.runtimes.packages import Package, Registry

_SECONDS = 900  # a download over a slow line
_MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


class FetchError(Exception):
    """A package that could not be had, or is not the one that was meant. The message says what to do."""


class ToolMissing(FetchError):
    """The client of a registry is not on this machine."""


def fetch(package: Package, directory: Path, *, npm: Sequence[str] = ("npm",)) -> Path:
    """The package's file in `directory`, which is empty; its digest is the pinned one. FetchError."""
    name = package.name()
    if name is None:
        raise FetchError(f"{package.registry} has no {package.version} of it for this machine")
    match package.registry:
        case Registry.NPM:
            _run([*npm, "pack", f"{name}@{package.version}", "--ignore-scripts", "--silent"], directory)
        case Registry.PYPI:
            _pip(package, name, directory)
        case Registry.MAVEN:
            artifact = f"-Dartifact={name}:{package.version}"
            _run(["mvn", "-q", "-B", _MAVEN_COPY, artifact, f"-DoutputDirectory={directory}"], directory)
    files = list(directory.iterdir())
    if len(files) != 1:
        raise FetchError(f"{package.registry} gave {len(files)} files for {name} {package.version}, not one")
    _check(files[0], package)
    return files[0]


def _pip(package: Package, name: str, directory: Path) -> None:
    requirement = directory / "requirement"
    requirement.write_text(f"{name}=={package.version} --hash={package.digest()}\n")
    options = ("--no-deps", "--only-binary", ":all:", "--require-hashes", "--disable-pip-version-check", "-q")
    _run([sys.executable, "-m", "pip", "download", *options, "-d", str(directory), "-r", str(requirement)], directory)
    requirement.unlink()


def _run(command: Sequence[str], directory: Path) -> None:
    try:
        subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_SECONDS,
            check=True,
        )
    except FileNotFoundError as error:
        package = "maven" if command[0] == "mvn" else command[0]
        raise ToolMissing(f"{command[0]} is not on this machine: apt-get install {package}") from error
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"{command[0]} has not finished in {_SECONDS // 60} minutes") from error
    except subprocess.CalledProcessError as error:
        text = error.stderr.decode(errors="replace").strip()
        raise FetchError(
            f"{' '.join(command[:4])} … failed: {text[-1000:] or f'exit status {error.returncode}'}"
        ) from error


def has_npm() -> bool:
    return shutil.which("npm") is not None


def _check(file: Path, package: Package) -> None:
    wanted = package.digest()
    kind, mark, value = wanted.partition("-") if wanted.startswith("sha512-") else wanted.partition(":")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, kind)
    found = base64.b64encode(digest.digest()).decode() if mark == "-" else digest.hexdigest()
    if found != value:
        raise FetchError(f"{file.name} is not what was pinned: its {kind} is {found}, not {value}")


def unpack(file: Path, package: Package, target: Path) -> None:
    """Put into `target` what is kept of the package. Only regular files: nothing that is kept has links."""
    if not package.members:
        shutil.copyfile(file, target / file.name)
    elif zipfile.is_zipfile(file):
        _unpack_zip(file, package, target)
    else:
        _unpack_tar(file, package, target)


def _place(name: str, package: Package, target: Path) -> Path | None:
    for beginning, becomes in package.members.items():
        if name == beginning or (beginning.endswith("/") and name.startswith(beginning)):
            inside = becomes + name.removeprefix(beginning)
            if ".." in inside.split("/") or not inside:
                return None
            place = target / inside
            place.parent.mkdir(parents=True, exist_ok=True)
            return place
    return None


def _unpack_zip(file: Path, package: Package, target: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.is_dir() or (place := _place(entry.filename, package, target)) is None:
                continue
            with archive.open(entry) as source, place.open("wb") as sink:
                shutil.copyfileobj(source, sink)
            _set_mode(place, entry.external_attr >> 16)


def _unpack_tar(file: Path, package: Package, target: Path) -> None:
    with tarfile.open(file) as archive:
        for entry in archive:
            if not entry.isfile() or (place := _place(entry.name, package, target)) is None:
                continue
            source = archive.extractfile(entry)
            assert source is not None
            with source, place.open("wb") as sink:
                shutil.copyfileobj(source, sink)
            _set_mode(place, entry.mode)


def _set_mode(place: Path, mode: int) -> None:
    """Readable for every function's user, executable where it was."""
    os.chmod(place, 0o755 if mode & 0o100 or "bin" in place.parts[-2:] else 0o644)
