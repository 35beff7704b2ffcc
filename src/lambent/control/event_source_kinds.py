"""The kinds of event source and which settings a mapping of each may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lambent.control import filter_patterns
from lambent.control.settings import invalid
from lambent.wire.errors import not_built

_ALL_POSITIONS = ("TRIM_HORIZON", "LATEST", "AT_TIMESTAMP")
_COMMON = frozenset(
    (
        "BatchSize",
        "FilterCriteria",
        "FunctionResponseTypes",
        "KMSKeyArn",
        "MaximumBatchingWindowInSeconds",
        "MetricsConfig",
    )
)
_RETRIES = frozenset(
    ("BisectBatchOnFunctionError", "DestinationConfig", "MaximumRecordAgeInSeconds", "MaximumRetryAttempts")
)
_KAFKA = _RETRIES | {"Topics", "SourceAccessConfigurations", "ProvisionedPollerConfig", "LoggingConfig"}
_CHOSEN = frozenset(("StartingPosition", "StartingPositionTimestamp"))
# What a request has besides settings of the mapping.
_NOT_SETTINGS = frozenset(("UUID", "FunctionName", "EventSourceArn", "SelfManagedEventSource", "Enabled", "Tags"))
_MOST_FILTERS = 10
_SQS_BATCH = 10  # messages, beyond which SQS needs a batching window; the most of FIFO queues
_YOUNGEST = 60  # seconds; the least MaximumRecordAgeInSeconds that is not -1


@dataclass(frozen=True)
class Kind:
    name: str
    members: frozenset[str]  # settings that a mapping of this kind may have
    defaults: Mapping[str, Any]  # as AWS answers them when the request has none
    positions: tuple[str, ...] = ()  # StartingPosition, none for queues
    default_position: str | None = None  # None: it must be given
    reason: str = "USER_INITIATED"  # StateTransitionReason of what the user asked for
    required: tuple[str, ...] = field(default=())


_STREAM = {
    "BatchSize": 100,
    "MaximumBatchingWindowInSeconds": 0,
    "ParallelizationFactor": 1,
    "DestinationConfig": {"OnFailure": {}},
    "MaximumRecordAgeInSeconds": -1,
    "BisectBatchOnFunctionError": False,
    "MaximumRetryAttempts": -1,
    "TumblingWindowInSeconds": 0,
    "FunctionResponseTypes": [],
    "LastProcessingResult": "No records processed",
}
_STREAM_MEMBERS = _COMMON | _RETRIES | _CHOSEN | {"ParallelizationFactor", "TumblingWindowInSeconds"}
_BATCHES = {"BatchSize": 100, "LastProcessingResult": "No records processed"}

SQS = Kind(
    "sqs",
    _COMMON | {"ScalingConfig", "ProvisionedPollerConfig"},
    {"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": []},
)
KINESIS = Kind("kinesis", _STREAM_MEMBERS, _STREAM, _ALL_POSITIONS, reason="User action")
DYNAMODB = Kind("dynamodb", _STREAM_MEMBERS, _STREAM, ("TRIM_HORIZON", "LATEST"), reason="User action")
MSK = Kind(
    "kafka",
    _COMMON | _KAFKA | _CHOSEN | {"AmazonManagedKafkaEventSourceConfig"},
    _BATCHES,
    _ALL_POSITIONS,
    "TRIM_HORIZON",
    required=("Topics",),
)
SELF_MANAGED = Kind(
    "self-managed-kafka",
    _COMMON | _KAFKA | _CHOSEN | {"SelfManagedKafkaEventSourceConfig"},
    _BATCHES,
    _ALL_POSITIONS,
    "TRIM_HORIZON",
    required=("SourceAccessConfigurations", "Topics"),
)
MQ = Kind(
    "mq",
    _COMMON | {"Queues", "SourceAccessConfigurations"},
    _BATCHES,
    required=("SourceAccessConfigurations", "Queues"),
)
DOCUMENT_DB = Kind(
    "rds",
    _COMMON | _CHOSEN | {"SourceAccessConfigurations", "DocumentDBEventSourceConfig"},
    _BATCHES,
    _ALL_POSITIONS,
    "TRIM_HORIZON",
    required=("SourceAccessConfigurations", "DocumentDBEventSourceConfig"),
)
_BY_SERVICE = {kind.name: kind for kind in (SQS, KINESIS, DYNAMODB, MSK, MQ, DOCUMENT_DB)}


def kind_of(source: Mapping[str, Any]) -> Kind:
    """The kind of the source that a request or a mapping names. Raises InvalidParameterValueException."""
    arn = source.get("EventSourceArn")
    if arn is not None and "SelfManagedEventSource" in source:
        raise invalid("EventSourceArn and SelfManagedEventSource cannot be given together.")
    if arn is None:
        if source.get("SelfManagedEventSource", {}).get("Endpoints"):
            return SELF_MANAGED
        raise invalid("Unrecognized event source.")
    kind = _BY_SERVICE.get(arn.split(":")[2])
    if kind is None:
        raise invalid("Unrecognized event source.")
    if kind is DYNAMODB and "/stream/" not in arn:
        raise invalid("Unrecognized event source.")
    return kind


def check(kind: Kind, settings: Mapping[str, Any], source: str) -> None:
    """Raises InvalidParameterValueException for settings that a mapping of this kind to `source` may not have."""
    for member in settings:
        if member not in kind.members:
            raise invalid(f"Unsupported {member} parameter for given event source mapping type.")
    if settings.get("KMSKeyArn"):
        raise not_built("encrypted filter criteria (KMSKeyArn of an event source mapping)")
    for member in kind.required:
        if not settings.get(member):
            raise invalid(f"Required '{member[0].lower()}{member[1:]}' parameter is missing.")
    _check_position(kind, settings, source)
    _check_batches(kind, settings, source)
    _check_filters(settings.get("FilterCriteria", {}).get("Filters", []))
    age = settings.get("MaximumRecordAgeInSeconds", -1)
    if -1 < age < _YOUNGEST:
        constraint = f"Member must have value greater than or equal to {_YOUNGEST}"
        raise invalid(
            f"1 validation error detected: Value '{age}' at 'maximumRecordAgeInSeconds' failed to satisfy constraint:"
            f" {constraint}"
        )


def settings_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the mapping in a request."""
    return {member: value for member, value in parameters.items() if member not in _NOT_SETTINGS}


