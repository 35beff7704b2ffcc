"""A container image in a file, as what `lambent runtimes install --image` makes a runtime of."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lambent.cli.archives import Blob, Files, NoImage, Source, opened
from lambent.engine.runtimes import BaseImage

_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}


@contextmanager
def base_image(path: Path) -> Iterator[BaseImage]:
    """The image in `path` for this machine, its layers in files of their own while the context lasts. NoImage."""
    with opened(path) as (files, source), tempfile.TemporaryDirectory() as scratch:
        digest, manifest, config = _chosen(files, source, path)
        blobs = {blob.digest: blob for blob in source.blobs}
        contents = (config.get("rootfs") or {}).get("diff_ids") or ()
        if len(contents) != len(manifest["layers"]):
            raise NoImage(f"{path}: the image has {len(manifest['layers'])} layers and names {len(contents)}")
        layers = []
        for number, (content, layer) in enumerate(zip(contents, manifest["layers"], strict=True)):
            archive = Path(scratch) / str(number)
            with files.open(blobs[layer["digest"]].file) as read, archive.open("wb") as written:
                shutil.copyfileobj(read, written)
            layers.append((content, archive))
        yield BaseImage(digest, config, layers)


def _chosen(files: Files, source: Source, path: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """(digest, manifest, configuration) of the image for this machine."""
    wanted = _ARCHITECTURE.get(platform.machine(), platform.machine())
    blobs = {blob.digest: blob for blob in source.blobs}
    found = []
    for _media_type, content in source.manifests:
        manifest = json.loads(content)
        if "config" not in manifest:
            continue  # an index, whose manifests stand beside it
        config = _config(files, blobs[manifest["config"]["digest"]])
        if (config.get("os"), config.get("architecture")) == ("linux", wanted):
            if not (config.get("config") or {}).get("Entrypoint"):
                raise NoImage(f"{path}: the image has no ENTRYPOINT, which a runtime is started by")
            return f"sha256:{hashlib.sha256(content).hexdigest()}", manifest, config
        found.append(f"{config.get('os')}/{config.get('architecture')}")
    raise NoImage(f"{path} holds an image for {', '.join(found) or 'nothing'}; this machine is linux/{wanted}")


def _config(files: Files, blob: Blob) -> dict[str, Any]:
    with files.open(blob.file) as file:
        config = json.load(file)
    return config if isinstance(config, dict) else {}
