from __future__ import annotations

import io

from lambent.cli import terminal


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_only_where_a_terminal_takes_it(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.paint("ok", "green", Screen()) == "\033[32mok\033[0m"
    assert terminal.paint("ok", "green", io.StringIO()) == "ok"
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal.paint("ok", "green", Screen()) == "ok"


def test_columns_are_as_wide_as_their_widest_cell():
    text = terminal.table(("A", "LONGER"), [("value", "x"), ("", "")])
    assert text.split("\n") == ["A      LONGER", "value  x", ""]


def test_a_table_of_nothing_is_its_head():
    assert terminal.table(("A", "B"), []) == "A  B"
