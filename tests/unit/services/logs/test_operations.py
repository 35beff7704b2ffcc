"""The operations as clients see them."""

from __future__ import annotations

import pytest

from .conftest import ACCOUNT, GROUP, OTHER, LogsLab

MISSING = ("ResourceNotFoundException", "The specified log group does not exist.")
DAY = 86_400_000
ARN = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{GROUP}"


async def stage(logs: LogsLab) -> None:
    await logs.call("CreateLogGroup", logGroupName=GROUP)
    await logs.call("CreateLogStream", logGroupName=GROUP, logStreamName="s")


async def test_groups_are_made_listed_and_deleted(logs: LogsLab) -> None:
    await logs.call("CreateLogGroup", logGroupName=GROUP, tags={"a": "b"})
    assert await logs.refusal("CreateLogGroup", logGroupName=GROUP) == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    for name in ("b", "a", "aa"):
        await logs.call("CreateLogGroup", logGroupName=name)
    await logs.call("CreateLogGroup", logGroupName="a", account=OTHER)
    [group, *_others] = (await logs.call("DescribeLogGroups"))["logGroups"]
    assert group == {
        "logGroupName": GROUP,
        "creationTime": logs.now,
        "metricFilterCount": 0,
        "arn": ARN + ":*",
        "logGroupArn": ARN,
        "storedBytes": 0,
        "logGroupClass": "STANDARD",
        "deletionProtectionEnabled": False,
    }
    first = await logs.call("DescribeLogGroups", logGroupNamePrefix="a", limit=1)
    assert [one["logGroupName"] for one in first["logGroups"]] == ["a"]
    second = await logs.call("DescribeLogGroups", logGroupNamePrefix="a", limit=1, nextToken=first["nextToken"])
    assert [one["logGroupName"] for one in second["logGroups"]] == ["aa"]
    assert "nextToken" not in second
    found = await logs.call("DescribeLogGroups", logGroupNamePattern="LAMBDA")
    assert [one["logGroupName"] for one in found["logGroups"]] == [GROUP]
    assert (await logs.refusal("DescribeLogGroups", nextToken="%"))[0] == "InvalidParameterException"
    await logs.call("DeleteLogGroup", logGroupName=GROUP)
    assert await logs.refusal("DeleteLogGroup", logGroupName=GROUP) == MISSING


async def test_what_the_model_does_not_allow_is_an_invalid_parameter(logs: LogsLab) -> None:
    code, message = await logs.refusal("CreateLogGroup", logGroupName="a b")
    assert code == "InvalidParameterException"
    assert message.startswith("1 validation error detected: Value 'a b' at 'logGroupName' failed to satisfy")


async def test_everything_asked_of_a_group_survives_a_restart(logs: LogsLab) -> None:
    await stage(logs)
    await logs.call("PutRetentionPolicy", logGroupName=GROUP, retentionInDays=7)
    await logs.call("TagLogGroup", logGroupName=GROUP, tags={"a": "1", "b": "2"})
    await logs.call("TagResource", resourceArn=ARN, tags={"c": "3"})
    await logs.call("UntagResource", resourceArn=ARN, tagKeys=["a"])
    await logs.call("UntagLogGroup", logGroupName=GROUP, tags=["none"])
    await logs.stop()
    await logs.start()
    [group] = (await logs.call("DescribeLogGroups"))["logGroups"]
    assert group["retentionInDays"] == 7
    for answer in (
        await logs.call("ListTagsLogGroup", logGroupName=GROUP),
        await logs.call("ListTagsForResource", resourceArn=ARN),
    ):
        assert answer == {"tags": {"b": "2", "c": "3"}}
    await logs.call("DeleteRetentionPolicy", logGroupName=GROUP)
    [group] = (await logs.call("DescribeLogGroups"))["logGroups"]
    assert "retentionInDays" not in group
    [stream] = (await logs.call("DescribeLogStreams", logGroupName=GROUP))["logStreams"]
    assert stream == {
        "logStreamName": "s",
        "creationTime": logs.now,
        "arn": ARN + ":log-stream:s",
        "storedBytes": 0,
    }


async def test_retention_takes_awss_numbers_of_days_only(logs: LogsLab) -> None:
    await stage(logs)
    code, message = await logs.refusal("PutRetentionPolicy", logGroupName=GROUP, retentionInDays=2)
    assert (code, message[:55]) == (
        "InvalidParameterException",
        "1 validation error detected: Value '2' at 'retentionInD",
    )


async def test_a_protected_group_cannot_be_deleted(logs: LogsLab) -> None:
    await logs.call("CreateLogGroup", logGroupName=GROUP, deletionProtectionEnabled=True)
    assert (await logs.refusal("DeleteLogGroup", logGroupName=GROUP))[0] == "ValidationException"
    await logs.call("PutLogGroupDeletionProtection", logGroupIdentifier=GROUP, deletionProtectionEnabled=False)
    await logs.call("DeleteLogGroup", logGroupName=GROUP)


