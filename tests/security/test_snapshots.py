"""The escape attempts again, in environments that were initialised ahead and restored from their snapshot."""

from __future__ import annotations

import inspect
import json
import os
from typing import Any

import pytest
import test_escape

from lambent.engine.runtimes import Missing, Runtimes
from support import create, eventually, invoke

RUNTIME = next(
    (name for name in ("python3.12", "python3.13", "python3.14") if not isinstance(Runtimes().find(name), Missing)), ""
)
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the full wall needs root; see docs/isolation.md"),
    pytest.mark.skipif(not RUNTIME, reason="SnapStart takes Python 3.12 or newer, and this machine has none"),
]
ATTEMPTS = (
    "test_host_files_are_not_there",
    "test_root_file_system_is_read_only",
    "test_only_its_own_processes_are_visible",
    "test_raw_sockets_and_odd_families_are_refused",
    "test_host_network_is_out_of_reach",
    "test_privileges_are_gone",
    "test_nothing_is_inherited",
    "test_fork_bomb_is_bounded",
    "test_tmp_is_bounded_and_does_not_count_as_memory",
)


def restored(client: Any, name: str, body: str, **settings: Any) -> Any:
    """`test_escape.attempt` in a version with SnapStart."""
    indented = "\n".join("    " + line for line in body.strip("\n").splitlines())
    head = "import os, sys, ctypes, errno, socket, json\ndef handler(event, context):\n    answer = None\n"
    code = f"{head}{indented}\n    return answer, os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n"
    snap_start = {"Runtime": RUNTIME, "SnapStart": {"ApplyOn": "PublishedVersions"}}
    create(client, name, code, Timeout=10, **{**settings, **snap_start})
    client.publish_version(FunctionName=name)
    version = {"FunctionName": name, "Qualifier": "1"}
    assert eventually(lambda: client.get_function_configuration(**version)["State"] == "Active", 30)
    answer, response = invoke(client, name, {"data_dir": "x"}, Qualifier="1")
    assert "FunctionError" not in response, answer
    assert answer[1] == "snap-start"
    return answer[0]


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_the_fences_hold(attempt: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(test_escape, "attempt", restored)
    function = getattr(test_escape, attempt)
    function(**{wanted: request.getfixturevalue(wanted) for wanted in inspect.signature(function).parameters})


def test_environments_of_one_version_have_users_and_files_of_their_own(lambda_client: Any, name: str) -> None:
    import concurrent.futures

    body = """
import time
mine = open('/tmp/mine', 'a+')
mine.seek(0)
before = mine.read()
mine.write('here')
mine.flush()
time.sleep(1)
answer = [os.getuid(), before, os.listdir('/tmp')]
"""
    restored(lambda_client, name, body)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        answers = [answer for answer, _ in pool.map(lambda _: invoke(lambda_client, name, Qualifier="1"), range(3))]
    assert len({answer[0][0] for answer in answers}) == 3
    assert all(answer[0][2] == ["mine"] for answer in answers)
    assert sum(answer[0][1] == "" for answer in answers) >= 2  # one may have been used before
    assert json.dumps(answers).count("snap-start") == 3
