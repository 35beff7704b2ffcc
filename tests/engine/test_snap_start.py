"""SnapStart: versions that are initialised when they are published, and restored when they are invoked."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from lambent.engine.runtimes import Missing, Runtimes
from support import Server, create, eventually, invoke

RUNTIME = next(
    (name for name in ("python3.12", "python3.13", "python3.14") if not isinstance(Runtimes().find(name), Missing)), ""
)
pytestmark = pytest.mark.skipif(not RUNTIME, reason="SnapStart takes Python 3.12 or newer, and this machine has none")

CODE = """
import os, random, time, urllib.request, uuid
from snapshot_restore_py import register_after_restore, register_before_snapshot

events = []
STARTED, ME = time.time(), uuid.uuid4().hex

@register_before_snapshot
def before():
    events.append("before")

@register_after_restore
def after():
    events.append("after")

def handler(event, context):
    return {
        "events": events, "started": STARTED, "me": ME, "random": random.random(), "pid": os.getpid(),
        "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "keys": sorted(n for n in os.environ if "KEY" in n),
    }
"""
SNAP_START = {"Runtime": RUNTIME, "SnapStart": {"ApplyOn": "PublishedVersions"}, "Timeout": 30}


def published(client: Any, name: str, code: str = CODE, **settings: Any) -> dict[str, Any]:
    create(client, name, code, **{**SNAP_START, **settings})
    version = client.publish_version(FunctionName=name)
    assert (version["State"], version["SnapStart"]["OptimizationStatus"]) == ("Pending", "On")
    assert active(client, name)
    return dict(client.get_function_configuration(FunctionName=name, Qualifier="1"))


def active(client: Any, name: str) -> bool:
    """The waiter `published_version_active` asks every five seconds."""
    return bool(eventually(lambda: state_of(client, name) == "Active", 30))


def state_of(client: Any, name: str) -> str:
    return str(client.get_function_configuration(FunctionName=name, Qualifier="1")["State"])


def failed(client: Any, name: str, code: str) -> str:
    create(client, name, code, **SNAP_START)
    client.publish_version(FunctionName=name)

    def state() -> Any:
        shown = client.get_function_configuration(FunctionName=name, Qualifier="1")
        return shown if shown["State"] != "Pending" else None

    shown = eventually(state, 20)
    assert (shown["State"], shown["StateReasonCode"]) == ("Failed", "FunctionError")
    return str(shown["StateReason"])


def log_of(server: Server, name: str) -> list[str]:
    import urllib.request

    with urllib.request.urlopen(f"{server.endpoint}/_lambent/logs/{name}") as answer:
        return [event["message"] for event in json.loads(answer.read())["events"]]


@pytest.mark.isolations("namespaces", "crun", "gvisor", "process")
def test_publishing_initialises_and_invoking_restores(server: Server, lambda_client: Any, name: str) -> None:
    shown = published(lambda_client, name)
    assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "Successful")
    log = log_of(server, name)
    assert log[0].startswith("INIT_START Runtime Version: python:")
    assert re.fullmatch(r"INIT_REPORT Init Duration: [\d.]+ ms\n", log[1])
    answer, response = invoke(lambda_client, name, Qualifier="1", LogType="Tail")
    assert (answer["events"], answer["kind"]) == (["before", "after"], "snap-start")
    assert answer["keys"] == []  # credentials come from the endpoint
    tail = base64.b64decode(response["LogResult"]).decode()
    assert re.search(r"\tRestore Duration: [\d.]+ ms\tBilled Restore Duration: \d+ ms\t", tail)
    assert "Init Duration" not in tail
    lines = log_of(server, name)
    start = next(n for n, line in enumerate(lines) if line.startswith("RESTORE_START Runtime Version: python:"))
    assert re.fullmatch(r"RESTORE_REPORT Restore Duration: [\d.]+ ms\n", lines[start + 1])
    assert lines[start + 2].startswith("START RequestId:")
    again = invoke(lambda_client, name, Qualifier="1", LogType="Tail")
    assert again[0]["me"] == answer["me"]
    assert b"Restore Duration" not in base64.b64decode(again[1]["LogResult"])
    assert invoke(lambda_client, name)[0]["kind"] == "on-demand"  # $LATEST has no snapshot


def test_environments_of_one_snapshot_are_not_alike(own: Server, name: str) -> None:
    client = own.client()
    published(client, name, CODE.replace("return {", "time.sleep(1); return {"))
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        answers = [answer for answer, _ in pool.map(lambda _: invoke(client, name, Qualifier="1"), range(3))]
    assert {answer["kind"] for answer in answers} == {"snap-start"}
    assert len({answer["random"] for answer in answers}) == 3
    assert len({answer["pid"] for answer in answers}) == 3  # by which libraries tell that they are in a fork
    assert len({(answer["me"], answer["started"]) for answer in answers}) == 1  # one init phase, as on AWS


def test_credentials_come_from_the_runtime_api_and_are_new(lambda_client: Any, name: str) -> None:
    code = """
