"""What is to happen with asynchronous invocations: retries, age, destinations. `sources` acts by it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database
from lambent.control import markers
from lambent.control.named import Named, named, stored_name
from lambent.control.records import LATEST, FunctionKey
from lambent.control.resources import Document, Resources
from lambent.control.settings import invalid
from lambent.control.store import FunctionStore
from lambent.control.targets import Targets
from lambent.wire import arn
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Operations, Parameters

_KIND = "event-invoke-config"
_PAGE = 50
_LIMITS = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds")
_SERVICES = {"OnSuccess": ("lambda", "sqs", "sns", "events"), "OnFailure": ("lambda", "sqs", "sns", "events", "s3")}

Answer = Mapping[str, Any]


class AppliedConfigs:
    """What asynchronous invocations ask."""

    def __init__(self, db: Database) -> None:
        self._configs = Resources(db, _KIND)

    def applying(self, connection: Connection, key: FunctionKey, qualifier: str | None) -> Document:
        """Inside a transaction: the one of the function, version or alias that was invoked; {} when it has none."""
        return self._configs.find(connection, key, stored_name(key, qualifier or LATEST)) or {}


class EventInvokeConfigs:
    """Handlers of the operations on event invoke configurations, one a function, version or alias."""

    def __init__(self, db: Database, store: FunctionStore, targets: Targets, clock: Clock) -> None:
        self._db = db
        self._targets = targets
        self._clock = clock
        self._configs = Resources(db, _KIND)  # by function:qualifier; the parent is the function
        store.on_remove(self._configs.let_go)

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "PutFunctionEventInvokeConfig": self.put_function_event_invoke_config,
            "UpdateFunctionEventInvokeConfig": self.update_function_event_invoke_config,
            "GetFunctionEventInvokeConfig": self.get_function_event_invoke_config,
            "DeleteFunctionEventInvokeConfig": self.delete_function_event_invoke_config,
            "ListFunctionEventInvokeConfigs": self.list_function_event_invoke_configs,
        }.items():
            operations.register("lambda", operation, handler)

    async def put_function_event_invoke_config(self, context: Context, parameters: Parameters) -> Answer:
        target = named(context, parameters)
        return await self._store(context, target, parameters, keep=False)

    async def update_function_event_invoke_config(self, context: Context, parameters: Parameters) -> Answer:
        target = named(context, parameters)
        return await self._store(context, target, parameters, keep=True)

    async def _store(self, context: Context, target: Named, parameters: Parameters, *, keep: bool) -> Answer:
        given = {member: parameters[member] for member in (*_LIMITS, "DestinationConfig") if member in parameters}
        if not given:
            raise invalid("You must specify at least one of error handling or destination setting.")
        now = self._clock.time()

        def work(connection: Connection) -> Document:
            if not self._targets.exists(connection, target.key, target.qualifier):
                raise _no_function()
            self._check_destinations(connection, context, target, given.get("DestinationConfig", {}))
            current = self._configs.find(connection, target.key, target.name) if keep else {}
            if current is None:
                raise _no_config(target)
            document = {**current, **given, "FunctionArn": _arn(target), "LastModified": now}
            return self._configs.put(connection, target.key, target.name, document, target.key.name)

        return _shown(await self._db.write(work))

    async def get_function_event_invoke_config(self, context: Context, parameters: Parameters) -> Answer:
        target = named(context, parameters)
        document = await self._configs.get(target.key, target.name)
        if document is None:
            raise _no_config(target)
        return _shown(document)

    async def delete_function_event_invoke_config(self, context: Context, parameters: Parameters) -> Answer:
        target = named(context, parameters)
        if not await self._db.write(lambda connection: self._configs.remove(connection, target.key, target.name)):
            raise _no_config(target)
        return {}

    async def list_function_event_invoke_configs(self, context: Context, parameters: Parameters) -> Answer:
        key = named(context, parameters).key
        if not await self._db.read(lambda connection: self._targets.exists(connection, key, None)):
            raise _no_function()
        size = min(parameters.get("MaxItems", _PAGE), _PAGE)
        documents, marker = await self._configs.page(key, parameters.get("Marker"), size, key.name)
        return markers.answer("FunctionEventInvokeConfigs", [_shown(document) for document in documents], marker)

    def _check_destinations(
        self, connection: Connection, context: Context, target: Named, config: Mapping[str, Mapping[str, str]]
    ) -> None:
        for side, services in _SERVICES.items():
            destination = config.get(side, {}).get("Destination")
            if not destination:
                continue
            service = destination.split(":")[2] if destination.startswith("arn:") else ""
            if service not in services:
                raise invalid(f"The provided destination config {_printed(config)} is invalid.")
            if service == "lambda":
                self._check_function(connection, context, target, destination)

    def _check_function(self, connection: Connection, context: Context, target: Named, destination: str) -> None:
        try:
            found = arn.parse(destination, None, context.caller)
        except AwsError:
            raise invalid(f"The destination ARN {destination} is invalid.") from None
        key = FunctionKey(found.account, found.region, found.name)
        if key == target.key:
            raise invalid("You can't specify the function as a destination for itself.")
        if not self._targets.exists(connection, key, found.qualifier):
            raise invalid(f"The destination ARN {destination} is invalid.")


def _arn(target: Named) -> str:
    return target.key.arn(target.qualifier or LATEST)


def _no_function() -> AwsError:
    return AwsError("ResourceNotFoundException", "The function doesn't exist.", Type="User")


def _no_config(target: Named) -> AwsError:
    message = f"The function {_arn(target)} doesn't have an EventInvokeConfig"
    return AwsError("ResourceNotFoundException", message, Type="User")


def _printed(config: Mapping[str, Mapping[str, str]]) -> str:
    sides = []
    for side in _SERVICES:
        kind, name = side, side[0].lower() + side[1:]
        destination = config.get(side, {}).get("Destination")
        sides.append(f"{name}={kind}(destination={destination})" if destination else f"{name}=null")
    return f"DestinationConfig({', '.join(sides)})"


def _shown(document: Document) -> dict[str, Any]:
    destinations = document.get("DestinationConfig", {})
    return {
        **document,
        "LastModified": datetime.fromtimestamp(document["LastModified"], UTC),
        "DestinationConfig": {side: destinations.get(side, {}) for side in ("OnSuccess", "OnFailure")},
    }
