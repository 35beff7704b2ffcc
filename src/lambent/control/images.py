"""Container images as the code of functions: from the URI in a request to what is pinned.

A tag is looked up once, when a function is created or its code updated; from then on the function has the digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambent.base.blobs import BlobDamaged, BlobMissing, Blobs
from lambent.base.remote_registry import Denied, NotThere, RegistryError, Remote, RemoteRegistries
from lambent.control import image_manifests
from lambent.control.image_manifests import ARCHITECTURES, INDEXES, MANIFESTS, Unsupported
from lambent.control.image_reference import IsOwn, Reference
from lambent.control.records import Image
from lambent.wire.errors import AwsError
from lambent.wire.operations import Client, Context

_OVERRIDES = ("EntryPoint", "Command", "WorkingDirectory")
_LOOKS = 32  # manifests that are read to find one image
_CONFIG_LIMIT = 8 << 20  # bytes

Manifest = tuple[str, str, Mapping[str, Any]]
"""(digest, media type, content)"""


class Images:
    """Looks images up, in Lambent's registry and in others."""

    def __init__(self, client: Client, blobs: Blobs, remotes: RemoteRegistries, is_own: IsOwn) -> None:
        """`blobs` are those of Lambent's own registry."""
        self._client = client
        self._blobs = blobs
        self._remotes = remotes
        self._is_own = is_own

    async def pin(self, context: Context, uri: str, architecture: str, overrides: Mapping[str, Any]) -> Image:
        """What `uri` means now for a function of `architecture`.

        Raises InvalidParameterValueException when it is nothing that can run, AccessDeniedException when its registry
        wants a login, or the caller may not use ECR's BatchGetImage and GetDownloadUrlForLayer on it.
        """
        reference = Reference.parse(uri, context, self._is_own)
        try:
            return await self._pin(reference, ARCHITECTURES[architecture], overrides)
        except Unsupported as error:
            message = f"The image manifest, config or layer media type for the source image {uri} is not supported."
            raise _invalid(f"{message} {error}") from None
        except NotThere:
            raise _missing(reference) from None
        except Denied as error:
            message = f"Lambda does not have permission to access the image {uri}. {error}"
            raise AwsError("AccessDeniedException", message, status=403) from None
        except AwsError as error:
            if error.code != "AccessDeniedException":
                raise
            message = "Lambda does not have permission to access the ECR image. Check the ECR permissions."
            raise AwsError("AccessDeniedException", f"{message} {error.message}", status=403) from None
        except RegistryError as error:
            raise _invalid(f"Source image {uri} cannot be read: {error}.") from None

    async def _pin(self, reference: Reference, architecture: str, overrides: Mapping[str, Any]) -> Image:
        top = await self._manifest(reference, reference.wanted)
        chosen, config = await self._choose(reference, top, architecture)
        settings = config.get("config") or {}
        if not isinstance(settings, dict):
            raise Unsupported("Its config is none.")
        return Image(
            uri=reference.uri,
            digest=top[0],
            resolved_uri=reference.pinned(top[0]),
            manifest=chosen[0],
            layers=image_manifests.layers(chosen[2], config),
            entrypoint=image_manifests.texts(settings.get("Entrypoint")),
            command=image_manifests.texts(settings.get("Cmd")),
            directory=settings.get("WorkingDir") or "/",
            environment=image_manifests.environment(settings.get("Env")),
            overrides=kept(overrides),
            host=reference.host,
            repository=reference.repository if reference.host else "",
        )

    async def _choose(
        self, reference: Reference, top: Manifest, architecture: str
    ) -> tuple[Manifest, Mapping[str, Any]]:
        """The manifest for Linux on `architecture`, in indexes of indexes too, and its config."""
        waiting, seen = [top], {top[0]}
        refusal = Unsupported(f"Nothing in it is for linux/{architecture}.")
        while waiting:
            manifest = waiting.pop(0)
            if manifest[1] in INDEXES:
                for digest in image_manifests.candidates(manifest[2], architecture):
                    if digest not in seen and len(seen) < _LOOKS:
                        seen.add(digest)
                        waiting.append(await self._manifest(reference, {"imageDigest": digest}))
                continue
            try:
                if manifest[1] not in MANIFESTS:
                    raise Unsupported(f"Its manifest is {manifest[1][:200]}.")
                config = await self._config(reference, manifest[2])
                image_manifests.check_platform(config, architecture)
            except Unsupported as error:
                refusal = error
                continue
            return manifest, config
        raise refusal

    async def _manifest(self, reference: Reference, wanted: Mapping[str, str]) -> Manifest:
        if reference.host:
            remote = Remote(reference.host, reference.repository)
            name = wanted.get("imageDigest") or wanted["imageTag"]
            digest, said, text = await self._remotes.manifest(remote, name, (*MANIFESTS, *INDEXES))
            content = image_manifests.document(text)
            return digest, str(content.get("mediaType") or said), content
        parameters = {
            **reference.place,
            "imageIds": [wanted],
            "acceptedMediaTypes": [*MANIFESTS, *INDEXES],
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
        content = image_manifests.document(image["imageManifest"])
        return image["imageId"]["imageDigest"], image["imageManifestMediaType"], content

    async def _config(self, reference: Reference, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        digest = image_manifests.config_of(manifest)
        if reference.host:
            remote = Remote(reference.host, reference.repository)
            return image_manifests.document(await self._remotes.blob(remote, digest, _CONFIG_LIMIT))
        layer = {**reference.place, "layerDigest": digest}
        try:
            await self._client.call(
                "ecr", "GetDownloadUrlForLayer", layer, reference.caller
            )  # whoever may may have all
            return image_manifests.document(await self._blobs.get(digest.removeprefix("sha256:")))
        except AwsError as error:
            if error.code == "LayersNotFoundException":
                raise Unsupported("Its config is not in the registry.") from None
            raise
        except (BlobMissing, BlobDamaged):
            raise Unsupported("Its config is not in the registry.") from None


def kept(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """An ImageConfig without what it leaves empty: nothing of it overrides the image then."""
    return {name: given[name] for name in _OVERRIDES if given.get(name)}


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message, Type="User")


def _missing(reference: Reference) -> AwsError:
    return _invalid(f"Source image {reference.uri} does not exist. Provide a valid source image.")
