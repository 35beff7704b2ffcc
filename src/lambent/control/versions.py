"""The operations on versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambent.control import markers, names
from lambent.control.configuration import code_sha256, describe, summarize
from lambent.control.records import Function
from lambent.control.store import FunctionStore, not_found
from lambent.wire.errors import AwsError, not_built
from lambent.wire.operations import Context, Operations, Parameters

_PAGE = 50

Answer = Mapping[str, Any]


class Versions:
    """Handlers of PublishVersion and ListVersionsByFunction."""

    def __init__(self, store: FunctionStore) -> None:
        self._store = store

    def register(self, operations: Operations) -> None:
        operations.register("lambda", "PublishVersion", self.publish_version)
        operations.register("lambda", "ListVersionsByFunction", self.list_versions_by_function)

    async def publish_version(self, context: Context, parameters: Parameters) -> Answer:
        """The new version, or the last one when neither code nor configuration has changed since."""
        key = names.unqualified(context, parameters)
        if parameters.get("PublishTo"):
            raise not_built("$LATEST.PUBLISHED, which belongs to capacity providers (PublishTo)")
        wanted = parameters.get("CodeSha256")

        def check(latest: Function) -> None:
            current = code_sha256(latest)
            if wanted and wanted != current:
                problem = f"CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST ({current})."
                advice = "Please try again with the CodeSHA256 in $LATEST."
                raise AwsError("InvalidParameterValueException", f"{problem} {advice}", Type="User")

        return describe(
            await self._store.publish(key, check, parameters.get("Description"), parameters.get("RevisionId"))
        )

    async def list_versions_by_function(self, context: Context, parameters: Parameters) -> Answer:
        key = names.unqualified(context, parameters)
        most = min(parameters.get("MaxItems", _PAGE), _PAGE)
        page, marker = await self._store.page_of_versions(key, parameters.get("Marker"), most)
        if not page and await self._store.get(key) is None:
            raise not_found(key)
        return markers.answer("Versions", [summarize(version, version.version) for version in page], marker)
