"""When a function gets newer builds of its runtime. Lambent has one build of each, so this changes nothing yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambent.base.db import Connection, Database
from lambent.control import rows, runtimes
from lambent.control.named import named
from lambent.control.records import LATEST
from lambent.control.resources import Resources
from lambent.control.settings import invalid
from lambent.control.store import FunctionStore, not_found
from lambent.wire.operations import Context, Operations, Parameters


class RuntimeManagement:
    """Handlers of PutRuntimeManagementConfig and GetRuntimeManagementConfig; each version has its own."""

    def __init__(self, db: Database, store: FunctionStore) -> None:
        self._db = db
        self._store = store
        self._configs = Resources(db, "runtime-management")
        store.on_remove(self._configs.let_go)

    def register(self, operations: Operations) -> None:
        operations.register("lambda", "PutRuntimeManagementConfig", self.put_runtime_management_config)
        operations.register("lambda", "GetRuntimeManagementConfig", self.get_runtime_management_config)

    async def put_runtime_management_config(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        target = named(context, parameters)
        mode, version = parameters["UpdateRuntimeOn"], parameters.get("RuntimeVersionArn")
        if mode == "Manual" and version is None:
            raise invalid("RuntimeVersionArn is required when UpdateRuntimeOn is Manual.")
        if mode != "Manual" and version is not None:
            raise invalid(f"RuntimeVersionArn is not supported when UpdateRuntimeOn is {mode}.")
        config = {"UpdateRuntimeOn": mode} | ({"RuntimeVersionArn": version} if version else {})

        def work(connection: Connection) -> None:
            row = rows.find(connection, target.key, target.qualifier or LATEST)
            if row is None:
                raise not_found(target.key, target.qualifier)
            runtime = row.document.runtime
            if version is not None and version != runtimes.version_arn(target.key.region, runtime):
                raise invalid(f"The runtime version {version} is not one of runtime {runtime}.")
            self._configs.put(connection, target.key, target.name, config, target.key.name)

        await self._db.write(work)
        return {**config, "FunctionArn": target.arn}

    async def get_runtime_management_config(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        target = named(context, parameters)
        if await self._store.get(target.key, target.qualifier or LATEST) is None:
            raise not_found(target.key, target.qualifier)
        config = await self._configs.get(target.key, target.name) or {"UpdateRuntimeOn": "Auto"}
        return {**config, "FunctionArn": target.arn}
