"""ECR's operations on images and their layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from lambent.base.clock import Clock
from lambent.services.ecr import errors, manifests
from lambent.services.ecr.layers import Layers, Upload, WrongDigest
from lambent.services.ecr.manifests import InvalidManifest
from lambent.services.ecr.names import DIGEST, TAG, RepositoryName
from lambent.services.ecr.pages import page
from lambent.services.ecr.records import Image
from lambent.services.ecr.repositories import named, repository_of
from lambent.services.ecr.store import ImageStore
from lambent.services.ecr.tokens import LINK_SECONDS, Grant, Tokens
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Operations, Parameters

PART_SIZE = 10_485_760  # bytes that InitiateLayerUpload tells clients to send at a time, as AWS does
_NOT_FOUND = "Requested image not found"


class Images:
    """Handlers."""

    def __init__(
        self, store: ImageStore, layers: Layers, tokens: Tokens, clock: Clock, changed: Callable[[], None]
    ) -> None:
        """`changed` is called when layers may have become free."""
        self._store = store
        self._layers = layers
        self._tokens = tokens
        self._clock = clock
        self._changed = changed

    def register(self, operations: Operations) -> None:
        for name, handler in (
            ("ListImages", self.list_images),
            ("DescribeImages", self.describe_images),
            ("BatchGetImage", self.batch_get_image),
            ("BatchDeleteImage", self.batch_delete_image),
            ("PutImage", self.put_image),
            ("BatchCheckLayerAvailability", self.batch_check_layer_availability),
            ("InitiateLayerUpload", self.initiate_layer_upload),
            ("UploadLayerPart", self.upload_layer_part),
            ("CompleteLayerUpload", self.complete_layer_upload),
            ("GetDownloadUrlForLayer", self.get_download_url_for_layer),
        ):
            operations.register("ecr", name, handler)

    async def list_images(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        images = _filtered(await self._store.images(repository_of(context, parameters)), parameters)
        entries = sorted((image.digest, tag) for image in images for tag in image.tags or ("",))

        async def fetch(after: str, most: int) -> list[tuple[str, str]]:
            return [entry for entry in entries if " ".join(entry) > after][:most]

        shown, token = await page(parameters, 100, fetch)
        ids = [{"imageDigest": digest} | ({"imageTag": tag} if tag else {}) for digest, tag in shown]
        return {"imageIds": ids} | token(" ".join)

    async def describe_images(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name = repository_of(context, parameters)
        if wanted := parameters.get("imageIds"):
            found = {image.digest: image for image in [await self._find(name, entry) for entry in wanted]}
            return {"imageDetails": [_detail(name, image) for image in found.values()]}
        images = _filtered(await self._store.images(name), parameters)

        async def fetch(after: str, most: int) -> list[Image]:
            return [image for image in images if image.digest > after][:most]

        shown, token = await page(parameters, 100, fetch)
        return {"imageDetails": [_detail(name, image) for image in shown]} | token(lambda image: image.digest)

    async def _find(self, name: RepositoryName, entry: Mapping[str, str]) -> Image:
        return (await self._store.image(name, entry.get("imageDigest"), entry.get("imageTag")))[0]

    async def batch_get_image(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name, found, failures = repository_of(context, parameters), [], []
        await self._store.repository(name)
        for entry in parameters["imageIds"]:
            digest, tag = entry.get("imageDigest"), entry.get("imageTag")
            if failure := _bad_id(entry):
                failures.append(failure)
                continue
            try:
                image, text = await self._store.image(name, digest, tag)
            except AwsError as error:
                failures.append(_failure(entry, error))
                continue
            shown = {"imageDigest": image.digest} | ({"imageTag": tag} if tag else {})
            found.append({**named(name), "imageId": shown, **_manifest(image, text)})
            await self._store.pulled(name, image.digest, self._clock.time())
        return {"images": found, "failures": failures}

    async def batch_delete_image(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name, gone, failures = repository_of(context, parameters), [], []
        await self._store.repository(name)
        for entry in parameters["imageIds"]:
            digest, tag = entry.get("imageDigest"), entry.get("imageTag")
            if failure := _bad_id(entry):
                failures.append(failure)
                continue
            try:
                image = await self._store.remove(name, digest, tag, untag_only=False)
            except AwsError as error:
                failures.append(_failure(entry, error))
                continue
            tags = [tag] if digest is None and tag else list(image.tags)
            gone += [{"imageDigest": image.digest, "imageTag": each} for each in tags] or [
                {"imageDigest": image.digest}
            ]
        self._changed()
        return {"imageIds": gone, "failures": failures}

    async def put_image(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name, tag = repository_of(context, parameters), parameters.get("imageTag")
        if tag is not None and not TAG.fullmatch(tag):
            raise errors.invalid(f"'imageTag' failed to satisfy constraint: 'Invalid tag: {tag}'")
        try:
            manifest = manifests.read(parameters["imageManifest"].encode(), parameters.get("imageManifestMediaType"))
        except InvalidManifest as problem:
            raise errors.invalid(f"'ImageManifest' failed to satisfy constraint: '{problem}'") from None
        if parameters.get("imageDigest", manifest.digest) != manifest.digest:
            message = f"The image has the digest {manifest.digest}, not {parameters['imageDigest']}"
            raise AwsError("ImageDigestDoesNotMatchException", message)
        image, _changed = await self._store.put(name, manifest, tag, self._clock.time(), strict=True)
        shown = {"imageDigest": image.digest} | ({"imageTag": tag} if tag else {})
        return {"image": {**named(name), "imageId": shown, **_manifest(image, manifest.text)}}

    # Layers

    async def batch_check_layer_availability(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name = repository_of(context, parameters)
        wanted = [digest for digest in parameters["layerDigests"] if DIGEST.fullmatch(digest)]
        known = await self._store.layers(name, wanted)
        layers: list[dict[str, Any]] = []
        for digest in wanted:
            if layer := known.get(digest):
                entry = {"layerDigest": digest, "layerAvailability": "AVAILABLE", "layerSize": layer.size}
                layers.append(entry | ({"mediaType": layer.media_type} if layer.media_type else {}))
            else:
                layers.append({"layerDigest": digest, "layerAvailability": "UNAVAILABLE"})
        failures = [
            {
                "layerDigest": digest,
                "failureCode": "InvalidLayerDigest",
                "failureReason": "Invalid layer digest",
            }
            for digest in parameters["layerDigests"]
            if not DIGEST.fullmatch(digest)
        ]
        return {"layers": layers, "failures": failures}

    async def initiate_layer_upload(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        upload = await self._layers.begin(repository_of(context, parameters))
        return {"uploadId": upload.id, "partSize": PART_SIZE}

    async def upload_layer_part(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name = repository_of(context, parameters)
        upload = self._layers.find(name, parameters["uploadId"])
        first, last, data = parameters["partFirstByte"], parameters["partLastByte"], parameters["layerPartBlob"]
        async with upload.lock:
            if first != upload.size or last - first + 1 != len(data):
                raise _wrong_part(name, upload)
            await upload.writer.write(data)
        return {**named(name), "uploadId": upload.id, "lastByteReceived": upload.size - 1}

    async def complete_layer_upload(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name = repository_of(context, parameters)
        upload = self._layers.find(name, parameters["uploadId"])
        digest = next((digest for digest in parameters["layerDigests"] if DIGEST.fullmatch(digest)), None)
        async with upload.lock:
            if not upload.size:
                raise AwsError("EmptyUploadException", f"The upload '{upload.id}' has no layer parts")
            if digest is None:
                raise AwsError("InvalidLayerException", "A layer is known by its digest")
            try:
                fresh = await self._layers.finish(upload, digest)
            except WrongDigest as problem:
                raise AwsError("InvalidLayerException", f"Layer digests do not match: {problem}") from None
        if not fresh:
            message = f"Layer with digest '{digest}' already exists in {name}"
            raise AwsError("LayerAlreadyExistsException", message)
        return {**named(name), "uploadId": upload.id, "layerDigest": digest}

    async def get_download_url_for_layer(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        name, digest = repository_of(context, parameters), parameters["layerDigest"]
        if digest not in await self._store.layers(name, [digest]):
            message = f"The layer with digest '{digest}' does not exist in {name}"
            raise AwsError("LayersNotFoundException", message)
        token, _expires = self._tokens.issue(Grant(name.registry, f"{name.name}@{digest}"), LINK_SECONDS)
        return {"downloadUrl": f"{context.endpoint}/v2/{name.name}/blobs/{digest}?token={token}", "layerDigest": digest}


def _wrong_part(name: RepositoryName, upload: Upload) -> AwsError:
    return AwsError(
        "InvalidLayerPartException",
        f"The next part must begin at byte {upload.size} and be as long as it says",
        registryId=name.registry.account,
        repositoryName=name.name,
        uploadId=upload.id,
        lastValidByteReceived=upload.size - 1,
    )


def _manifest(image: Image, text: str) -> dict[str, Any]:
    return {"imageManifest": text, "imageManifestMediaType": image.media_type}


def _detail(name: RepositoryName, image: Image) -> Mapping[str, Any]:
    detail: dict[str, Any] = {**named(name), "imageDigest": image.digest}
    if image.tags:
        detail["imageTags"] = list(image.tags)
    detail |= {
        "imageSizeInBytes": image.size,
        "imagePushedAt": datetime.fromtimestamp(image.pushed, UTC),
        "imageManifestMediaType": image.media_type,
        "imageStatus": "ACTIVE",
    }
    if image.artifact_type:
        detail["artifactMediaType"] = image.artifact_type
    if image.subject:
        detail["subjectManifestDigest"] = image.subject
    if image.pulled is not None:
        detail["lastRecordedPullTime"] = datetime.fromtimestamp(image.pulled, UTC)
    return detail


def _filtered(images: Iterable[Image], parameters: Parameters) -> list[Image]:
    chosen = parameters.get("filter", {})
    status, state = chosen.get("tagStatus", "ANY"), chosen.get("imageStatus", "ANY")
    if state not in ("ACTIVE", "ANY"):
        return []  # nothing is archived here
    return [image for image in images if status == "ANY" or bool(image.tags) is (status == "TAGGED")]


def _bad_id(entry: Mapping[str, str]) -> Mapping[str, Any] | None:
    digest, tag = entry.get("imageDigest"), entry.get("imageTag")
    if digest is None and tag is None:
        code, reason = "MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null"
    elif digest is not None and not DIGEST.fullmatch(digest):
        code, reason = "InvalidImageDigest", "Invalid request parameters: image digest should satisfy the regex"
    elif tag is not None and not TAG.fullmatch(tag):
        code, reason = "InvalidImageTag", "Invalid request parameters: image tag should satisfy the regex"
    else:
        return None
    return {"imageId": dict(entry), "failureCode": code, "failureReason": reason}


def _failure(entry: Mapping[str, str], error: AwsError) -> Mapping[str, Any]:
    if error.code == "ImageReferencedByManifestList":
        return {"imageId": dict(entry), "failureCode": error.code, "failureReason": error.message}
    if error.code != "ImageNotFoundException":
        raise error
    mismatch = "imageDigest" in entry and "imageTag" in entry
    code = "ImageTagDoesNotMatchDigest" if mismatch else "ImageNotFound"
    return {"imageId": dict(entry), "failureCode": code, "failureReason": _NOT_FOUND}
