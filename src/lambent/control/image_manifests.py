"""What manifests and configs of container images say: which image runs here, what its layers are.

Source: OCI image specification 1.1 (image-index.md, manifest.md, config.md), Docker image manifest version 2, schema 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from lambent.base.image_layers import SIZE
from lambent.control.records import ImageLayer

ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_LAYERS = (
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Unsupported(Exception):
    """The image cannot be a function. The message says why."""


def document(text: bytes | str) -> Mapping[str, Any]:
    """A manifest or a config."""
    try:
        found = orjson.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unsupported("it holds something that is no JSON object")
    return found


def candidates(index: Mapping[str, Any], architecture: str) -> Iterator[str]:
    """Digests of what may hold the image for Linux on `architecture` ("amd64"), the likeliest first.

    Attestations name no platform that exists and are passed over. What names none at all may be an index in an index.
    """
    listed = index.get("manifests")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    silent: list[str] = []
    for entry in entries:
        digest, platform = entry.get("digest"), entry.get("platform")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            continue
        if not isinstance(platform, dict):
            silent.append(digest)
        elif (platform.get("os"), platform.get("architecture")) == ("linux", architecture):
            yield digest
    yield from silent


def check_platform(config: Mapping[str, Any], architecture: str) -> None:
    found = (config.get("os"), config.get("architecture"))
    if found != ("linux", architecture):
        raise Unsupported(f"It is for {found[0]}/{found[1]}, the function for linux/{architecture}.")


def config_of(manifest: Mapping[str, Any]) -> str:
    """The digest of its config."""
    config = manifest.get("config")
    digest = config.get("digest") if isinstance(config, dict) else None
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise Unsupported("Its manifest names no config.")
    return digest


def layers(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[ImageLayer, ...]:
    """Lowest first, each with the digest of its content and that of the blob which holds it."""
    rootfs = config.get("rootfs")
    contents = rootfs.get("diff_ids") or () if isinstance(rootfs, dict) else ()
    blobs = manifest.get("layers")
    if not isinstance(blobs, list) or not isinstance(contents, Sequence) or len(contents) != len(blobs):
        raise Unsupported("Its config and its manifest tell of different layers.")
    found = tuple(_layer(content, blob) for content, blob in zip(contents, blobs, strict=True))
    if sum(layer.size for layer in found) > SIZE:
        raise Unsupported(f"Its layers have more than {SIZE} bytes.")
    return found


def _layer(content: Any, blob: Any) -> ImageLayer:
    given = blob if isinstance(blob, dict) else {}
    media_type, digest, size = given.get("mediaType"), given.get("digest"), given.get("size")
    if media_type not in _LAYERS:
        known = str(media_type)
        kept_elsewhere = "foreign" in known or "nondistributable" in known
        why = "is kept elsewhere than in its registry" if kept_elsewhere else "is not known"
        raise Unsupported(f"A layer of the type {known[:200]} {why}.")
    digests = [value if isinstance(value, str) else "" for value in (content, digest)]
    if not all(_DIGEST.fullmatch(value) for value in digests) or type(size) is not int or size < 0:
        raise Unsupported("A layer has no sha256 digest or no size.")
    return ImageLayer(digests[0][7:], digests[1][7:], size)


def environment(given: Any) -> Mapping[str, str]:
    return dict(entry.partition("=")[::2] for entry in texts(given) if "=" in entry)


def texts(given: Any) -> tuple[str, ...]:
    return tuple(map(str, given)) if isinstance(given, list) else ()