async def test_one_account_does_not_see_anothers(logs: LogsLab) -> None:
    await stage(logs)
    with pytest.raises(Exception, match="The specified log group does not exist"):
        await logs.call("FilterLogEvents", account=OTHER, logGroupName=GROUP)
    with pytest.raises(Exception, match="The specified log group does not exist"):
        await logs.call("ListTagsForResource", account=OTHER, resourceArn=ARN)
    with pytest.raises(Exception, match="The specified log group does not exist"):
        await logs.call("FilterLogEvents", account=OTHER, logGroupIdentifier=ARN)


async def test_streams_are_listed_by_name_or_by_their_last_event(logs: LogsLab) -> None:
    await logs.call("CreateLogGroup", logGroupName=GROUP)
    for number, name in enumerate(("b", "c", "a")):
        await logs.call("CreateLogStream", logGroupName=GROUP, logStreamName=name)
        await logs.put((logs.now + number, "m"), stream=name)
    assert (await logs.refusal("CreateLogStream", logGroupName=GROUP, logStreamName="a"))[1] == (
        "The specified log stream already exists"
    )

    async def names(**members: object) -> list[str]:
        found, token = [], {}
        while True:
            page = await logs.call("DescribeLogStreams", logGroupName=GROUP, limit=2, **members, **token)
            found += [stream["logStreamName"] for stream in page["logStreams"]]
            if "nextToken" not in page:
                return found
            token = {"nextToken": page["nextToken"]}

    assert await names() == ["a", "b", "c"]
    assert await names(descending=True) == ["c", "b", "a"]
    assert await names(orderBy="LastEventTime", descending=True) == ["a", "c", "b"]
    assert await names(logStreamNamePrefix="b") == ["b"]
    code, _message = await logs.refusal(
        "DescribeLogStreams", logGroupName=GROUP, orderBy="LastEventTime", logStreamNamePrefix="b"
    )
    assert code == "InvalidParameterException"
    await logs.call("DeleteLogStream", logGroupName=GROUP, logStreamName="a")
    assert await names() == ["b", "c"]
    assert await logs.messages() == ["m", "m"]
    assert (await logs.refusal("DeleteLogStream", logGroupName=GROUP, logStreamName="a"))[1] == (
        "The specified log stream does not exist."
    )


async def test_put_takes_any_sequence_token_and_refuses_what_aws_refuses(logs: LogsLab) -> None:
    now = logs.now
    assert (
        await logs.refusal("PutLogEvents", logGroupName=GROUP, logStreamName="s", logEvents=[event(now)])
    ) == MISSING
    await stage(logs)
    assert (await logs.refusal("PutLogEvents", logGroupName=GROUP, logStreamName="t", logEvents=[event(now)]))[1] == (
        "The specified log stream does not exist."
    )
    for token in ("1", "nonsense"):
        answer = await logs.call(
            "PutLogEvents", logGroupName=GROUP, logStreamName="s", logEvents=[event(now)], sequenceToken=token
        )
        assert set(answer) == {"nextSequenceToken"}
    for events, words in (
        ([event(now), event(now - 1)], "in chronological order"),
        ([event(now - DAY - 1), event(now)], "cannot span more than 24 hours"),
        ([event(now, "x" * 600_000)] * 2, "Upload too large: 1200052 bytes exceeds limit of 1048576"),
    ):
        code, message = await logs.refusal("PutLogEvents", logGroupName=GROUP, logStreamName="s", logEvents=events)
        assert code == "InvalidParameterException"
        assert words in message
    assert await logs.messages() == ["m", "m"]


def event(at: int, message: str = "m") -> dict[str, object]:
    return {"timestamp": at, "message": message}


