from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.environment import State
from lambent.engine.pool import FINISHING_GRACE, Assign, Evict, Start, View, plan, surplus

NOW = 100.0


def view(id: str, function: str = "a", state: State = State.IDLE, since: float = 50.0) -> View:
    return View(id, function, state, since)


def test_nothing_waits() -> None:
    assert plan([], [view("e1")], 10, NOW) == []


def test_the_most_recently_used_idle_environment_takes_it() -> None:
    environments = [view("old", since=10), view("new", since=90), view("middle", since=50)]
    assert plan(["a"], environments, 10, NOW) == [Assign("new")]


def test_a_live_runtime_is_preferred_to_one_that_must_start_again() -> None:
    environments = [view("parked", since=10), view("stale", state=State.STALE, since=90)]
    assert plan(["a", "a"], environments, 10, NOW) == [Assign("parked"), Assign("stale")]


def test_another_functions_environment_is_never_used() -> None:
    assert plan(["a"], [view("e1", "b")], 10, NOW) == [Start("a")]


def test_an_environment_on_its_way_is_worth_waiting_for() -> None:
    environments = [view("e1", state=State.STARTING), view("e2", state=State.FINISHING, since=NOW)]
    assert plan(["a", "a"], environments, 10, NOW) == []
    assert plan(["a", "a", "a"], environments, 10, NOW) == [Start("a")]


def test_a_runtime_that_stays_away_is_not_waited_for() -> None:
    late = view("e1", state=State.FINISHING, since=NOW - 2 * FINISHING_GRACE)
    assert plan(["a"], [late], 10, NOW) == [Start("a")]


def test_the_budget_holds_and_the_longest_idle_makes_room() -> None:
    environments = [view("e1", "b", since=80), view("e2", "c", since=20), view("e3", "a", State.BUSY)]
    assert plan(["a"], environments, 3, NOW) == [Evict("e2"), Start("a")]
    assert plan(["a"], [view("e3", "a", State.BUSY)], 1, NOW) == []


def test_an_environment_that_somebody_waits_for_is_not_evicted() -> None:
    environments = [view("e1", "b"), view("e2", "a", State.BUSY)]
    assert plan(["a", "b"], environments, 2, NOW) == [Assign("e1")]


def test_surplus_is_what_has_been_idle_too_long() -> None:
    environments = [view("e1", since=10), view("e2", since=95), view("e3", state=State.BUSY, since=1)]
    assert surplus(environments, 60, NOW) == ["e1"]


VIEWS = st.lists(
    st.builds(
        View,
        id=st.uuids().map(str),
        function=st.sampled_from("abc"),
        state=st.sampled_from(State),
        since=st.floats(0, NOW, allow_nan=False),
    ),
    max_size=12,
)


@given(st.lists(st.sampled_from("abc"), max_size=12), VIEWS, st.integers(0, 14))
def test_every_plan_keeps_the_rules(waiting: list[str], environments: list[View], budget: int) -> None:
    by_id = {entry.id: entry for entry in environments}
    actions = plan(waiting, environments, budget, NOW)
    used = [action.id for action in actions if isinstance(action, Assign | Evict)]
    assert len(used) == len(set(used)), "an environment is used once"
    for action in actions:
        if isinstance(action, Assign):
            assert by_id[action.id].state in (State.IDLE, State.STALE)
            assert by_id[action.id].function in waiting
        elif isinstance(action, Evict):
            assert by_id[action.id].state in (State.IDLE, State.STALE)
            assert by_id[action.id].function not in waiting
    starts = sum(isinstance(action, Start) for action in actions)
    evictions = sum(isinstance(action, Evict) for action in actions)
    living = sum(entry.state is not State.DEAD for entry in environments)
    assert starts == 0 or living + starts - evictions <= max(budget, living)
    for function in "abc":
        served = sum(isinstance(a, Start) and a.function == function for a in actions)
        served += sum(isinstance(a, Assign) and by_id[a.id].function == function for a in actions)
        assert served <= waiting.count(function)
