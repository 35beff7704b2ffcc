"""The layers of container images, unpacked once and shared by every function that has them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from lambent.base import image_layers
from lambent.base.blobs import BlobMissing, LocalBlobs
from lambent.base.image_layers import LayerError
from lambent.base.trees import Trees
from lambent.control.records import Image, ImageLayer

_log = logging.getLogger("lambent.images")

_AT_ONCE = 2  # unpacking is work for a whole processor


class ImageLayers:
    """Each layer is a tree under the digest of its content: a known base costs a new image nothing."""

    def __init__(self, blobs: LocalBlobs, trees: Trees) -> None:
        """`blobs` are the registry's."""
        self._blobs = blobs
        self._trees = trees
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def unpack(self, image: Image) -> None:
        """Have every layer of `image` unpacked. Raises LayerError, and BlobMissing when one is gone."""
        await asyncio.gather(*(self._unpack(layer) for layer in set(image.layers)))
        sizes = await asyncio.to_thread(lambda: [self._trees.size(layer.content) for layer in image.layers])
        if sum(sizes) > image_layers.SIZE:
            raise LayerError(f"it unpacks to more than {image_layers.SIZE} bytes")

    async def restore(self, images: Iterable[Image]) -> None:
        """Unpack again what a power cut has taken. What cannot be is logged; its functions fail when invoked."""
        for image in images:
            try:
                await self.unpack(image)
            except (LayerError, BlobMissing, OSError) as error:
                _log.error("the image %s is not unpacked and cannot be: %s", image.resolved_uri, error)

    async def _unpack(self, layer: ImageLayer) -> None:
        if self._trees.exists(layer.content):
            return
        if not await self._blobs.exists(layer.blob):
            raise BlobMissing(f"the layer sha256:{layer.blob} is no longer in the registry")

        def build(target: Path) -> int:
            return image_layers.unpack(self._blobs.path(layer.blob), target, f"sha256:{layer.content}").size

        async with self._room:
            await self._trees.build(layer.content, build)
