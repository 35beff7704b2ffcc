from __future__ import annotations

import json

from lambent.cli.main import main

READY = {
    "name": "python3.11",
    "available": True,
    "source": "/usr/bin/python3.11",
    "detail": "3.11.2",
    "install": None,
}
ABSENT = {
    "name": "python3.14",
    "available": False,
    "source": None,
    "detail": "no python3.14 interpreter was found",
    "install": "apt-get install python3.14",
}


def test_what_is_there_and_how_to_get_the_rest(script, capsys):
    script.answer(json.dumps({"runtimes": [READY, ABSENT]}).encode())
    assert main(["runtimes"]) == 0
    shown = capsys.readouterr()
    assert [line.split()[:3] for line in shown.out.splitlines()] == [
        ["RUNTIME", "STATE", "SOURCE"],
        ["python3.11", "ready", "/usr/bin/python3.11"],
        ["python3.14", "absent", "-"],
    ]
    assert shown.err == "to add python3.14: apt-get install python3.14\n"


def test_json_is_the_servers_answer(script, capsys):
    script.answer(json.dumps({"runtimes": [READY]}).encode())
    assert main(["runtimes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"runtimes": [READY]}
