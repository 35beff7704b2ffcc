"""Function URLs: their configuration. Nothing answers at these URLs yet."""

from __future__ import annotations

import ipaddress
import urllib.parse
from collections.abc import Mapping
from typing import Any

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database
from lambent.control import markers
from lambent.control.named import Named, named, random_id
from lambent.control.resources import Document, Resources
from lambent.control.store import FunctionStore
from lambent.control.targets import Targets
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Operations, Parameters

_PAGE = 50
_ID_LENGTH = 32

Answer = Mapping[str, Any]


class FunctionUrls:
    """Handlers of the operations on function URL configurations, one a function or alias."""

    def __init__(self, db: Database, store: FunctionStore, targets: Targets, clock: Clock) -> None:
        self._db = db
        self._targets = targets
        self._clock = clock
        self._configs = Resources(db, "function-url")  # by function, or function:alias; the parent is the function
        store.on_remove(self._configs.let_go)

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "CreateFunctionUrlConfig": self.create_function_url_config,
            "GetFunctionUrlConfig": self.get_function_url_config,
            "UpdateFunctionUrlConfig": self.update_function_url_config,
            "DeleteFunctionUrlConfig": self.delete_function_url_config,
            "ListFunctionUrlConfigs": self.list_function_url_configs,
        }.items():
            operations.register("lambda", operation, handler)

    async def create_function_url_config(self, context: Context, parameters: Parameters) -> Answer:
        target, now = named(context, parameters), self._now()
        settings = _settings(parameters)
        document = {
            "Id": random_id(self._clock, _ID_LENGTH),
            "FunctionArn": target.arn,
            "CreationTime": now,
            "LastModifiedTime": now,
            **settings,
        }

        def work(connection: Connection) -> None:
            self._demand_function(connection, target)
            self._targets.refuse_tenancy(connection, target.key, "FunctionUrlConfig")
            if self._configs.find(connection, target.key, _name(target)) is not None:
                message = (
                    f"Failed to create function url config for [functionArn = {target.arn}]. Error message: "
                    " FunctionUrlConfig exists for this Lambda function"
                )
                raise AwsError("ResourceConflictException", message, Type="User")
            self._configs.put(connection, target.key, _name(target), document, target.key.name)

        await self._db.write(work)
        return _brief(document, settings, context, "CreationTime")

    async def get_function_url_config(self, context: Context, parameters: Parameters) -> Answer:
        target = named(context, parameters)
        document = await self._configs.get(target.key, _name(target))
        if document is None:
            raise _no_config()
        return _shown(document, context)

    async def update_function_url_config(self, context: Context, parameters: Parameters) -> Answer:
        target, now = named(context, parameters), self._now()
        settings = _settings(parameters)

        def work(connection: Connection) -> Document:
            self._demand_function(connection, target)
            current = self._configs.find(connection, target.key, _name(target))
            if current is None:
                raise _no_config()
            changed = {**current, **settings, "LastModifiedTime": now}
            return self._configs.put(connection, target.key, _name(target), changed, target.key.name)

        return _brief(await self._db.write(work), settings, context, "CreationTime", "LastModifiedTime")

    async def delete_function_url_config(self, context: Context, parameters: Parameters) -> Answer:
        target = named(context, parameters)
        if not await self._db.write(lambda connection: self._configs.remove(connection, target.key, _name(target))):
            raise _no_config()
        return {}

    async def list_function_url_configs(self, context: Context, parameters: Parameters) -> Answer:
        target = named(context, parameters)
        await self._db.read(lambda connection: self._demand_function(connection, target))
        size = min(parameters.get("MaxItems", _PAGE), _PAGE)
        key = target.key
        documents, marker = await self._configs.page(key, parameters.get("Marker"), size, key.name)
        return markers.answer("FunctionUrlConfigs", [_shown(document, context) for document in documents], marker)

    def _demand_function(self, connection: Connection, target: Named) -> None:
        if not self._targets.exists(connection, target.key, target.qualifier):
            raise AwsError("ResourceNotFoundException", "Function does not exist", Type="User")

    def _now(self) -> str:
        return f"{self._clock.now():%Y-%m-%dT%H:%M:%S.%f}Z"


def _name(target: Named) -> str:
    return f"{target.key.name}:{target.qualifier}" if target.qualifier else target.key.name


def _settings(parameters: Parameters) -> dict[str, Any]:
    return {member: parameters[member] for member in ("AuthType", "Cors", "InvokeMode") if member in parameters}


def _no_config() -> AwsError:
    return AwsError("ResourceNotFoundException", "The resource you requested does not exist.", Type="User")


def _shown(document: Document, context: Context) -> dict[str, Any]:
    shown = {member: value for member, value in document.items() if member != "Id"}
    return {"InvokeMode": "BUFFERED", **shown, "FunctionUrl": _url(document["Id"], context)}


def _brief(document: Document, given: Mapping[str, Any], context: Context, *times: str) -> dict[str, Any]:
    """As creation and update answer: the way of invoking only when the request had it."""
    shown = _shown(document, context)
    if "InvokeMode" not in given:
        del shown["InvokeMode"]
    return {member: value for member, value in shown.items() if not member.endswith("Time") or member in times}


def _url(identifier: str, context: Context) -> str:
    """AWS's form at this server: `http://ID.lambda-url.REGION.localhost:4566/`."""
    endpoint = urllib.parse.urlsplit(context.endpoint)
    host = endpoint.hostname or "localhost"
    try:
        ipaddress.ip_address(host)
        host = "localhost"  # an address has no names below it; every name below localhost is this machine
    except ValueError:
        pass
    port = f":{endpoint.port}" if endpoint.port else ""
    return f"{endpoint.scheme}://{identifier}.lambda-url.{context.caller.region}.{host}{port}/"
