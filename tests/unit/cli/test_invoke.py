from __future__ import annotations

import base64
import io
import json
import sys

import pytest

from lambent.cli.main import main

LOG = "START RequestId: 1\nEND RequestId: 1\n"


@pytest.fixture
def answering(script):
    script.answer(
        b'{"hello": "Ada"}',
        X_Amz_Executed_Version="$LATEST",
        X_Amz_Log_Result=base64.b64encode(LOG.encode()).decode(),
    )
    return script


def test_the_payload_goes_to_standard_output_alone(answering, capsys):
    assert main(["invoke", "hello", "--payload", '{"name": "Ada"}']) == 0
    assert capsys.readouterr() == ('{"hello": "Ada"}\n', "")
    assert answering.received[0].body == b'{"name": "Ada"}'
    assert answering.received[0].headers["x-amz-log-type"] == "None"


def test_the_tail_goes_to_standard_error(answering, capsys):
    assert main(["invoke", "hello", "--tail"]) == 0
    assert capsys.readouterr() == ('{"hello": "Ada"}\n', LOG)


def test_a_payload_from_a_file(answering, tmp_path):
    (tmp_path / "event.json").write_bytes(b'{"from": "file"}')
    assert main(["invoke", "hello", "--payload", f"@{tmp_path}/event.json"]) == 0
    assert answering.received[0].body == b'{"from": "file"}'


def test_a_payload_file_that_is_absent_is_wrong_usage(answering, capsys):
    assert main(["invoke", "hello", "--payload", "@/nowhere/event.json"]) == 2
    assert "cannot read the payload from /nowhere/event.json" in capsys.readouterr().err
    assert answering.received == []


def test_a_payload_from_standard_input(answering, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"from": "stdin"}')))
    assert main(["invoke", "hello", "--payload", "-"]) == 0
    assert answering.received[0].body == b'{"from": "stdin"}'


def test_json_holds_everything(answering, capsys):
    assert main(["invoke", "hello", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "status_code": 200,
        "executed_version": "$LATEST",
        "function_error": None,
        "payload": {"hello": "Ada"},
        "log": LOG,
    }


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_function_that_failed_leaves_with_1_and_still_shows_its_answer(script, capsys, flags):
    script.answer(b'{"errorMessage": "no"}', X_Amz_Function_Error="Unhandled")
    assert main(["invoke", "hello", *flags]) == 1
    shown = capsys.readouterr()
    assert "errorMessage" in shown.out
    assert flags or "lambent logs hello" in shown.err


def test_a_missing_function_leaves_with_1(script, capsys):
    script.answer(b'{"Message": "Function not found"}', status=404, x_amzn_ErrorType="ResourceNotFoundException")
    assert main(["invoke", "hello"]) == 1
    assert capsys.readouterr() == ("", "error: ResourceNotFoundException: Function not found\n")


def test_no_server_leaves_with_3(nobody, capsys):
    assert main(["invoke", "hello"]) == 3
    assert f"no server listens at {nobody}" in capsys.readouterr().err


def test_bytes_that_are_no_text_pass_unchanged(script, capfdbinary):
    script.answer(b"\xff\x00\n")
    assert main(["invoke", "hello"]) == 0
    assert capfdbinary.readouterr().out == b"\xff\x00\n"


def test_json_of_an_answer_that_is_not_json_is_text(script, capsys):
    script.answer(b"\xffplain")
    assert main(["invoke", "hello", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["payload"] == "�plain"
