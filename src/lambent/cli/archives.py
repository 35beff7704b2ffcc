"""Container images in files: OCI layouts (directories and tars) and what `docker save` writes."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
_OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_PIECE = 1 << 20


class NoImage(Exception):
    """The file holds no image that can be pushed. The message says why."""


class Files(Protocol):
    """The files of a directory or of a tar."""

    def open(self, name: str) -> IO[bytes]:
        """Raises NoImage when there is none."""

    def size(self, name: str) -> int: ...


@dataclass(frozen=True, slots=True)
class Blob:
    """A layer or config to push."""

    digest: str
    size: int  # bytes
    file: str


@dataclass(frozen=True, slots=True)
class Source:
    """An image: its blobs, then its manifests, children before the index that names them."""

    blobs: tuple[Blob, ...]
    manifests: tuple[tuple[str, bytes], ...]  # (media type, content); the last one is the image itself


class _Directory:
    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, name: str) -> IO[bytes]:
        try:
            return (self._path / name).open("rb")
        except OSError as error:
            raise NoImage(f"{name} cannot be read: {error.strerror}") from None

    def size(self, name: str) -> int:
        return (self._path / name).stat().st_size


class _Tar:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._members = {member.name.removeprefix("./"): member for member in tar if member.isreg()}

    def open(self, name: str) -> IO[bytes]:
        member = self._members.get(name)
        file = self._tar.extractfile(member) if member is not None else None
        if file is None:
            raise NoImage(f"{name} is not in the archive")
        return file

    def size(self, name: str) -> int:
        return self._members[name].size


@contextmanager
def opened(path: Path) -> Iterator[tuple[Files, Source]]:
    """The image in `path`. Raises NoImage."""
    if path.is_dir():
        files: Files = _Directory(path)
        yield files, _read(files)
        return
    try:
        with tarfile.open(path) as tar:
            files = _Tar(tar)
            yield files, _read(files)
    except OSError as error:
        raise NoImage(f"{path} cannot be read: {error.strerror or error}") from None
    except tarfile.TarError as error:
        raise NoImage(f"{path} is neither an OCI layout nor an archive of one: {error}") from None


def _read(files: Files) -> Source:
    try:
        with files.open("index.json") as file:
            index = json.load(file)
    except NoImage:
        return _docker_archive(files)
    listed = index.get("manifests") or []
    if len(listed) != 1:
        raise NoImage(f"the layout holds {len(listed)} images; one is wanted")
    blobs: dict[str, Blob] = {}
    manifests: list[tuple[str, bytes]] = []
    _collect(files, listed[0], blobs, manifests)
    return Source(tuple(blobs.values()), tuple(manifests))


def _collect(files: Files, entry: dict[str, Any], blobs: dict[str, Blob], manifests: list[tuple[str, bytes]]) -> None:
    """A manifest of a layout and all that it names."""
    with files.open(_place(entry["digest"])) as file:
        content = file.read()
    body = json.loads(content)
    if entry["mediaType"] in _INDEXES:
        for child in body["manifests"]:
            _collect(files, child, blobs, manifests)
    else:
        for part in (body["config"], *body["layers"]):
            blobs[part["digest"]] = Blob(part["digest"], part["size"], _place(part["digest"]))
    manifests.append((entry["mediaType"], content))


def _place(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _docker_archive(files: Files) -> Source:
    """What `docker save` writes names no digests: they are worked out here."""
    with files.open("manifest.json") as file:
        listed = json.load(file)
    if len(listed) != 1:
        raise NoImage(f"the archive holds {len(listed)} images; one is wanted")
    config = _blob(files, listed[0]["Config"])
    layers = [_blob(files, name) for name in listed[0]["Layers"]]
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": _OCI_CONFIG, "digest": config.digest, "size": config.size},
        "layers": [
            {"mediaType": _layer_type(files, layer), "digest": layer.digest, "size": layer.size} for layer in layers
        ],
    }
    blobs = {blob.digest: blob for blob in (config, *layers)}
    return Source(tuple(blobs.values()), ((OCI_MANIFEST, json.dumps(body).encode()),))


def _blob(files: Files, name: str) -> Blob:
    digest = hashlib.sha256()
    with files.open(name) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return Blob(f"sha256:{digest.hexdigest()}", files.size(name), name)


def _layer_type(files: Files, blob: Blob) -> str:
    with files.open(blob.file) as file:
        return _OCI_LAYER + ("+gzip" if file.read(2) == b"\x1f\x8b" else "")
