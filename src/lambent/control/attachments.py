"""The layers that a function asks for: found, allowed, within the limits, and kept until the function holds them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from lambent.base.trees import Trees
from lambent.control.code import UNZIPPED
from lambent.control.layer_store import LayerStore
from lambent.control.layers import Layers, parse
from lambent.control.orphans import Orphans
from lambent.control.records import Layer, LayerKey
from lambent.wire.errors import AwsError
from lambent.wire.operations import Caller

_MOST = 5


class Attachments:
    """Turns the ARNs in a request into layers of a function."""

    def __init__(self, layers: Layers, store: LayerStore, orphans: Orphans, trees: Trees) -> None:
        self._layers = layers
        self._store = store
        self._orphans = orphans
        self._trees = trees

    def code_size(self, account: str, region: str) -> int:
        """Bytes: the packages of an account's layer versions in a region."""
        return self._store.code_size(account, region)

    @contextlib.asynccontextmanager
    async def held(self, caller: Caller, arns: Sequence[str]) -> AsyncIterator[tuple[Layer, ...]]:
        """The layers, in order. Their content stays as long as the context is open, and then if a function holds it.

        Raises InvalidParameterValueException, and AccessDeniedException for another account's layer that is not shared
        with the caller.
        """
        if len(arns) > _MOST:
            raise _invalid(f"Cannot reference more than {_MOST} layers.")
        found: list[Layer] = []
        seen: dict[LayerKey, str] = {}
        with contextlib.ExitStack() as pins:
            for arn in arns:
                key, layer = await self._find(caller, arn)
                pins.enter_context(self._orphans.pin(layer.digest))
                if not self._store.refers_to(layer.digest):  # deleted since it was read
                    raise _missing(arn)
                if key in seen:
                    raise _invalid(
                        "Two different versions of the same layer are not allowed to be referenced in the same"
                        f" function. {seen[key]} and {arn} are versions of the same layer."
                    )
                seen[key] = arn
                found.append(layer)
            yield tuple(found)

    async def _find(self, caller: Caller, arn: str) -> tuple[LayerKey, Layer]:
        parsed = parse(arn)
        if parsed is None:
            raise _missing(arn)
        key, number = parsed
        if key.region != caller.region:
            problem = "Layers are not in the same region as the function."
            raise _invalid(f"{problem} Layers are expected to be in region {caller.region}.")
        try:
            version = (await self._layers.readable(caller, key, number)).version
        except AwsError as error:
            raise (_missing(arn) if error.code == "ResourceNotFoundException" else error) from None
        return key, Layer(version.arn, version.digest, version.code_size)

    async def refuse_size(self, code: str, layers: Sequence[Layer]) -> None:
        """Raises InvalidParameterValueException when code and layers unpack to more than a function may have."""
        if not layers:
            return
        sizes = [await asyncio.to_thread(self._trees.size, layer.digest) for layer in layers]
        if sum(sizes) > UNZIPPED:
            raise _invalid(f"Layers consume more than the available size of {UNZIPPED} bytes")
        total = sum(sizes) + await asyncio.to_thread(self._trees.size, code)
        if total > UNZIPPED:
            raise _invalid(
                f"Function code combined with layers exceeds the maximum allowed size of {UNZIPPED} bytes."
                f" The actual size is {total} bytes."
            )


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message, Type="User")


def _missing(arn: str) -> AwsError:
    return _invalid(f"Layer version {arn} does not exist.")
