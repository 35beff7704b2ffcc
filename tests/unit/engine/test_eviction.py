from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lambent.base.memory import Reading
from lambent.engine.eviction import Candidate, pressed, victims

GIB = 1 << 30
MIB = 1 << 20


def idle(*functions: str, memory: int = 100 * MIB) -> list[Candidate]:
    return [Candidate(f"e{number}", function, memory) for number, function in enumerate(functions)]


def test_nothing_ends_while_there_is_memory() -> None:
    reading = Reading(total=16 * GIB, available=GIB)
    assert not pressed(reading)
    assert victims(idle("a", "a"), reading) == []


def test_the_longest_idle_end_until_there_is_enough() -> None:
    reading = Reading(total=4 * GIB, available=200 * MIB)  # the reserve is 256 MiB, enough is 384
    assert pressed(reading)
    assert victims(idle("a", "a", "a", "a"), reading) == ["e0", "e1"]


def test_a_functions_last_environment_is_kept_while_others_have_several() -> None:
    reading = Reading(total=4 * GIB, available=100 * MIB)
    assert victims(idle("rare", "busy", "busy", "busy"), reading) == ["e1", "e2", "e0"]


def test_a_machine_that_stalls_for_memory_ends_a_quarter() -> None:
    reading = Reading(total=16 * GIB, available=8 * GIB, stalled=30.0)
    assert pressed(reading)
    assert victims(idle(*"abcdefgh"), reading) == ["e0", "e1"]
    assert victims([], reading) == []


@given(st.lists(st.sampled_from("abc"), max_size=20), st.integers(0, 4 * GIB), st.floats(0, 100))
def test_every_choice_keeps_the_rules(functions: list[str], available: int, stalled: float) -> None:
    candidates = idle(*functions)
    reading = Reading(4 * GIB, available, stalled)
    chosen = victims(candidates, reading)
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= {candidate.id for candidate in candidates}
    assert pressed(reading) or not chosen
    if pressed(reading) and candidates:
        assert chosen
