"""The layers of container images, unpacked once and shared by every function that has them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from lambent.base import image_layers
from lambent.base.blobs import BlobMissing, LocalBlobs
from lambent.base.image_layers import LayerError
from lambent.base.remote_registry import Remote, RemoteRegistries
from lambent.base.trees import Trees
from lambent.control.records import Image, ImageLayer

_log = logging.getLogger("lambent.images")

_AT_ONCE = 2  # unpacking is work for a whole processor


class ImageLayers:
    """Each layer is a tree under the digest of its content: a known base costs a new image nothing."""

    def __init__(self, blobs: LocalBlobs, trees: Trees, remotes: RemoteRegistries) -> None:
        """`blobs` are the registry's; layers from other registries are kept there too, as long as a function is."""
        self._blobs = blobs
        self._trees = trees
        self._remotes = remotes
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._work: dict[tuple[ImageLayer, Remote | None], asyncio.Task[None]] = {}

    async def unpack(self, image: Image) -> None:
        """Have every layer of `image` unpacked, and those of another registry fetched before.

        Raises LayerError, BlobMissing when one is gone, RegistryError when another registry does not give it.
        """
        remote = Remote(image.host, image.repository) if image.host else None
        await self._unpack_all(image, remote)

    async def restore(self, images: Iterable[Image]) -> None:
        """Unpack again what a power cut has taken, without the network.

        What cannot be is logged: its functions fail when invoked, unless their jobs have not been done yet.
        """
        for image in images:
            try:
                await self._unpack_all(image, None)
            except (LayerError, BlobMissing, OSError) as error:
                _log.error("the image %s is not unpacked and cannot be: %s", image.resolved_uri, error)

    async def stop(self) -> None:
        for task in self._work.values():
            task.cancel()
        await asyncio.gather(*self._work.values(), return_exceptions=True)

    async def _unpack_all(self, image: Image, remote: Remote | None) -> None:
        await asyncio.gather(*(self._unpack_once(layer, remote) for layer in set(image.layers)))
        sizes = await asyncio.to_thread(lambda: [self._trees.size(layer.content) for layer in image.layers])
        if sum(sizes) > image_layers.SIZE:
            raise LayerError(f"it unpacks to more than {image_layers.SIZE} bytes")

    async def _unpack_once(self, layer: ImageLayer, remote: Remote | None) -> None:
        """Functions that come at the same time wait for the same work."""
        if self._trees.exists(layer.content):
            return
        task = self._work.get((layer, remote))
        if task is None:
            task = asyncio.get_running_loop().create_task(self._unpack(layer, remote))
            self._work[layer, remote] = task
            task.add_done_callback(lambda done: self._done((layer, remote), done))
        await asyncio.shield(task)

    def _done(self, work: tuple[ImageLayer, Remote | None], task: asyncio.Task[None]) -> None:
        self._work.pop(work, None)
        if not task.cancelled():
            task.exception()  # whoever waited has it

    async def _unpack(self, layer: ImageLayer, remote: Remote | None) -> None:
        if not await self._blobs.exists(layer.blob):
            if remote is None:
                raise BlobMissing(f"the layer sha256:{layer.blob} is no longer in the registry")
            await self._remotes.download(remote, f"sha256:{layer.blob}", layer.size, self._blobs)

        def build(target: Path) -> int:
            return image_layers.unpack(self._blobs.path(layer.blob), target, f"sha256:{layer.content}").size

        async with self._room:
            await self._trees.build(layer.content, build)
