from __future__ import annotations

import json

import pytest

from lambent.cli import runtimes
from lambent.cli.main import main
from lambent.engine.runtimes import FetchError, Installation, components

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


def test_without_a_server_this_machine_is_looked_at(nobody, tmp_path, capsys):
    assert main(["runtimes", "--json", "--runtimes-dir", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    rows = {row["name"]: row for row in json.loads(shown.out)["runtimes"]}
    assert rows["provided.al2023"]["available"] is True
    assert "no server answers" in shown.err


@pytest.fixture
def registry(monkeypatch):
    """Brings every component as an empty directory with what makes it one."""
    brought = []

    def install(self, component):
        place = self.directory / component.name
        (place / "bin").mkdir(parents=True, exist_ok=True)
        (place / "index.mjs").write_text("")
        node = place / "bin/node"
        node.write_text(f"#!/bin/sh\necho v{component.version}\n")
        node.chmod(0o755)
        brought.append(component.name)
        return True

    monkeypatch.setattr(Installation, "install", install)
    return brought


def test_install_brings_what_is_lacking_and_nothing_twice(registry, tmp_path, capsys):
    arguments = ["runtimes", "install", "nodejs26.x", "--runtimes-dir", str(tmp_path), "--json"]
    assert main(arguments) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["directory"] == str(tmp_path)
    assert answer["runtimes"][0]["available"] is True
    assert registry == ["node-26", "node-client-4"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["runtimes"][0]["changed"] == []
    assert registry == ["node-26", "node-client-4"]


def test_remove_keeps_what_another_runtime_needs(registry, tmp_path, capsys):
    place = ["--runtimes-dir", str(tmp_path)]
    assert main(["runtimes", "install", "nodejs24.x", "nodejs26.x", *place]) == 0
    assert main(["runtimes", "remove", "nodejs26.x", *place]) == 0
    assert not (tmp_path / "node-26").exists()
    assert (tmp_path / "node-client-4").exists()
    assert main(["runtimes", "remove", "nodejs24.x", *place, "--json"]) == 0
    assert not (tmp_path / "node-client-4").exists()
    assert json.loads(capsys.readouterr().out)["runtimes"][0]["available"] is False


def test_what_cannot_be_had_leaves_with_1(monkeypatch, tmp_path, capsys):
    def refuse(self, component):
        raise FetchError("the registry is down")

    monkeypatch.setattr(Installation, "install", refuse)
    assert main(["runtimes", "install", "nodejs26.x", "--runtimes-dir", str(tmp_path)]) == 1
    assert "the registry is down" in capsys.readouterr().err


def test_unknown_names_and_no_names_are_wrong_usage(capsys):
    assert main(["runtimes", "install", "cobol1"]) == 2
    assert "unknown: cobol1" in capsys.readouterr().err
    assert main(["runtimes", "remove"]) == 2


def test_components_of_a_runtime_are_named_once():
    assert [component.name for component in components("nodejs20.x")] == ["node-20", "node-client-3"]
    assert runtimes.Runtimes.names
