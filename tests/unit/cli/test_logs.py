from __future__ import annotations

import json

from lambent.cli import logs
from lambent.cli.main import main


def page(first: int, *messages: str) -> bytes:
    events = [
        {"sequence": first + number, "timestamp": 1_000 * (first + number), "stream": "s", "message": message}
        for number, message in enumerate(messages)
    ]
    return json.dumps({"events": events, "next": first + len(messages) - 1}).encode()


def test_every_page_is_printed_in_order(script, capsys):
    script.answer(page(1, "one\n", "two\n"))
    script.answer(page(3, "three"))
    script.answer(page(4))
    assert main(["logs", "hello"]) == 0
    assert capsys.readouterr().out == (
        "1970-01-01T00:00:01.000Z one\n1970-01-01T00:00:02.000Z two\n1970-01-01T00:00:03.000Z three\n"
    )
    assert [request.target.partition("after=")[2].partition("&")[0] for request in script.received] == [
        "0",
        "2",
        "3",
    ]


def test_json_prints_one_event_a_line(script, capsys):
    script.answer(page(1, "é\n", "two\n"))
    script.answer(page(3))
    assert main(["logs", "hello", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["message"] for line in lines] == ["é\n", "two\n"]
    assert lines[0]["sequence"] == 1


def test_following_goes_on_after_a_pause_until_ctrl_c(script, capsys, monkeypatch):
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(logs.time, "sleep", pause)
    script.answer(page(1))
    script.answer(page(1, "later"))
    script.answer(page(2))
    assert main(["logs", "hello", "-f"]) == 130
    assert capsys.readouterr().out == "1970-01-01T00:00:01.000Z later\n"


def test_an_empty_log_says_so_beside_the_output(script, capsys):
    script.answer(b'{"events": [], "next": 0}')
    assert main(["logs", "hello"]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "nothing was logged by hello in us-east-1" in shown.err


def test_no_server_leaves_with_3(nobody):
    assert main(["logs", "hello"]) == 3
