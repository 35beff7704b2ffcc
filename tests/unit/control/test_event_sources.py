"""Event source mappings of each kind: what they may have, what they answer, and that none claims to poll."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lambent.control.event_sources import NOT_POLLED

from .lab import ACCOUNT, REGION

SECRET = {"Type": "BASIC_AUTH", "URI": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:s"}
SOURCES = {
    "sqs": {"EventSourceArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"},
    "kinesis": {"EventSourceArn": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s", "StartingPosition": "LATEST"},
    "dynamodb": {
        "EventSourceArn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t/stream/2026-01-01T00:00:00.000",
        "StartingPosition": "TRIM_HORIZON",
    },
    "msk": {"EventSourceArn": f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/c/id", "Topics": ["to"]},
    "kafka": {
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["k:9092"]}},
        "SourceAccessConfigurations": [SECRET],
        "Topics": ["to"],
    },
    "mq": {
        "EventSourceArn": f"arn:aws:mq:{REGION}:{ACCOUNT}:broker:b:id",
        "Queues": ["q"],
        "SourceAccessConfigurations": [SECRET],
    },
    "documentdb": {
        "EventSourceArn": f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:c",
        "DocumentDBEventSourceConfig": {"DatabaseName": "d"},
        "SourceAccessConfigurations": [SECRET],
    },
}


@pytest.fixture
async def mapped(lab):
    await lab.create("f")
    return lab


async def create(lab, kind: str, **members):
    return await lab.call("CreateEventSourceMapping", **{"FunctionName": "f", **SOURCES[kind], **members})


@pytest.mark.parametrize("kind", SOURCES)
async def test_a_mapping_is_stored_as_given_and_never_enabled(mapped, kind):
    created = await create(mapped, kind)
    assert created["State"] == "Creating"
    found = await mapped.call("GetEventSourceMapping", UUID=created["UUID"])
    assert (found["State"], found["StateTransitionReason"]) == ("Disabled", NOT_POLLED)
    changing = ("State", "StateTransitionReason")
    assert {k: v for k, v in found.items() if k not in changing} == {
        k: v for k, v in created.items() if k not in changing
    }
    assert SOURCES[kind].items() <= found.items()


async def test_a_mapping_that_was_asked_to_be_disabled_says_that_the_user_did_it(mapped):
    uuid = (await create(mapped, "sqs", Enabled=False))["UUID"]
    found = await mapped.call("GetEventSourceMapping", UUID=uuid)
    assert (found["State"], found["StateTransitionReason"]) == ("Disabled", "USER_INITIATED")
    assert (await mapped.call("UpdateEventSourceMapping", UUID=uuid, Enabled=True))["State"] == "Enabling"
    assert (await mapped.call("GetEventSourceMapping", UUID=uuid))["StateTransitionReason"] == NOT_POLLED


@pytest.mark.parametrize(
    ("kind", "members", "message"),
    [
        ("sqs", {"StartingPosition": "LATEST"}, "Unsupported StartingPosition parameter"),
        ("sqs", {"Topics": ["to"]}, "Unsupported Topics parameter"),
        ("sqs", {"BatchSize": 11}, "Maximum batch window in seconds must be greater than 0"),
        ("kinesis", {"ScalingConfig": {"MaximumConcurrency": 2}}, "Unsupported ScalingConfig parameter"),
        ("kinesis", {"MaximumRecordAgeInSeconds": 59}, "at 'maximumRecordAgeInSeconds' failed"),
        ("kinesis", {"StartingPosition": "AT_TIMESTAMP"}, "StartingPositionTimestamp is required"),
        ("dynamodb", {"StartingPosition": "AT_TIMESTAMP"}, "Unsupported starting position for arn type: arn:aws:dyn"),
        ("mq", {"Queues": None}, "Required 'queues' parameter is missing."),
        ("documentdb", {"DocumentDBEventSourceConfig": None}, "Required 'documentDBEventSourceConfig' parameter"),
        ("msk", {"Topics": None}, "Required 'topics' parameter is missing."),
        ("sqs", {"FilterCriteria": {"Filters": [{"Pattern": "no json"}]}}, "Invalid filter pattern definition."),
        ("sqs", {"FunctionName": "missing"}, "Function does not exist"),
        ("sqs", {"EventSourceArn": f"arn:aws:s3:{REGION}:{ACCOUNT}:b"}, "Unrecognized event source."),
        ("dynamodb", {"EventSourceArn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t"}, "Unrecognized event source."),
    ],
)
async def test_what_a_kind_may_not_have_is_refused_and_nothing_is_stored(mapped, kind, members, message):
    wanted = {"FunctionName": "f", **SOURCES[kind], **members}
    given = {name: value for name, value in wanted.items() if value is not None}
    error = await mapped.refusal("CreateEventSourceMapping", **given)
    assert error.code == "InvalidParameterValueException"
    assert message in error.message
    assert (await mapped.call("ListEventSourceMappings"))["EventSourceMappings"] == []


async def test_a_stream_needs_a_starting_position(mapped):
    error = await mapped.refusal(
        "CreateEventSourceMapping", FunctionName="f", EventSourceArn=SOURCES["kinesis"]["EventSourceArn"]
    )
    assert error.message == (
        "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint:"
        " Member must not be null."
    )


async def test_a_point_in_time_is_kept(mapped):
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    given = {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": moment}
    uuid = (await create(mapped, "kinesis", **given))["UUID"]
    assert given.items() <= (await mapped.call("GetEventSourceMapping", UUID=uuid)).items()


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("sqs", f'An event source mapping with SQS arn (" arn:aws:sqs:{REGION}:{ACCOUNT}:q ") and function (" f ")'),
        ("kinesis", f'The event source arn (" arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s ") and function (" f ")'),
        ("mq", f'The event source arn (" arn:aws:mq:{REGION}:{ACCOUNT}:broker:b:id ") and function (" f ")'),
    ],
)
async def test_the_same_source_cannot_be_mapped_to_the_same_function_twice(mapped, kind, start):
    first = await create(mapped, kind)
    error = await mapped.refusal("CreateEventSourceMapping", FunctionName="f", **SOURCES[kind])
    assert error.code == "ResourceConflictException"
    assert error.message.startswith(start)
    assert error.message.endswith(
        f"already exists. Please update or delete the existing mapping with UUID {first['UUID']}"
    )
    await mapped.call("DeleteEventSourceMapping", UUID=first["UUID"])
    await create(mapped, kind)


async def test_updates_keep_what_they_do_not_name_and_empty_settings_go(mapped):
    pattern = {"Filters": [{"Pattern": '{"body": ["x"]}'}]}
    scaling = {"MaximumConcurrency": 5}
    uuid = (await create(mapped, "sqs", FilterCriteria=pattern, ScalingConfig=scaling))["UUID"]
    await mapped.create("g")
    updated = await mapped.call("UpdateEventSourceMapping", UUID=uuid, FunctionName="g", ScalingConfig={})
    assert updated["FunctionArn"].endswith(":function:g")
    assert updated["FilterCriteria"] == pattern
    assert updated["State"] == "Updating"
    assert "ScalingConfig" not in updated
    cleared = await mapped.call("UpdateEventSourceMapping", UUID=uuid, FilterCriteria={})
    assert "FilterCriteria" not in cleared


async def test_lists_by_function_and_by_source_in_pages(mapped):
    await mapped.create("g")
    for number in range(5):
        source = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q{number}"
        for function in "fg":
            await create(mapped, "sqs", FunctionName=function, EventSourceArn=source)
    await mapped.call("DeleteFunction", FunctionName="g")  # its mappings stay, as on AWS

    async def listed(**members):
        found, marker = [], {}
        while True:
            page = await mapped.call("ListEventSourceMappings", MaxItems=2, **members, **marker)
            assert len(page["EventSourceMappings"]) <= 2
            found += page["EventSourceMappings"]
            if "NextMarker" not in page:
                return found
            marker = {"Marker": page["NextMarker"]}

    assert len(await listed()) == 10
    assert len(await listed(FunctionName="g")) == 5
    assert len(await listed(EventSourceArn=source)) == 2
    [one] = await listed(EventSourceArn=source, FunctionName="f")
    assert one["FunctionArn"].endswith(":function:f")
    assert await listed(FunctionName="nobody") == []
