from __future__ import annotations

import json
import socket
import threading

import pytest

from lambent import config
from lambent.base import containers, machine
from lambent.base.machine import MISSING, OK, WEAK, Check
from lambent.cli import doctor
from lambent.cli.main import main
from lambent.engine.runtimes import node


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def sound_machine(monkeypatch):
    monkeypatch.setattr(machine, "sandbox_checks", lambda: [Check("namespaces", OK, "fine")])
    monkeypatch.setattr(containers, "checks", lambda isolation, wanted: [])


@pytest.mark.usefixtures("sound_machine")
def test_a_sound_machine_leaves_with_0(free_port, tmp_path, capsys):
    assert main(["doctor", "--port", str(free_port), "--data-dir", str(tmp_path / "new")]) == 0
    text = capsys.readouterr().out
    assert f"127.0.0.1:{free_port} is free" in text
    assert "`lambent serve` works here" in text
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("sound_machine")
def test_what_is_missing_leaves_with_1_and_says_how_to_mend_it(tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        taken.settimeout(5)
        arguments = ["doctor", "--port", str(port), "--data-dir", str(tmp_path)]

        def hang_up() -> None:
            connection, _address = taken.accept()
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        assert main(arguments) == 1
        thread.join()
    text = capsys.readouterr().out
    assert f"127.0.0.1:{port} is in use by another program" in text
    assert f"to mend it: stop it, or choose another with --port {port + 1}" in text
    assert "cannot start here" in text


@pytest.mark.usefixtures("sound_machine")
def test_a_lambent_on_the_port_is_no_fault(script, tmp_path, capsys):
    script.answer(b'{"version": "0.1.0"}')
    port = script.endpoint.rpartition(":")[2]
    assert main(["doctor", "--port", port, "--data-dir", str(tmp_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["can_serve"] is True
    assert answer["checks"][-1] == {
        "name": "port",
        "status": "ok",
        "detail": f"Lambent 0.1.0 already serves at {script.endpoint}",
        "remedy": None,
    }


@pytest.mark.parametrize(("isolation", "status"), [("auto", MISSING), ("namespaces", MISSING), ("process", WEAK)])
def test_namespaces_block_unless_isolation_was_given_up(monkeypatch, tmp_path, isolation, status):
    broken = [Check("namespaces", MISSING, "no"), Check("kernel", MISSING, "no")]
    monkeypatch.setattr(machine, "sandbox_checks", lambda: broken)
    settings = config.load({"isolation": isolation, "data_dir": tmp_path, "port": 0}, environment={"HOME": "/root"})
    checks = {check.name: check for check in doctor.examine(settings)}
    assert (checks["namespaces"].status, checks["kernel"].status) == (status, MISSING)
    assert ("--isolation process" in (checks["namespaces"].remedy or "")) == (status == MISSING)


def test_weak_points_are_named_and_do_not_block(monkeypatch, free_port, tmp_path, capsys):
    monkeypatch.setattr(machine, "sandbox_checks", lambda: [Check("tmp", WEAK, "in memory", "mend me")])
    assert main(["doctor", "--port", str(free_port), "--data-dir", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "to mend it: mend me" in text
    assert "weaker promises" in text


@pytest.mark.usefixtures("sound_machine")
def test_languages_are_told_and_their_absence_blocks_nothing(monkeypatch, free_port, tmp_path, capsys):
    monkeypatch.setattr(node, "_MACHINE", ())
    monkeypatch.setattr(node, "_VERSIONS", ())
    arguments = ["doctor", "--port", str(free_port), "--data-dir", str(tmp_path)]
    assert main([*arguments, "--json"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["provided"]["status"] == "ok"
    assert checks["nodejs"]["status"] == checks["dotnet"]["status"] == "absent"
    assert checks["nodejs"]["remedy"] == f"lambent runtimes install --runtimes-dir {tmp_path}/runtimes nodejs26.x"
    assert main(arguments) == 0
    assert "to add it: lambent runtimes install" in capsys.readouterr().out
