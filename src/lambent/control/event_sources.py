"""Event source mappings: checked, stored and shown. Nothing polls an event source yet.

So no mapping is ever shown as Enabled: one that was asked to be is shown as Disabled, and says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lambent.base.clock import Clock
from lambent.base.db import Connection, Database
from lambent.control import event_source_kinds as kinds
from lambent.control import markers
from lambent.control.event_source_kinds import SELF_MANAGED, SQS, Kind
from lambent.control.records import FunctionKey, partition_of
from lambent.control.resources import Document, Resources
from lambent.control.settings import check_tags, invalid
from lambent.control.targets import Targets
from lambent.wire import arn
from lambent.wire.errors import AwsError
from lambent.wire.operations import Context, Operations, Parameters

NOT_POLLED = "Lambent does not poll event sources yet: this mapping is kept, and no records are read"
_PAGE = 100
_OWN = frozenset(("Enabled", "Tags"))  # members of a document that are not shown
_EMPTY = ("FilterCriteria", "ScalingConfig", "MetricsConfig", "LoggingConfig", "ProvisionedPollerConfig", "KMSKeyArn")
_TIMES = ("LastModified", "StartingPositionTimestamp")

Answer = Mapping[str, Any]


class EventSourceMappings:
    """Handlers of the operations on event source mappings."""

    def __init__(self, db: Database, targets: Targets, clock: Clock) -> None:
        self._db = db
        self._targets = targets
        self._clock = clock
        self.mappings = Resources(db, "event-source-mapping")  # by UUID; the parent is the function's name

    def register(self, operations: Operations) -> None:
        for operation, handler in {
            "CreateEventSourceMapping": self.create_event_source_mapping,
            "GetEventSourceMapping": self.get_event_source_mapping,
            "UpdateEventSourceMapping": self.update_event_source_mapping,
            "DeleteEventSourceMapping": self.delete_event_source_mapping,
            "ListEventSourceMappings": self.list_event_source_mappings,
        }.items():
            operations.register("lambda", operation, handler)

    async def create_event_source_mapping(self, context: Context, parameters: Parameters) -> Answer:
        kind, settings = kinds.kind_of(parameters), kinds.settings_of(parameters)
        key, qualifier = _function(context, parameters["FunctionName"])
        check_tags(parameters.get("Tags", {}))
        home, uuid = context.caller, self._clock.uuid()
        prefix = f"arn:{partition_of(home.region)}:lambda:{home.region}:{home.account}"
        document = {
            "UUID": uuid,
            "EventSourceMappingArn": f"{prefix}:event-source-mapping:{uuid}",
            "FunctionArn": key.arn(qualifier),
            "LastModified": self._clock.time(),
            "Enabled": parameters.get("Enabled", True),
            "Tags": dict(parameters.get("Tags", {})),
            **{name: parameters[name] for name in ("EventSourceArn", "SelfManagedEventSource") if name in parameters},
            **_filled(kind, settings, uuid),
        }

        def work(connection: Connection) -> None:
            if not self._targets.exists(connection, key, qualifier):
                raise invalid("Function does not exist")
            self._targets.refuse_tenancy(connection, key, "Event source mapping")
            kinds.check(kind, settings, parameters.get("EventSourceArn", ""))
            self._refuse_twin(connection, kind, key, document)
            self.mappings.put(connection, home, uuid, _plain(document), key.name)

        await self._db.write(work)
        return _shown(document, "Creating")

    async def get_event_source_mapping(self, context: Context, parameters: Parameters) -> Answer:
        document = await self.mappings.get(context.caller, parameters["UUID"])
        if document is None:
            raise _missing()
        return _shown(document)

    async def update_event_source_mapping(self, context: Context, parameters: Parameters) -> Answer:
        home, uuid, settings = context.caller, parameters["UUID"], kinds.settings_of(parameters)
        now = self._clock.time()

        def work(connection: Connection) -> tuple[Document, str]:
            current = self.mappings.find(connection, home, uuid)
            if current is None:
                raise _missing()
            kind = kinds.kind_of(current)
            key, qualifier = _function(context, parameters.get("FunctionName", current["FunctionArn"]))
            if "FunctionName" in parameters and not self._targets.exists(connection, key, qualifier):
                raise invalid("Function does not exist")
            self._targets.refuse_tenancy(connection, key, "Event source mapping")
            whole = {name: value for name, value in current.items() if name in kind.members} | settings
            kinds.check(kind, whole, current.get("EventSourceArn", ""))
            document = {
                **{name: value for name, value in current.items() if name not in kind.members},
                **_filled(kind, whole, uuid),
                "FunctionArn": key.arn(qualifier),
                "LastModified": now,
                "Enabled": parameters.get("Enabled", current["Enabled"]),
            }
            self._refuse_twin(connection, kind, key, document)
            self.mappings.put(connection, home, uuid, _plain(document), key.name)
            return document, _transition(current["Enabled"], document["Enabled"])

        return _shown(*await self._db.write(work))

    async def delete_event_source_mapping(self, context: Context, parameters: Parameters) -> Answer:
        document = await self._db.write(
            lambda connection: self.mappings.remove(connection, context.caller, parameters["UUID"])
        )
        if document is None:
            raise _missing()
        return _shown(document, "Deleting")

    async def list_event_source_mappings(self, context: Context, parameters: Parameters) -> Answer:
        wanted, parent = {}, None
        if "EventSourceArn" in parameters:
            wanted["EventSourceArn"] = parameters["EventSourceArn"]
        if "FunctionName" in parameters:
            key, qualifier = _function(context, parameters["FunctionName"])
            wanted["FunctionArn"], parent = key.arn(qualifier), key.name
        size = min(parameters.get("MaxItems", _PAGE), _PAGE)
        documents, marker = await self.mappings.page(context.caller, parameters.get("Marker"), size, parent, wanted)
        return markers.answer("EventSourceMappings", [_shown(document) for document in documents], marker)

    def _refuse_twin(self, connection: Connection, kind: Kind, key: FunctionKey, document: Document) -> None:
        """Raises ResourceConflictException when another mapping joins the same source and function."""
        for other in self.mappings.children(connection, key, key.name):
            if other["UUID"] != document["UUID"] and _are_twins(other, document):
                text = f"{_twins(kind, document)} already exists. Please update or delete the existing mapping with"
                raise AwsError("ResourceConflictException", f"{text} UUID {other['UUID']}", Type="User")


def _function(context: Context, name: str) -> tuple[FunctionKey, str | None]:
    found = arn.parse(name, None, context.caller)
    return FunctionKey(found.account, found.region, found.name), found.qualifier


def _filled(kind: Kind, settings: Mapping[str, Any], uuid: str) -> dict[str, Any]:
    """The settings with AWS's defaults; what is empty is as if it had not been given."""
    filled = {name: value for name, value in {**kind.defaults, **settings}.items() if value or name not in _EMPTY}
    if not filled.get("FilterCriteria", {}).get("Filters"):
        filled.pop("FilterCriteria", None)
    if kind.positions and kind.default_position:
        filled.setdefault("StartingPosition", kind.default_position)
    for member in ("SelfManagedKafkaEventSourceConfig", "AmazonManagedKafkaEventSourceConfig"):
        if member in kind.members:
            filled[member] = {"ConsumerGroupId": uuid, **filled.get(member, {})}
    if "DestinationConfig" in filled:
        filled["DestinationConfig"] = {"OnFailure": filled["DestinationConfig"].get("OnFailure", {})}
    return filled


