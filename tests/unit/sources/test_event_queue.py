"""Events from their acceptance to their end."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.invocation import Invocation, Outcome
from lambent.sources.event_queue import share
from lambent.wire.errors import AwsError

from .post import FAILED, Post, key

THROTTLED = AwsError("TooManyRequestsException", "Rate Exceeded.")


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    opened = await Post.open(tmp_path)
    await opened.queue.start()
    yield opened
    await opened.close()


async def test_an_event_runs_once_and_is_gone(post):
    await post.accept(payload={"a": 1})
    await post.until(post.empty)
    [invocation] = post.seen
    assert (invocation.request_id, invocation.payload, invocation.trace) == ("f-00000", b'{"a":1}', "Root=1-2-3")
    assert invocation.invoked_arn == key().arn()


async def test_it_is_durable_before_it_is_accepted(tmp_path):
    post = await Post.open(tmp_path)
    await post.accept()  # nobody delivers
    assert [row[0] for row in await post.rows()] == ["f-00000"]
    await post.close()


async def test_what_a_process_leaves_the_next_one_delivers(tmp_path):
    first = await Post.open(tmp_path)
    never = asyncio.Event()
    first.play = lambda invocation: never.wait()
    await first.queue.start()
    for number in range(40):
        await first.accept(number=number)
    await first.until(lambda: first.seen)
    await first.close()
    second = await Post.open(tmp_path, first.clock)
    await second.queue.start()
    await second.until(second.empty)
    assert sorted(invocation.request_id for invocation in second.seen) == [f"f-{number:05}" for number in range(40)]
    await second.close()


async def test_an_error_is_tried_twice_again_with_the_same_request_id(post, caplog):
    post.play = lambda invocation: FAILED
    await post.accept()
    for pause, errors in ((60, 1), (120, 2)):
        await post.until(lambda pause=pause: post.off(pause))
        assert (await post.rows())[0][2] == errors
        await post.pass_time(pause - 1)
        await asyncio.sleep(0.01)
        assert len(post.seen) == errors
        await post.pass_time(1)
    await post.until(post.empty)
    assert [invocation.request_id for invocation in post.seen] == ["f-00000"] * 3
    await post.until(lambda: "RetriesExhausted" in caplog.text)


async def test_throttles_go_on_until_the_event_is_too_old(post, caplog):
    def throttle(invocation: Invocation) -> Outcome:
        raise THROTTLED

    post.play = throttle
    post.configs[key(), None] = {"MaximumEventAgeInSeconds": 60}
    await post.accept()
    for pause in (1, 2, 4, 8, 16, 29):
        await post.until(lambda pause=pause: post.off(pause))
        await post.pass_time(pause)
    await post.until(post.empty)
    await post.until(lambda: "EventAgeExceeded" in caplog.text)
    assert len(post.seen) in (6, 7)  # the last chance lies on the very second, which a float may miss


async def test_a_throttled_event_runs_when_there_is_room(post):
    answers = iter([THROTTLED, THROTTLED, Outcome(b"1")])

    def play(invocation: Invocation) -> Outcome:
        answer = next(answers)
        if isinstance(answer, AwsError):
            raise answer
        return answer

    post.play = play
    await post.accept()
    for pause in (1, 2):
        await post.until(lambda pause=pause: post.off(pause))
        await post.pass_time(pause)
    await post.until(post.empty)
    assert len(post.seen) == 3


async def test_an_event_that_has_waited_too_long_does_not_run(tmp_path):
    post = await Post.open(tmp_path)
    post.add("onfailure")
    arn = key("onfailure").arn()
    post.configs[key(), None] = {
        "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": {"OnFailure": {"Destination": arn}},
    }
    await post.accept()
    post.clock.advance(61)
    await post.queue.start()
    await post.until(post.empty)
    [told] = post.seen
    context = orjson.loads(told.payload)["requestContext"]
    assert (context["condition"], context["approximateInvokeCount"]) == ("EventAgeExceeded", 0)
    await post.close()


async def test_nothing_reserved_for_it_ends_an_event_at_once(post, caplog):
    post.reserved[key()] = 0
    await post.accept()
    await post.until(post.empty)
    assert post.seen == []
    await post.until(lambda: "ZeroReservedConcurrency" in caplog.text)


@pytest.mark.parametrize(
    ("outcome", "side"), [(Outcome(b'{"big":12345678901234567890}'), "OnSuccess"), (FAILED, "OnFailure")]
)
async def test_a_function_gets_the_record(post, outcome, side):
    post.add("witness", version="7")
    post.aliases["live"] = "7"
    post.play = lambda invocation: outcome if invocation.function.key == key() else Outcome(b"null")
    post.configs[key(), None] = {
        "MaximumRetryAttempts": 0,
        "DestinationConfig": {side: {"Destination": key("witness").arn("live")}},
    }
    await post.accept(payload={"x": [1.0]})
    await post.until(post.empty)
    told = post.seen[1]
    assert (told.function.version, told.invoked_arn, told.trace) == ("7", key("witness").arn("live"), "Root=1-2-3")
    assert told.request_id != "f-00000"
    failed = outcome is FAILED
    context = {"statusCode": 200, "executedVersion": "$LATEST"} | ({"functionError": "Unhandled"} if failed else {})
    assert orjson.loads(told.payload) == {
        "version": "1.0",
        "timestamp": "2026-11-21T05:04:33.120Z",
        "requestContext": {
            "requestId": "f-00000",
            "functionArn": key().arn("$LATEST"),
            "condition": "RetriesExhausted" if failed else "Success",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"x": [1.0]},
        "responseContext": context,
        "responsePayload": orjson.loads(outcome.payload),
    }
    assert outcome.payload in told.payload  # byte by byte: no number loses a digit


async def test_the_config_of_the_qualifier_applies(post):
    post.add("f", version="1")
    post.aliases["live"] = "1"
    post.play = lambda invocation: FAILED
    post.configs[key(), "live"] = {"MaximumRetryAttempts": 0}
    await post.accept(qualifier="live")
    await post.until(post.empty)
    assert [invocation.function.version for invocation in post.seen] == ["1"]
    await post.accept(number=1, qualifier="1")
    await post.until(lambda: post.off(60))


async def test_an_alias_is_resolved_at_each_try(post):
    post.add("f", version="1")
    post.add("f", version="2")
    post.aliases["live"] = "1"
    post.play = lambda invocation: FAILED
    await post.accept(qualifier="live")
    await post.until(lambda: post.off(60))
    post.aliases["live"] = "2"
    await post.pass_time(60)
    await post.until(lambda: post.off(120))
    assert [invocation.function.version for invocation in post.seen] == ["1", "2"]


async def test_what_cannot_be_delivered_is_said(post, caplog):
    caplog.set_level(logging.WARNING)
    post.add("f", extras={"DeadLetterConfig": {"TargetArn": "arn:aws:sns:us-east-1:000000000000:dead"}})
    post.play = lambda invocation: FAILED
    queue = "arn:aws:sqs:us-east-1:000000000000:q"
    config = {"MaximumRetryAttempts": 0, "DestinationConfig": {"OnFailure": {"Destination": queue}}}
    post.configs[key(), None] = config
    await post.accept()
    await post.until(lambda: caplog.records)
    [record] = caplog.records
    text = record.getMessage()
    assert f"was not sent to {queue}: Lambent has no SQS queues yet" in text
    assert "dead: Lambent has no SNS topics yet" in text


async def test_an_event_for_a_version_that_is_gone_is_dropped(post, caplog):
    await post.accept(qualifier="9")
    await post.until(post.empty)
    await post.until(lambda: "no such function, version or alias" in caplog.text)


async def test_an_event_of_a_tenant_stays_the_tenants(post, caplog):
    post.add("f", extras={"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}})
    await post.accept(tenant="blue")
    await post.until(lambda: post.seen)
    assert post.seen[0].tenant == "blue"
    await post.accept(number=1)
    await post.until(lambda: "for tenants only" in caplog.text)
    assert len(post.seen) == 1


async def test_a_function_takes_its_events_with_it(tmp_path):
    post = await Post.open(tmp_path)
    post.add("g")
    await post.accept("f")
    await post.accept("g")
    await post.db.write(lambda connection: post.queue.let_go(connection, key("g"), "1"))
    await post.db.write(lambda connection: post.queue.let_go(connection, key("f"), None))
    assert [row[0] for row in await post.rows()] == ["g-00000"]
    await post.close()


async def test_a_mistake_of_ours_loses_no_event(post, caplog):
    answers = iter([RuntimeError("a mistake"), Outcome(b"1")])

    def play(invocation: Invocation) -> Outcome:
        answer = next(answers)
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    post.play = play
    await post.accept()
    await post.until(lambda: "could not be delivered" in caplog.text)
    assert len(await post.rows()) == 1
    await post.pass_time(5)
    await post.until(post.empty)


async def test_a_backlog_does_not_starve_others_and_stays_in_the_database(tmp_path):
    post = await Post.open(tmp_path, places=8)
    post.add("quick")
    never = asyncio.Event()
    most = Counter[str]()
    running = Counter[str]()

    async def play(invocation: Invocation) -> Outcome:
        name = invocation.function.key.name
        running[name] += 1
        most[name] = max(most[name], running[name])
        if name == "f":
            await never.wait()
        running[name] -= 1
        return Outcome(b"1")

    post.play = play
    await post.queue.start()
    for number in range(50):
        await post.accept("f", number)
    await post.until(lambda: running["f"] == 4)
    for number in range(30):
        await post.accept("quick", number)
    await post.until(lambda: sum(one.function.key.name == "quick" for one in post.seen) == 30 and not running["quick"])
    assert most["f"] == 4  # half of the places
    never.set()
    await post.until(post.empty)
    assert sorted(Counter(one.request_id for one in post.seen).values()) == [1] * 80
    await post.close()


async def test_no_more_run_than_are_reserved(post):
    post.reserved[key()] = 2
    running = most = 0

    async def play(invocation: Invocation) -> Outcome:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return Outcome(b"1")

    post.play = play
    for number in range(20):
        await post.accept(number=number)
    await post.until(post.empty)
    assert most <= 2


@given(st.lists(st.integers(0, 20), max_size=200), st.integers(1, 128))
def test_places_are_never_given_twice_and_one_is_left_for_a_newcomer(asking, places):
    under_way: Counter[int] = Counter()
    for function in asking:
        free = places - under_way.total()
        granted = share(under_way[function], free, None)
        assert 0 <= granted <= free
        assert granted > 0 or under_way[function] >= free
        under_way[function] += granted