def _check_position(kind: Kind, settings: Mapping[str, Any], source: str) -> None:
    position = settings.get("StartingPosition", kind.default_position)
    if not kind.positions:
        return
    if position is None:
        raise invalid(
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint:"
            " Member must not be null."
        )
    if position not in kind.positions:
        raise invalid(f"Unsupported starting position for arn type: {source}")
    if (position == "AT_TIMESTAMP") != ("StartingPositionTimestamp" in settings):
        raise invalid("StartingPositionTimestamp is required for, and only for, the starting position AT_TIMESTAMP.")


def _check_batches(kind: Kind, settings: Mapping[str, Any], source: str) -> None:
    if kind is not SQS or settings.get("BatchSize", 0) <= _SQS_BATCH:
        return
    if source.endswith(".fifo"):
        raise invalid(f"Maximum batch size of FIFO queues is {_SQS_BATCH}.")
    if not settings.get("MaximumBatchingWindowInSeconds"):
        raise invalid("Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10")


def _check_filters(filters: list[Mapping[str, str]]) -> None:
    if len(filters) > _MOST_FILTERS:
        raise invalid(f"Number of filters must not be greater than {_MOST_FILTERS}.")
    if not all(filter_patterns.is_valid(one.get("Pattern", "")) for one in filters):
        raise invalid("Invalid filter pattern definition.")
