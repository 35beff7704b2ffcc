from __future__ import annotations

import json

import pytest

from lambent.cli.main import main
from lambent.cli.status import duration

ENVIRONMENT = {
    "id": "0-1f",
    "function": "arn:aws:lambda:us-east-1:000000000000:function:hello:1",
    "version": "1",
    "state": "idle",
    "invocations": 12,
    "memory_mb": 31,
}
STATUS = {
    "version": "0.1.0",
    "pid": 77,
    "uptime_seconds": 3725.4,
    "isolation": "namespaces",
    "functions": 2,
    "environments": [ENVIRONMENT],
}


def test_a_table_of_the_environments(script, capsys):
    script.answer(json.dumps(STATUS).encode())
    assert main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Lambent 0.1.0 at {script.endpoint}, process 77"
    assert lines[1] == "up 1 h 2 min, isolation namespaces"
    assert lines[2] == "2 functions, 1 execution environment"
    assert lines[4].split() == ["ENVIRONMENT", "FUNCTION", "VERSION", "STATE", "INVOCATIONS", "MEMORY"]
    assert lines[5].split() == ["0-1f", "hello", "1", "idle", "12", "31", "MB"]


def test_nothing_running_needs_no_table(script, capsys):
    script.answer(json.dumps(STATUS | {"environments": []}).encode())
    assert main(["status"]) == 0
    assert "ENVIRONMENT" not in capsys.readouterr().out


def test_json_is_the_servers_answer(script, capsys):
    script.answer(json.dumps(STATUS).encode())
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == STATUS


def test_no_server_leaves_with_3(nobody, capsys):
    assert main(["status", "--json"]) == 3
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min"), (3725, "1 h 2 min"), (86400 * 3 + 5, "3 d 5 s")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
