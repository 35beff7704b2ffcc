"""Manifests: what an image, an index of images or any other artifact is made of.

Sources: OCI image specification 1.1 (manifest.md, image-index.md, descriptor.md), Docker image manifest version 2,
schema 2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from lambent.services.ecr.names import DIGEST

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
EMPTY = "application/vnd.oci.empty.v1+json"
INDEXES = (OCI_INDEX, DOCKER_LIST)
MEDIA_TYPES = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST)
LIMIT = 4 << 20  # bytes of a manifest, the OCI specification's and ECR's


class InvalidManifest(ValueError):
    """The bytes are no manifest that this registry keeps. The message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A pointer to content: what it is, its digest, its size in bytes."""

    media_type: str
    digest: str
    size: int
    elsewhere: bool = False  # a layer that is to be fetched from its own URLs and need not be here


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the registry must know of a manifest; `text` is kept to the byte."""

    digest: str
    media_type: str
    text: str
    blobs: tuple[Descriptor, ...] = ()  # config and layers, in this order
    children: tuple[Descriptor, ...] = ()  # the manifests of an index
    subject: Descriptor | None = None  # the manifest that this one is about
    artifact_type: str | None = None
    annotations: Mapping[str, str] | None = None

    @property
    def size(self) -> int:
        """Bytes of config and layers; 0 for an index, whose size is that of its largest image."""
        return sum(blob.size for blob in self.blobs)


def read(content: bytes, declared: str | None = None, algorithm: str = "sha256") -> Manifest:
    """Understand a manifest that was sent as `declared` (its Content-Type). InvalidManifest when it is none.

    `algorithm` ("sha256", "sha512") is that of the digest which it will be known by.
    """
    if len(content) > LIMIT:
        raise InvalidManifest(f"a manifest has {LIMIT} bytes at most")
    try:
        text = content.decode("utf-8")
        body = orjson.loads(content)
    except ValueError:
        raise InvalidManifest("manifest is not JSON") from None
    if not isinstance(body, dict) or body.get("schemaVersion") != 2:
        raise InvalidManifest("manifest has no schemaVersion 2")
    media_type = _media_type(body, declared)
    index = media_type in INDEXES
    blobs = () if index else (_descriptor(body.get("config"), "config"), *_descriptors(body, "layers"))
    return Manifest(
        f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}",
        media_type,
        text,
        blobs,
        _descriptors(body, "manifests") if index else (),
        _descriptor(body["subject"], "subject") if body.get("subject") is not None else None,
        _artifact_type(body),
        _annotations(body),
    )


def _media_type(body: Mapping[str, Any], declared: str | None) -> str:
    said = body.get("mediaType")
    declared = declared.partition(";")[0].strip() if declared else None
    if declared not in MEDIA_TYPES:
        declared = None  # "application/octet-stream" and the like say nothing
    if said is not None and declared is not None and said != declared:
        raise InvalidManifest(f"manifest says that it is {said}, but was sent as {declared}")
    media_type = said or declared or (OCI_INDEX if "manifests" in body else OCI_MANIFEST)
    if media_type not in MEDIA_TYPES:
        raise InvalidManifest(f"media type {media_type} is not supported")
    return str(media_type)


def _descriptors(body: Mapping[str, Any], name: str) -> tuple[Descriptor, ...]:
    listed = body.get(name)
    if not isinstance(listed, list):
        raise InvalidManifest(f"manifest has no list of {name}")
    return tuple(_descriptor(entry, name) for entry in listed)


def _descriptor(given: Any, name: str) -> Descriptor:
    if not isinstance(given, dict):
        raise InvalidManifest(f"manifest has no {name}")
    media_type, digest, size = given.get("mediaType"), given.get("digest"), given.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise InvalidManifest(f"a descriptor of {name} lacks its mediaType or its digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise InvalidManifest(f"a descriptor of {name} lacks its size")
    foreign = bool(given.get("urls")) and ("foreign" in media_type or "nondistributable" in media_type)
    return Descriptor(media_type, digest, size, foreign)


def _artifact_type(body: Mapping[str, Any]) -> str | None:
    """An image's own artifactType, else the media type of its config: what the referrers API lists it under."""
    said = body.get("artifactType")
    if isinstance(said, str) and said:
        return said
    config = body.get("config")
    return config.get("mediaType") if isinstance(config, dict) and config.get("mediaType") != EMPTY else None


def _annotations(body: Mapping[str, Any]) -> Mapping[str, str] | None:
    given = body.get("annotations")
    if given is None:
        return None
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise InvalidManifest("annotations are no map of strings")
    return given