import json, os, urllib.error, urllib.request
def fetch(token):
    request = urllib.request.Request(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers={"Authorization": token})
    return json.load(urllib.request.urlopen(request))
EARLY = fetch(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"])
def handler(event, context):
    try:
        fetch("wrong")
    except urllib.error.HTTPError as error:
        refused = error.code
    return {"early": EARLY, "now": fetch(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]), "refused": refused}
"""
    published(lambda_client, name, code)
    answer = invoke(lambda_client, name, Qualifier="1")[0]
    assert set(answer["now"]) == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
    assert answer["now"]["AccessKeyId"].startswith("ASIA")
    assert answer["now"]["AccessKeyId"] != answer["early"]["AccessKeyId"]
    assert answer["refused"] == 404


def test_a_function_that_cannot_initialise_fails_its_version(lambda_client: Any, name: str) -> None:
    reason = failed(lambda_client, name, "raise ValueError('not today')\ndef handler(event, context): pass\n")
    assert "ValueError" in reason
    assert "not today" in reason
    with pytest.raises(botocore.exceptions.ClientError, match="Failed"):
        invoke(lambda_client, name, Qualifier="1")


def test_a_hook_that_fails_before_the_snapshot_fails_the_version(lambda_client: Any, name: str) -> None:
    code = CODE.replace('events.append("before")', "raise ValueError('in the hook')")
    assert "in the hook" in failed(lambda_client, name, code)


def test_a_hook_that_fails_after_the_restore_is_what_the_caller_hears(
    server: Server, lambda_client: Any, name: str
) -> None:
    published(lambda_client, name, CODE.replace('events.append("after")', "raise ValueError('in the hook')"))
    with pytest.raises(lambda_client.exceptions.SnapStartException):
        invoke(lambda_client, name, Qualifier="1")
    expected = r"RESTORE_REPORT Restore Duration: [\d.]+ ms\tStatus: error\tError Type: Runtime.AfterRestoreError\n"
    assert any(re.fullmatch(expected, line) for line in log_of(server, name))


def test_a_version_that_is_being_made_is_not_ready(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, "import time\ntime.sleep(2)\ndef handler(event, context): return 1\n", **SNAP_START)
    lambda_client.publish_version(FunctionName=name)
    with pytest.raises(lambda_client.exceptions.SnapStartNotReadyException):
        invoke(lambda_client, name, Qualifier="1")
    assert active(lambda_client, name)
    assert invoke(lambda_client, name, Qualifier="1")[0] == 1


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data")
    yield server
    if server.process.poll() is None:
        server.stop()


def waiting(server: Server) -> int:
    import urllib.request

    with urllib.request.urlopen(f"{server.endpoint}/_lambent/status") as answer:
        return sum(environment["state"] == "frozen" for environment in json.loads(answer.read())["environments"])


def test_publishing_goes_on_after_kill_and_snapshots_are_there_again(own: Server, tmp_path: Path, name: str) -> None:
    client = own.client()
    create(client, name, "import time\ntime.sleep(1)\ndef handler(event, context): return 1\n", **SNAP_START)
    client.publish_version(FunctionName=name)
    own.kill()
    second = Server(tmp_path / "data")
    client = second.client()
    assert active(client, name)
    assert invoke(client, name, Qualifier="1")[0] == 1
    second.kill()
    third = Server(tmp_path / "data")
    try:
        assert eventually(lambda: waiting(third) == 1)
        assert invoke(third.client(), name, Qualifier="1")[0] == 1
        third.client().delete_function(FunctionName=name, Qualifier="1")
        assert eventually(lambda: waiting(third) == 0)
    finally:
        third.stop()


def test_runtimes_and_storage_that_aws_has_no_snapshots_for_are_refused(lambda_client: Any, name: str) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match=r"python3\.11 is not supported for SnapStart enabled"):
        create(lambda_client, name, CODE, **{**SNAP_START, "Runtime": "python3.11"})
    with pytest.raises(botocore.exceptions.ClientError, match="ephemeral storage"):
        create(lambda_client, name, CODE, EphemeralStorage={"Size": 513}, **SNAP_START)