def _are_twins(one: Document, other: Document) -> bool:
    if one["FunctionArn"] != other["FunctionArn"] or one.get("Topics") != other.get("Topics"):
        return False
    if "EventSourceArn" in one or "EventSourceArn" in other:
        return bool(
            one.get("EventSourceArn") == other.get("EventSourceArn") and one.get("Queues") == other.get("Queues")
        )
    return not set(_servers(one)).isdisjoint(_servers(other))


def _servers(document: Document) -> list[str]:
    return [server for servers in document["SelfManagedEventSource"]["Endpoints"].values() for server in servers]


def _twins(kind: Kind, document: Document) -> str:
    name = document["FunctionArn"].partition(":function:")[2]
    if kind is SQS:
        return f'An event source mapping with SQS arn (" {document["EventSourceArn"]} ") and function (" {name} ")'
    if kind is SELF_MANAGED:
        servers, topics = ",".join(_servers(document)), ",".join(document["Topics"])
        function = document["FunctionArn"]
        return f'An event source mapping with event source ("{servers}"), function ("{function}"), topics ("{topics}")'
    return f'The event source arn (" {document["EventSourceArn"]} ") and function (" {name} ") provided mapping'


def _transition(before: bool, after: bool) -> str:
    if before == after:
        return "Updating"
    return "Enabling" if after else "Disabling"


def _missing() -> AwsError:
    return AwsError("ResourceNotFoundException", "The resource you requested does not exist.", Type="User")


def _plain(document: Document) -> Document:
    """As it can be stored: times as seconds."""
    return {name: value.timestamp() if isinstance(value, datetime) else value for name, value in document.items()}


def _shown(document: Document, state: str | None = None) -> dict[str, Any]:
    """With `state` while a call changes it, else as it stays: not Enabled, because nothing polls."""
    reason = kinds.kind_of(document).reason
    if state is None:
        state = "Disabled"
        reason = NOT_POLLED if document["Enabled"] else reason
    shown = {name: value for name, value in document.items() if name not in _OWN}
    for name in _TIMES:
        if isinstance(shown.get(name), int | float):
            shown[name] = datetime.fromtimestamp(shown[name], UTC)
    return {**shown, "State": state, "StateTransitionReason": reason}
