"""What Lambda does when it finds a function invoking itself in a loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambent.base.db import Connection, Database
from lambent.control import rows
from lambent.control.names import unqualified
from lambent.control.records import FunctionKey
from lambent.control.resources import Resources
from lambent.control.store import FunctionStore, not_found
from lambent.wire.operations import Context, Operations, Parameters

_DEFAULT = "Terminate"


class Recursion:
    """Handlers of PutFunctionRecursionConfig and GetFunctionRecursionConfig."""

    def __init__(self, db: Database, store: FunctionStore) -> None:
        self._db = db
        self._store = store
        self._configs = Resources(db, "recursion")
        store.on_remove(self._let_go)

    def register(self, operations: Operations) -> None:
        operations.register("lambda", "PutFunctionRecursionConfig", self.put_function_recursion_config)
        operations.register("lambda", "GetFunctionRecursionConfig", self.get_function_recursion_config)

    async def put_function_recursion_config(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        key = unqualified(context, parameters)
        config = {"RecursiveLoop": parameters["RecursiveLoop"]}

        def work(connection: Connection) -> None:
            if rows.find(connection, key) is None:
                raise not_found(key)
            self._configs.put(connection, key, key.name, config)

        await self._db.write(work)
        return config

    async def get_function_recursion_config(self, context: Context, parameters: Parameters) -> Mapping[str, Any]:
        key = unqualified(context, parameters)
        if await self._store.get(key) is None:
            raise not_found(key)
        return await self._configs.get(key, key.name) or {"RecursiveLoop": _DEFAULT}

    def _let_go(self, connection: Connection, key: FunctionKey, qualifier: str | None) -> None:
        if qualifier is None:
            self._configs.remove(connection, key, key.name)
