from __future__ import annotations

from lambent.engine.turns import Turns


def test_functions_stand_in_the_order_in_which_they_came() -> None:
    turns = Turns()
    for name in ("a", "b", "a", "c"):
        turns.add("one", name)
    assert list(turns) == ["a", "b", "c"]


def test_whoever_is_served_goes_to_the_back_and_so_does_its_account() -> None:
    turns = Turns()
    turns.add("one", "a")
    turns.add("one", "b")
    turns.add("two", "c")
    turns.served("one", "a")
    assert list(turns) == ["c", "b", "a"]
    turns.served("two", "c")
    assert list(turns) == ["b", "a", "c"]


def test_an_account_without_functions_is_gone() -> None:
    turns = Turns()
    turns.add("one", "a")
    turns.remove("one", "a")
    turns.remove("one", "a")
    turns.served("one", "a")
    assert not turns
    assert list(turns) == []
