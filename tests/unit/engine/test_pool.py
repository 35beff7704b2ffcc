from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.pool import Demand, Evict, Start, gives_way, plan

PLENTY = {"python3.11": 100, "nodejs20.x": 100}


def demand(function: str = "a", short: int = 1, account: str = "one", runtime: str = "python3.11") -> Demand:
    return Demand(function, account, runtime, short)


def test_nothing_is_short() -> None:
    assert plan([], room=10, creations=PLENTY, idle=["e1"]) == []
    assert plan([demand(short=0)], room=10, creations=PLENTY, idle=["e1"]) == []


def test_each_waiting_invocation_gets_an_environment() -> None:
    assert plan([demand(short=3)], room=10, creations=PLENTY, idle=[]) == [Start("a")] * 3


def test_functions_take_turns() -> None:
    actions = plan([demand("a", 1000), demand("b", 2)], room=5, creations=PLENTY, idle=[])
    assert actions == [Start("a"), Start("b"), Start("a"), Start("b"), Start("a")]


def test_accounts_take_turns_before_functions_do() -> None:
    demands = [demand("a", 9), demand("b", 9), demand("c", 9, account="two")]
    actions = plan(demands, room=4, creations=PLENTY, idle=[])
    assert actions == [Start("a"), Start("c"), Start("b"), Start("c")]


def test_the_longest_idle_makes_room_once_there_is_none() -> None:
    actions = plan([demand("a", 3)], room=1, creations=PLENTY, idle=["oldest", "newer"])
    assert actions == [Start("a"), Evict("oldest"), Start("a"), Evict("newer"), Start("a")]
    assert plan([demand("a", 3)], room=0, creations=PLENTY, idle=[]) == []


def test_only_so_many_sandboxes_of_a_runtime_are_made_at_once() -> None:
    demands = [demand("a", 5), demand("b", 5, runtime="nodejs20.x")]
    actions = plan(demands, room=100, creations={"python3.11": 1, "nodejs20.x": 2}, idle=[])
    assert actions == [Start("a"), Start("b"), Start("b")]
    assert plan(demands, room=0, creations={"python3.11": 0, "nodejs20.x": 0}, idle=["e1"]) == []


DEMANDS = st.lists(
    st.builds(
        Demand,
        function=st.uuids().map(str),
        account=st.sampled_from(["one", "two", "three"]),
        runtime=st.sampled_from(sorted(PLENTY)),
        short=st.integers(0, 5),
    ),
    max_size=8,
)


@given(DEMANDS, st.integers(-1, 20), st.integers(0, 5), st.integers(0, 9), st.integers(0, 9))
def test_every_plan_keeps_the_rules(demands: list[Demand], room: int, idle: int, pythons: int, nodes: int) -> None:
    creations = {"python3.11": pythons, "nodejs20.x": nodes}
    victims = [f"e{number}" for number in range(idle)]
    actions = plan(demands, room=room, creations=creations, idle=victims)
    starts = Counter(action.function for action in actions if isinstance(action, Start))
    evicted = [action.id for action in actions if isinstance(action, Evict)]
    known = {entry.function: entry for entry in demands}
    assert evicted == victims[: len(evicted)]
    assert sum(starts.values()) <= max(0, room) + len(evicted)
    assert all(count <= known[function].short for function, count in starts.items())
    for runtime, most in creations.items():
        assert sum(count for function, count in starts.items() if known[function].runtime == runtime) <= most
    room_left = max(0, room) + idle - sum(starts.values())
    for entry in demands:  # whoever got less than it wanted: because something had run out
        of_runtime = sum(count for function, count in starts.items() if known[function].runtime == entry.runtime)
        if starts[entry.function] < entry.short:
            assert room_left <= 0 or creations[entry.runtime] == of_runtime


@given(DEMANDS, st.integers(1, 20))
def test_no_account_waits_while_another_gets_its_second_turn(demands: list[Demand], room: int) -> None:
    actions = plan(demands, room=room, creations=PLENTY, idle=[])
    known = {entry.function: entry for entry in demands}
    got = Counter(known[action.function].account for action in actions if isinstance(action, Start))
    wanted: Counter[str] = Counter()
    for entry in demands:
        wanted[entry.account] += entry.short
    for account in wanted:
        if got[account] < wanted[account]:
            assert all(count <= got[account] + 1 for count in got.values())


def test_the_larger_gives_way_to_the_smaller_until_they_are_even() -> None:
    assert gives_way(10, 0, room=0)
    assert gives_way(10, 8, room=0)
    assert not gives_way(10, 9, room=0)
    assert not gives_way(1, 0, room=0), "one for one: nothing is won"
    assert not gives_way(10, 0, room=1)