async def test_events_out_of_time_are_left_out_and_told_of(logs: LogsLab) -> None:
    await stage(logs)
    await logs.call("PutRetentionPolicy", logGroupName=GROUP, retentionInDays=1)
    now = logs.now
    old = await logs.put((now - 14 * DAY - 5, "a"), (now - 14 * DAY + 5, "b"))
    assert old["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2}
    mixed = await logs.put((now - DAY // 2, "c"), (now, "d"), (now + 3 * 3_600_000 - DAY // 2 + DAY // 2, "e"))
    assert mixed["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 2}
    assert await logs.messages() == ["c", "d"]


async def test_get_walks_forward_and_back_until_the_token_stays(logs: LogsLab) -> None:
    await stage(logs)
    await logs.put(*((logs.now + at, str(at)) for at in range(5)))

    async def get(**members: object) -> tuple[str, dict[str, str]]:
        answer = await logs.call("GetLogEvents", logGroupName=GROUP, logStreamName="s", limit=2, **members)
        return "".join(event["message"] for event in answer.pop("events")), answer

    newest, tokens = await get()
    assert newest == "34"
    before, further = await get(nextToken=tokens["nextBackwardToken"])
    assert before == "12"
    assert (await get(nextToken=further["nextForwardToken"]))[0] == "34"
    last, end = await get(nextToken=further["nextBackwardToken"])
    assert last == "0"
    nothing, still = await get(nextToken=end["nextBackwardToken"])
    assert (nothing, still["nextBackwardToken"]) == ("", end["nextBackwardToken"])
    assert (await get(nextToken=still["nextForwardToken"]))[0] == "01"
    head, forward = await get(startFromHead=True)
    assert head == "01"
    at_end, tail = await get(nextToken=tokens["nextForwardToken"])
    assert (at_end, tail["nextForwardToken"]) == ("", tokens["nextForwardToken"])
    assert (await get(nextToken=tail["nextBackwardToken"]))[0] == "34"
    await logs.put((logs.now + 9, "9"))
    assert (await get(nextToken=tail["nextForwardToken"]))[0] == "9"
    assert (await get(nextToken=forward["nextForwardToken"]))[0] == "23"
    assert (await get(startTime=logs.now + 1, endTime=logs.now + 2, startFromHead=True))[0] == "1"
    code, _message = await logs.refusal("GetLogEvents", logGroupName=GROUP, logStreamName="s", nextToken="f/1/s")
    assert code == "InvalidParameterException"
    assert (await logs.refusal("GetLogEvents", logGroupName=GROUP, logStreamName="t"))[1] == (
        "The specified log stream does not exist."
    )


async def test_filter_pages_in_the_order_of_time_over_all_streams(logs: LogsLab) -> None:
    await stage(logs)
    now = logs.now
    await logs.put((now + 1, "ERROR b"), (now + 3, "ERROR d"), (now + 4, "fine"))
    await logs.call("CreateLogStream", logGroupName=GROUP, logStreamName="other")
    await logs.put((now, "ERROR a"), (now + 2, "ERROR c"), stream="other")
    found, members = [], {}
    while True:
        page = await logs.call("FilterLogEvents", logGroupName=GROUP, filterPattern="ERROR", limit=1, **members)
        found += [event["message"] for event in page["events"]]
        if "nextToken" not in page:
            break
        members = {"nextToken": page["nextToken"]}
    assert found == ["ERROR a", "ERROR b", "ERROR c", "ERROR d"]
    assert await logs.messages(logStreamNames=["other"]) == ["ERROR a", "ERROR c"]
    assert await logs.messages(logStreamNamePrefix="oth") == ["ERROR a", "ERROR c"]
    assert await logs.messages(logStreamNamePrefix="none") == []
    assert await logs.messages(startTime=now + 1, endTime=now + 2) == ["ERROR b", "ERROR c"]
    [event] = (await logs.call("FilterLogEvents", logGroupIdentifier=ARN, filterPattern="fine"))["events"]
    assert (event["logStreamName"], event["timestamp"], event["ingestionTime"]) == ("s", now + 4, now)
    assert len(event["eventId"]) == 56
    for members in (
        {"filterPattern": "{ $.a"},
        {"nextToken": "x"},
        {"logStreamNames": ["s"], "logStreamNamePrefix": "s"},
    ):
        code, _message = await logs.refusal("FilterLogEvents", logGroupName=GROUP, **members)
        assert code == "InvalidParameterException"
    assert (await logs.refusal("FilterLogEvents", logGroupName=GROUP, logStreamNames=["none"]))[0] == MISSING[0]


async def test_a_page_holds_a_megabyte_and_a_search_a_part_of_the_files(
    logs: LogsLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.print(*["x" * 100_000] * 15)
    page = await logs.call("FilterLogEvents", logGroupName=GROUP)
    assert (len(page["events"]), "nextToken" in page) == (11, True)
    rest = await logs.call("FilterLogEvents", logGroupName=GROUP, nextToken=page["nextToken"])
    assert (len(rest["events"]), "nextToken" in rest) == (4, False)
    answer = await logs.call("GetLogEvents", logGroupName=GROUP, logStreamName="s", startFromHead=True)
    assert len(answer["events"]) == 10
    monkeypatch.setattr("lambent.services.logs.events_api._MOST_TESTED", 5)
    page = await logs.call("FilterLogEvents", logGroupName=GROUP, filterPattern="none")
    assert (page["events"], "nextToken" in page) == ([], True)


async def test_a_pattern_can_be_tried(logs: LogsLab) -> None:
    answer = await logs.call("TestMetricFilter", filterPattern="{ $.a = 1 }", logEventMessages=['{"a": 2}', '{"a": 1}'])
    assert answer == {"matches": [{"eventNumber": 2, "eventMessage": '{"a": 1}', "extractedValues": {"$.a": "1"}}]}
