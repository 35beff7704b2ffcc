"""`/v2/NAME/manifests/…`, `/v2/NAME/tags/list` and `/v2/NAME/referrers/…`."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable

import orjson

from lambent.base.clock import Clock
from lambent.base.http import Exchange
from lambent.services.ecr import manifests
from lambent.services.ecr.manifests import OCI_INDEX, InvalidManifest, Manifest
from lambent.services.ecr.names import DIGEST, TAG, RepositoryName
from lambent.services.ecr.oci import Header, OciError, answer, number
from lambent.services.ecr.store import ImageStore

_PAGE = 1000
_PULL_INTERVAL = 3600.0  # seconds: an image that is pulled all the time is noted so often


class ManifestsApi:
    """Handlers."""

    LIMIT = manifests.LIMIT  # bytes of a request

    def __init__(self, store: ImageStore, clock: Clock, changed: Callable[[], None]) -> None:
        """`changed` is called when layers may have become free."""
        self._store = store
        self._clock = clock
        self._changed = changed

    async def get(self, exchange: Exchange, name: RepositoryName, reference: str) -> None:
        digest, tag = _reference(reference)
        image, text = await self._store.image(name, digest, tag)
        now = self._clock.time()
        if exchange.request.method == "GET" and (image.pulled is None or now - image.pulled > _PULL_INTERVAL):
            await self._store.pulled(name, image.digest, now)
        body = text.encode()
        headers = [("Docker-Content-Digest", image.digest), ("ETag", f'"{image.digest}"')]
        if exchange.request.method == "HEAD":
            exchange.respond(answer(200, b"", [*headers, ("Content-Length", str(len(body)))], image.media_type))
        else:
            exchange.respond(answer(200, body, headers, image.media_type))

    async def put(self, exchange: Exchange, name: RepositoryName, reference: str) -> None:
        digest, tag = _reference(reference)
        request = exchange.request
        await self._store.repository(name)
        try:
            algorithm = digest.partition(":")[0] if digest else "sha256"
            manifest = manifests.read(request.body, request.headers.get("content-type"), algorithm)
        except InvalidManifest as problem:
            raise OciError(400, "MANIFEST_INVALID", str(problem)) from None
        if digest is not None and digest != manifest.digest:
            raise OciError(400, "DIGEST_INVALID", f"the manifest's digest is {manifest.digest}, not {digest}")
        await self._store.put(name, manifest, tag, self._clock.time(), strict=False)
        exchange.respond(answer(201, b"", _put_headers(name, manifest)))

    async def delete(self, exchange: Exchange, name: RepositoryName, reference: str) -> None:
        digest, tag = _reference(reference)
        await self._store.remove(name, digest, tag, untag_only=True)
        self._changed()
        exchange.respond(answer(202))

    async def tags(self, exchange: Exchange, name: RepositoryName, _rest: str) -> None:
        query = dict(urllib.parse.parse_qsl(exchange.request.query))
        most = min(number(query.get("n"), "n", _PAGE), _PAGE)
        found = await self._store.tags(name, query.get("last", ""), most + 1) if most else []
        shown = found[:most]
        headers: list[Header] = []
        if len(found) > most:
            more = urllib.parse.urlencode({"n": most, "last": shown[-1]})
            headers.append(("Link", f'</v2/{name.name}/tags/list?{more}>; rel="next"'))
        exchange.respond(answer(200, orjson.dumps({"name": name.name, "tags": shown}), headers))

    async def referrers(self, exchange: Exchange, name: RepositoryName, subject: str) -> None:
        if not DIGEST.fullmatch(subject):
            raise OciError(400, "DIGEST_INVALID", f"no sha256 or sha512 digest: {subject[:256]}")
        wanted = dict(urllib.parse.parse_qsl(exchange.request.query)).get("artifactType")
        listed, headers = [], [("OCI-Filters-Applied", "artifactType")] if wanted else []
        for image, size in await self._store.referrers(name, subject):
            if wanted and image.artifact_type != wanted:
                continue
            entry = {"mediaType": image.media_type, "digest": image.digest, "size": size}
            if image.artifact_type:
                entry["artifactType"] = image.artifact_type
            if image.annotations:
                entry["annotations"] = image.annotations
            listed.append(entry)
        body = orjson.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed})
        exchange.respond(answer(200, body, headers, OCI_INDEX))


def _reference(text: str) -> tuple[str | None, str | None]:
    """(digest, None) or (None, tag)."""
    if DIGEST.fullmatch(text):
        return text, None
    if ":" in text:
        raise OciError(400, "DIGEST_INVALID", f"no sha256 or sha512 digest: {text[:256]}")
    if not TAG.fullmatch(text):
        raise OciError(400, "TAG_INVALID", f"invalid tag: {text[:256]}")
    return None, text


def _put_headers(name: RepositoryName, manifest: Manifest) -> list[Header]:
    headers = [
        ("Location", f"/v2/{name.name}/manifests/{manifest.digest}"),
        ("Docker-Content-Digest", manifest.digest),
    ]
    if manifest.subject is not None:
        headers.append(("OCI-Subject", manifest.subject.digest))
    return headers
