"""Event source mappings."""

from __future__ import annotations

from typing import Any

from recorded.script import Script, play

_CREATE = "CreateEventSourceMapping"


def _function(s: Script, number: int) -> str:
    """A function that stands for `<resource:number>`."""
    name = str(s.bind(f"<resource:{number}>", f"function-{number}"))
    s.created(None, name)
    return name


@play("TestLambdaEventSourceMappings::test_event_source_mapping_exceptions")
def exceptions(s: Script) -> None:
    unknown = "a0b1c2d3-0000-4000-8000-000000000000"
    queue = s.arn("somequeue", "sqs")
    name = s.created()["FunctionName"]
    failing = {"DestinationConfig": {"OnFailure": {"Destination": queue}}}
    s.calls(
        {
            "get_unknown_uuid": ("GetEventSourceMapping", {"UUID": unknown}),
            "delete_unknown_uuid": ("DeleteEventSourceMapping", {"UUID": unknown}),
            "update_unknown_uuid": ("UpdateEventSourceMapping", {"UUID": unknown, "Enabled": False}),
            "create_no_event_source_arn": (_CREATE, {"FunctionName": "doesnotexist"}),
            "create_unknown_params": (_CREATE, {"FunctionName": "doesnotexist", "EventSourceArn": queue}),
            "destination_config_failure": (_CREATE, {"FunctionName": name, "EventSourceArn": queue, **failing}),
        }
    )


@play("TestLambdaEventSourceMappings::test_event_source_mapping_lifecycle")
def lifecycle(s: Script) -> None:
    name = _function(s, 5)
    table, label = s.bind("<resource:2>", "table-2"), s.bind("<resource:1>", "2026-01-01T00:00:00.000")
    queue = s.arn(s.bind("<resource:3>", "queue-3"), "sqs")
    uuid = s.call(
        "create_response",
        _CREATE,
        FunctionName=name,
        EventSourceArn=s.arn(f"table/{table}/stream/{label}", "dynamodb"),
        StartingPosition="TRIM_HORIZON",
        BatchSize=1,
        MaximumBatchingWindowInSeconds=1,
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": queue}},
    )["UUID"]
    s.call("get_response", "GetEventSourceMapping", UUID=uuid)
    s.call("delete_response", "DeleteEventSourceMapping", UUID=uuid)


@play("TestLambdaEventSourceMappings::test_create_event_filter_criteria_validation")
def empty_filters(s: Script) -> None:
    name = _function(s, 3)
    table, label = s.bind("<table-name>", "table"), s.bind("<resource:1>", "2026-01-01T00:00:00.000")
    s.call(
        "response-with-empty-filters",
        _CREATE,
        FunctionName=name,
        EventSourceArn=s.arn(f"table/{table}/stream/{label}", "dynamodb"),
        StartingPosition="LATEST",
        FilterCriteria={"Filters": []},
    )


@play("TestLambdaEventSourceMappings::test_create_event_source_self_managed")
def self_managed(s: Script) -> None:
    secret = s.arn(f"secret:{s.bind('<resource:2>', 'secret-2')}", "secretsmanager")
    access = {"SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": secret}]}

    def source(*servers: str, topic: str = "topic") -> dict[str, Any]:
        endpoints = {"KAFKA_BOOTSTRAP_SERVERS": list(servers)}
        return {"FunctionName": name, "Topics": [topic], "SelfManagedEventSource": {"Endpoints": endpoints}}

    name = _function(s, 1)
    s.calls(
        {
            "missing-source-access-configuration": (_CREATE, source("kafka:1000")),
            "event-source-mapping-default": (_CREATE, {**source("kafka:1000"), **access}),
            "event-source-mapping-values": (
                _CREATE,
                {
                    **source("kafka:1000", topic="topic_2"),
                    **access,
                    "BatchSize": 1,
                    "SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": "random_id"},
                    "StartingPosition": "LATEST",
                },
            ),
            "duplicate-source": (_CREATE, {**source("kafka:1000"), **access}),
            "multiple-duplicate-source": (_CREATE, {**source("kafka:1000", "kafka:2000"), **access}),
        }
    )


@play("TestLambdaTag::test_create_tag_on_esm_create")
def tags_on_create(s: Script) -> None:
    name = s.created()["FunctionName"]
    tags = {"testtag": s.bind("<custom-tag>", "value")}
    created = s.call(None, _CREATE, FunctionName=name, EventSourceArn=s.arn("queue", "sqs"), Tags=tags)
    found = s.call(None, "GetEventSourceMapping", UUID=created["UUID"])
    s.compare("get_event_source_mapping_with_tag", found["EventSourceMappingArn"] == created["EventSourceMappingArn"])
    s.call("list_tags_result", "ListTags", Resource=created["EventSourceMappingArn"])


@play("TestLambdaTag::test_tag_lifecycle")
def tag_lifecycle(s: Script) -> None:
    name = s.created()["FunctionName"]
    arn = s.call(None, _CREATE, FunctionName=name, EventSourceArn=s.arn("queue", "sqs"))["EventSourceMappingArn"]
    for step, operation, change in (
        ("tag_single", "TagResource", {"Tags": {"A": "tag-a"}}),
        ("tag_multiple", "TagResource", {"Tags": {"B": "tag-b", "C": "tag-c"}}),
        ("tag_overlap", "TagResource", {"Tags": {"C": "tag-c-newsuffix", "D": "tag-d"}}),
        ("untag_single", "UntagResource", {"TagKeys": ["A"]}),
        ("untag_multiple", "UntagResource", {"TagKeys": ["B", "C"]}),
        ("untag_nonexisting", "UntagResource", {"TagKeys": ["X"]}),
        ("untag_existing_and_nonexisting", "UntagResource", {"TagKeys": ["D", "Y"]}),
    ):
        s.call(f"{step}_response", operation, Resource=arn, **change)
        s.call(f"{step}_response_listtags", "ListTags", Resource=arn)
