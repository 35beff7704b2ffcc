"""Container images as the code of functions: from the URI in a request to what is pinned.

A tag is looked up once, when a function is created or its code updated; from then on the function has the digest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from lambent.base.blobs import BlobDamaged, BlobMissing, Blobs
from lambent.control.records import Image, ImageLayer
from lambent.wire.errors import AwsError, not_built
from lambent.wire.operations import Caller, Client, Context

_URI = re.compile(
    r"(?P<host>[A-Za-z0-9.-]+(?::\d+)?|\[[0-9a-f:]+\](?::\d+)?)/(?P<name>[a-z0-9][a-z0-9._/-]*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha(?:256|512):[0-9a-f]+))?"
)
_ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|localhost(?::\d+)?)")
_LOCAL = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?")
_ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_LAYERS = (
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)
_OVERRIDES = ("EntryPoint", "Command", "WorkingDirectory")


@dataclass(frozen=True, slots=True)
class Reference:
    """An image in Lambent's own registry."""

    uri: str  # as it was given
    caller: Caller  # whose registry it is in
    repository: str
    tag: str | None
    digest: str | None

    @classmethod
    def parse(cls, uri: str, caller: Caller) -> Reference:
        """Raises InvalidParameterValueException, and the clear refusal of what is in another registry."""
        match = _URI.fullmatch(uri)
        if match is None:
            raise _invalid(f"Source image {uri} is not valid. Provide a valid source image.")
        host = match["host"]
        ecr = _ECR.fullmatch(host)
        if ecr is None and not _LOCAL.fullmatch(host):
            raise not_built(f"images of other registries than its own ({host})")
        if ecr is not None and ecr[1] != caller.account:
            raise not_built("images in another account's registry")
        owner = caller if ecr is None else Caller(ecr[1], ecr[2], caller.access_key_id, caller.partition)
        tag = match["tag"] or (None if match["digest"] else "latest")
        return cls(uri, owner, match["name"], tag, match["digest"])

    @property
    def wanted(self) -> Mapping[str, str]:
        """The image's id in the words of ECR."""
        named = {"imageDigest": self.digest, "imageTag": None if self.digest else self.tag}
        return {name: value for name, value in named.items() if value}

    def pinned(self, digest: str) -> str:
        """The URI that will always mean the same image."""
        return f"{self.uri.partition('@')[0].rpartition('/')[0]}/{self.repository.rpartition('/')[2]}@{digest}"


class Images:
    """Looks images up in the registry."""

    def __init__(self, client: Client, blobs: Blobs) -> None:
        """`blobs` are the registry's: configs are read from there."""
        self._client = client
        self._blobs = blobs

    async def pin(self, context: Context, uri: str, architecture: str, overrides: Mapping[str, Any]) -> Image:
        """What `uri` means now for a function of `architecture`. InvalidParameterValueException when it is nothing."""
        reference = Reference.parse(uri, context.caller)
        digest, media_type, manifest = await self._manifest(reference, reference.wanted)
        found = digest
        if media_type in _INDEXES:
            chosen = _choose(reference, manifest, architecture)
            found, media_type, manifest = await self._manifest(reference, {"imageDigest": chosen})
        if media_type not in _MANIFESTS:
            raise _unsupported(reference)
        config = await self._config(reference, manifest)
        if config.get("os") != "linux" or config.get("architecture") != _ARCHITECTURES[architecture]:
            raise _unsupported(reference)
        settings = config.get("config") or {}
        return Image(
            uri=uri,
            digest=digest,
            resolved_uri=reference.pinned(digest),
            manifest=found,
            layers=_layers(reference, manifest, config),
            entrypoint=tuple(settings.get("Entrypoint") or ()),
            command=tuple(settings.get("Cmd") or ()),
            directory=settings.get("WorkingDir") or "/",
            environment=_environment(settings.get("Env") or ()),
            overrides=kept(overrides),
        )

    async def _manifest(self, reference: Reference, wanted: Mapping[str, str]) -> tuple[str, str, Mapping[str, Any]]:
        """(digest, media type, content)."""
        parameters = {
            "repositoryName": reference.repository,
            "imageIds": [wanted],
            "acceptedMediaTypes": [*_MANIFESTS, *_INDEXES],
        }
        try:
            answer = await self._client.call("ecr", "BatchGetImage", parameters, reference.caller)
        except AwsError as error:
            if error.code in ("RepositoryNotFoundException", "InvalidParameterException"):
                raise _missing(reference) from None
            raise
        if not answer["images"]:
            raise _missing(reference)
        image = answer["images"][0]
        return image["imageId"]["imageDigest"], image["imageManifestMediaType"], orjson.loads(image["imageManifest"])

    async def _config(self, reference: Reference, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            text = await self._blobs.get(manifest["config"]["digest"].removeprefix("sha256:"))
            config = orjson.loads(text)
        except (BlobMissing, BlobDamaged, ValueError):
            raise _unsupported(reference) from None
        if not isinstance(config, dict) or not isinstance(config.get("config") or {}, dict):
            raise _unsupported(reference)
        return config


def kept(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """An ImageConfig without what it leaves empty: nothing of it overrides the image then."""
    return {name: given[name] for name in _OVERRIDES if given.get(name)}


def _choose(reference: Reference, index: Mapping[str, Any], architecture: str) -> str:
    """The digest of the manifest for Linux on this architecture."""
    for entry in index.get("manifests", ()):
        platform = entry.get("platform") or {}
        if (platform.get("os"), platform.get("architecture")) == ("linux", _ARCHITECTURES[architecture]):
            return str(entry["digest"])
    raise _unsupported(reference)


def _layers(reference: Reference, manifest: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[ImageLayer, ...]:
    """Lowest first, each with the digest of its content and that of the blob which holds it."""
    rootfs = config.get("rootfs")
    contents: Sequence[Any] = rootfs.get("diff_ids") or () if isinstance(rootfs, dict) else ()
    blobs = manifest["layers"]
    if len(contents) != len(blobs) or not all(isinstance(content, str) for content in contents):
        raise _unsupported(reference)
    if any(blob["mediaType"] not in _LAYERS for blob in blobs):
        raise _unsupported(reference)
    digests = [(content, blob["digest"]) for content, blob in zip(contents, blobs, strict=True)]
    if any(not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for pair in digests for digest in pair):
        raise _unsupported(reference)
    return tuple(ImageLayer(content[7:], blob[7:]) for content, blob in digests)


def _environment(given: Sequence[str]) -> Mapping[str, str]:
    return dict(entry.partition("=")[::2] for entry in given if "=" in entry)


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message, Type="User")


def _missing(reference: Reference) -> AwsError:
    return _invalid(f"Source image {reference.uri} does not exist. Provide a valid source image.")


def _unsupported(reference: Reference) -> AwsError:
    return _invalid(
        f"The image manifest, config or layer media type for the source image {reference.uri} is not supported."
    )
