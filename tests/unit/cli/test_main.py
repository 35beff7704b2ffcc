from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lambent import __version__
from lambent.cli import main as main_module
from lambent.cli.main import COMMANDS, main


def test_no_command_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_an_unknown_command_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["invok"])
    assert caught.value.code == 2
    assert "invoke" in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself_with_examples(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert f"lambent {command}" in text.partition("examples:")[2]


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"serve"}))
def test_every_command_a_script_would_read_has_json(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "--json" in capsys.readouterr().out


def test_the_version_flag(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"lambent {__version__}\n"


def test_a_wrong_setting_is_explained_without_a_traceback(monkeypatch, capsys):
    monkeypatch.setenv("LAMBENT_PRT", "1")
    assert main(["status"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: unknown environment variable 'LAMBENT_PRT'")
    assert "Traceback" not in error


def test_ctrl_c_leaves_with_130_and_in_silence(monkeypatch, capsys):
    class Interrupted:
        def add_parser(self, subparsers):
            subparsers.add_parser("wait")

        def run(self, arguments):
            raise KeyboardInterrupt

    monkeypatch.setitem(main_module.COMMANDS, "wait", Interrupted())
    assert main(["wait"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_leaves_early_gets_no_traceback(script):
    events = b",".join(
        b'{"sequence": 1, "timestamp": 0, "stream": "s", "message": "%s"}' % (b"x" * 500) for _ in range(2000)
    )
    script.answer(b'{"events": [' + events + b'], "next": 1}')
    process = subprocess.Popen(
        [sys.executable, "-m", "lambent", "logs", "hello"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"AWS_ENDPOINT_URL": script.endpoint},
    )
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 1
