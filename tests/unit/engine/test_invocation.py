from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lambent.engine.invocation import TAIL_LIMIT, Tail


@given(st.lists(st.text(max_size=2000), max_size=12))
def test_the_tail_is_the_end_of_everything(lines: list[str]) -> None:
    tail = Tail()
    for line in lines:
        tail.append(line)
    assert tail.content() == "".join(lines).encode()[-TAIL_LIMIT:]
