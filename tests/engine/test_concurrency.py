"""Reserved and provisioned concurrency with real environments."""

from __future__ import annotations

import concurrent.futures
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from support import Server, create, eventually, invoke

CODE = """
import os, time, uuid
ME = uuid.uuid4().hex
def handler(event, context):
    if event:
        time.sleep(event)
    return {"me": ME, "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]}
"""
BROKEN = "raise RuntimeError('not today')\ndef handler(event, context):\n    pass\n"


def throttled(client: Any, name: str, **members: Any) -> str:
    with pytest.raises(client.exceptions.TooManyRequestsException) as refusal:
        invoke(client, name, **members)
    return str(refusal.value.response["Reason"])


def provision(client: Any, name: str, count: int, qualifier: str = "1") -> dict[str, Any]:
    """Ask for it and wait until it is no longer in progress."""
    target = {"FunctionName": name, "Qualifier": qualifier}
    asked = client.put_provisioned_concurrency_config(**target, ProvisionedConcurrentExecutions=count)
    assert asked["Status"] == "IN_PROGRESS"
    return settled(client, name, qualifier)


def settled(client: Any, name: str, qualifier: str = "1") -> dict[str, Any]:
    def look() -> Any:
        shown = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        return shown if shown["Status"] != "IN_PROGRESS" else None

    found: dict[str, Any] = eventually(look, 30)
    return found


@pytest.fixture
def published(lambda_client: Any, name: str) -> Any:
    create(lambda_client, name, CODE, Publish=True, Timeout=30)
    lambda_client.get_waiter("function_active_v2").wait(FunctionName=name, Qualifier="1")
    return lambda_client


def test_a_reservation_limits_and_nothing_stops_the_function(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, CODE, Timeout=30)
    lambda_client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        reasons = list(pool.map(lambda _: _reason(lambda_client, name, 3), range(4)))
    assert set(reasons) == {None, "ReservedFunctionConcurrentInvocationLimitExceeded"}
    invoke(lambda_client, name)
    lambda_client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    assert throttled(lambda_client, name) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    lambda_client.delete_function_concurrency(FunctionName=name)
    invoke(lambda_client, name)


def _reason(client: Any, name: str, payload: Any) -> str | None:
    """Why an invocation was refused; None when it ran."""
    try:
        invoke(client, name, payload)
    except botocore.exceptions.ClientError as error:
        return str(error.response["Reason"])
    return None


def test_provisioned_environments_take_invocations_and_the_rest_spills_over(published: Any, name: str) -> None:
    ready = provision(published, name, 2)
    assert (ready["Status"], ready["AllocatedProvisionedConcurrentExecutions"]) == ("READY", 2)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        answers = [answer for answer, _ in pool.map(lambda _: invoke(published, name, 2, Qualifier="1"), range(3))]
    assert sorted(answer["kind"] for answer in answers) == ["on-demand", *["provisioned-concurrency"] * 2]
    assert len({answer["me"] for answer in answers}) == 3
    provisioned = {answer["me"] for answer in answers if answer["kind"] == "provisioned-concurrency"}
    assert {invoke(published, name, Qualifier="1")[0]["me"] for _ in range(4)} <= provisioned
    assert invoke(published, name)[0]["kind"] == "on-demand"  # $LATEST has none


def test_what_is_provisioned_uses_up_the_reservation(published: Any, name: str) -> None:
    published.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    assert provision(published, name, 1)["Status"] == "READY"
    assert throttled(published, name) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert invoke(published, name, Qualifier="1")[0]["kind"] == "provisioned-concurrency"


def test_a_function_that_cannot_initialise_fails_with_the_reason(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, BROKEN, Publish=True)
    lambda_client.get_waiter("function_active_v2").wait(FunctionName=name, Qualifier="1")
    failed = provision(lambda_client, name, 1)
    assert (failed["Status"], failed["StatusReason"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE")
    assert failed["AllocatedProvisionedConcurrentExecutions"] == 0


def test_it_moves_with_its_alias(published: Any, name: str) -> None:
    published.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    revision = published.get_function(FunctionName=name, Qualifier="1")["Configuration"]["RevisionId"]
    assert provision(published, name, 1, "live")["Status"] == "READY"
    assert eventually(
        lambda: published.get_function(FunctionName=name, Qualifier="1")["Configuration"]["RevisionId"] != revision
    )
    first = invoke(published, name, Qualifier="live")[0]
    published.update_function_configuration(FunctionName=name, Timeout=9)
    published.get_waiter("function_updated_v2").wait(FunctionName=name)
    published.publish_version(FunctionName=name)
    published.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert settled(published, name, "live")["AvailableProvisionedConcurrentExecutions"] == 1
    second, response = invoke(published, name, Qualifier="live")
    assert (response["ExecutedVersion"], second["kind"]) == ("2", "provisioned-concurrency")
    assert second["me"] != first["me"]
    assert invoke(published, name, Qualifier="1")[0]["kind"] == "on-demand"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server whose idle environments end at once."""
    server = Server(tmp_path / "data", "--idle-timeout", "1", "--max-environments", "4")
    yield server
    server.stop()


def environments(server: Server) -> list[dict[str, Any]]:
    import json
    import urllib.request

    with urllib.request.urlopen(f"{server.endpoint}/_lambent/status") as answer:
        return list(json.loads(answer.read())["environments"])


def test_they_are_kept_replaced_when_lost_and_there_again_after_a_restart(own: Server, name: str) -> None:
    client = own.client()
    create(client, name, CODE.replace("if event:", "if event == 'die': os._exit(3)\n    if event:"), Publish=True)
    client.get_waiter("function_active_v2").wait(FunctionName=name, Qualifier="1")
    assert provision(client, name, 1)["Status"] == "READY"
    me = invoke(client, name, Qualifier="1")[0]["me"]
    invoke(client, name)
    assert eventually(lambda: len(environments(own)) == 1)  # the other has been idle for too long
    assert invoke(client, name, Qualifier="1")[0] == {"me": me, "kind": "provisioned-concurrency"}
    assert invoke(client, name, "die", Qualifier="1")[1]["FunctionError"] == "Unhandled"
    assert eventually(lambda: settled(client, name)["AvailableProvisionedConcurrentExecutions"] == 1)
    replaced = invoke(client, name, Qualifier="1")[0]
    assert replaced["kind"] == "provisioned-concurrency"
    assert replaced["me"] != me
    too_many = provision(client, name, 5)
    assert too_many["Status"] == "FAILED"
    assert "max_environments" in too_many["StatusReason"]
    assert provision(client, name, 2)["Status"] == "READY"
    own.process.send_signal(signal.SIGKILL)
    own._close()
    own.__init__(own.data_dir)  # type: ignore[misc]
    client = own.client()
    assert settled(client, name)["AllocatedProvisionedConcurrentExecutions"] == 2
    assert invoke(client, name, Qualifier="1")[0]["kind"] == "provisioned-concurrency"
    client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    assert eventually(lambda: environments(own) == [])
    assert os.path.isdir(own.data_dir)
