"""Runtimes from package registries: brought into a directory of Lambent's own, and removed from it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambent.base.image_layers import LayerError
from lambent.base.image_layers import unpack as unpack_layer
from lambent.engine.runtimes import base_images, java, java_archive
from lambent.engine.runtimes.packages import JAVA_CLIENT, NPM, Component, Registry
from lambent.engine.runtimes.registries import FetchError, fetch, has_npm, unpack
from lambent.engine.runtimes.runtime import Runtime

_RECORD = "component.json"
_ASIDE = ".lambent-"  # beginning of the names of what is not in place yet, or no longer


@dataclass(frozen=True, slots=True)
class Installed:
    """A component that is in place."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A container image that is to be a runtime."""

    digest: str  # of its manifest
    config: Mapping[str, Any]  # as OCI's image-spec has it
    layers: Sequence[tuple[str, Path]]  # lowest first: (digest of the content, "sha256:…"; its archive)


class Installation:
    """The directory that `lambent runtimes install` fills. Several processes may use it at once."""

    def __init__(self, directory: Path, tell: Callable[[str], None] = lambda text: None) -> None:
        """`tell` is called with a line for each step that takes time."""
        self.directory = directory
        self._tell = tell

    def installed(self, component: Component) -> Installed | None:
        version = self._record(component.name)
        return Installed(component.name, version) if version else None

    def _record(self, name: str) -> str | None:
        try:
            return str(json.loads((self.directory / name / _RECORD).read_text())["version"])
        except (OSError, ValueError, KeyError):
            return None

    def install(self, component: Component) -> bool:
        """Bring `component` into place, all of it or nothing. False when it was there. FetchError."""
        with self._lock():
            return self._install(component)

    def _install(self, component: Component) -> bool:
        current = self.installed(component)
        if current is not None and current.version == component.version:
            return False
        npm = self._npm() if any(package.registry is Registry.NPM for package in component.packages) else ()
        with self._aside() as work:
            made = work / component.name
            made.mkdir()
            for number, package in enumerate(component.packages):
                self._tell(f"fetching {package.name()} {package.version} from {package.registry}")
                download = work / str(number)
                download.mkdir()
                unpack(fetch(package, download, npm=npm), package, made)
            if component.name.startswith("node-client"):
                _without_start(made / "index.mjs")
            elif component is JAVA_CLIENT:
                java.complete(made)
            (made / _RECORD).write_text(json.dumps({"version": component.version}))
            self._put(made, component.name, work)
        return True

    def install_image(self, name: str, image: BaseImage) -> None:
        """Make the container image `image` the runtime called `name`: all of it or nothing. FetchError."""
        with self._lock(), self._aside() as work:
            made = work / "made"
            layers = made / base_images.LAYERS
            for place in base_images.PLACES:
                (layers / "0000" / place).mkdir(parents=True)
            for number, (content, archive) in enumerate(image.layers, 1):
                self._tell(f"unpacking layer {number} of {len(image.layers)}")
                try:
                    unpack_layer(archive, layers / f"{number:04}", content)
                except LayerError as error:
                    raise FetchError(f"layer {number} cannot be unpacked: {error}") from error
            (made / base_images.CONFIG).write_text(json.dumps({**image.config, "digest": image.digest}))
            self._put(made, base_images.directory_of(name), work)

    def prepare(self, runtime: Runtime) -> bool:
        """What makes a runtime that is in place start faster. False when there is nothing, or it is there."""
        if runtime.name not in java.NAMES:
            return False
        name = java.archive_name(runtime.name)
        client = self.installed(JAVA_CLIENT)
        wanted = f"{runtime.source} {runtime.version} {client.version if client else ''}"
        with self._lock():
            if self._record(name) == wanted:
                return False
            self._tell(f"making the class archive of {runtime.name}")
            with self._aside() as work:
                made = work / name
                made.mkdir()
                java_archive.make(runtime, made / java.ARCHIVE)
                (made / _RECORD).write_text(json.dumps({"version": wanted}))
                self._put(made, name, work)
        return True

    def remove_image(self, name: str) -> bool:
        """Take away the container image that is the runtime called `name`; False when there was none."""
        return self.remove(base_images.directory_of(name))

    def remove(self, name: str) -> bool:
        """Take a component's directory away; False when it was not there."""
        with self._lock(), self._aside() as work:
            place = self.directory / name
            if not place.exists():
                return False
            os.rename(place, work / "gone")
            return True

    def _put(self, made: Path, name: str, work: Path) -> None:
        place = self.directory / name
        if place.exists():
            os.rename(place, work / "old")
        os.rename(made, place)

    def _npm(self) -> tuple[str, ...]:
        if has_npm():
            return ("npm",)
        self._install(NPM)
        place = self.directory / NPM.name
        return (str(place / "bin/node"), str(place / "lib/node_modules/npm/bin/npm-cli.js"))

    @contextmanager
    def _lock(self) -> Iterator[None]:
        mask = os.umask(0o022)  # every function's user reads what is installed
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.directory / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise FetchError(f"cannot use {self.directory}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._clear()
            yield
        finally:
            os.close(descriptor)
            os.umask(mask)

    def _clear(self) -> None:
        """What an installation that was killed left behind."""
        for path in self.directory.glob(_ASIDE + "*"):
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _aside(self) -> Iterator[Path]:
        work = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=self.directory))
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _without_start(module: Path) -> None:
    """AWS's client 4 starts as soon as it is loaded: let it wait until it is told to, as its predecessor does."""
    text = module.read_text()
    start = "\nignition();\n"
    if text.count(start) == 1:
        module.write_text(text.replace(start, "\nexport { ignition };\n"))
