"""The tags of layers: all versions of a layer share them."""

from __future__ import annotations

from collections.abc import Mapping

from lambent.control.layer_store import LayerStore
from lambent.control.layers import of_caller
from lambent.control.records import LayerKey
from lambent.control.tags import Change
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context


class TaggedLayers:
    """An `Owner` for `Tags`. A layer without versions is not there, and has no tags when it comes again."""

    def __init__(self, store: LayerStore) -> None:
        self._store = store

    async def tags(self, context: Context, resource: str) -> Mapping[str, str]:
        tags = await self._store.tags(_layer(context, resource))
        if tags is None:
            raise _missing(resource)
        return tags

    async def change_tags(self, context: Context, resource: str, change: Change) -> None:
        if not await self._store.change_tags(_layer(context, resource), change):
            raise _missing(resource)


def _layer(context: Context, resource: str) -> LayerKey:
    return of_caller(context.caller, resource, "TagResource")


def _missing(resource: str) -> AwsError:
    return AwsError("ResourceNotFoundException", f"Layer not found: {resource}", Type="User")
