from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lambent.engine.telemetry_buffer import RECORD_LIMIT, Allowance, Batch, Buffer, Buffering

SMALL = Buffering(max_items=3, max_bytes=100, timeout=0.5)


def buffer(limit: int = 1000) -> Buffer:
    return Buffer(SMALL, Allowance(limit))


def test_a_batch_is_due_some_time_after_its_first_record() -> None:
    waiting = buffer()
    assert waiting.due() is None
    assert waiting.take() is None
    waiting.add(b"a", 10.0)
    waiting.add(b"b", 10.4)
    assert waiting.due() == 10.5
    assert waiting.take() == Batch([b"a", b"b"], 2)
    assert waiting.due() is None


def test_a_batch_is_due_at_once_when_it_is_full() -> None:
    by_number, by_size = buffer(), buffer()
    for _ in range(3):
        by_number.add(b"x", 10.0)
    assert by_number.due() == 0.0
    by_size.add(b"x" * 100, 10.0)
    assert by_size.due() == 0.0


def test_a_batch_is_bounded_and_the_rest_stays() -> None:
    waiting = buffer()
    for number in range(5):
        assert waiting.add(b"x" * 40, float(number))
    assert waiting.take() == Batch([b"x" * 40] * 2, 80)
    assert waiting.due() == 0.0  # three are left
    assert waiting.take() == Batch([b"x" * 40] * 2, 80)
    assert waiting.due() == 4.5


def test_one_record_larger_than_a_batch_travels_alone() -> None:
    waiting = buffer()
    waiting.add(b"x" * 150, 0.0)
    waiting.add(b"y", 0.0)
    batch = waiting.take()
    assert batch is not None
    assert batch.size == 150


def test_what_finds_no_room_is_dropped_and_counted() -> None:
    waiting = buffer()
    kept = [waiting.add(b"x" * 30, 0.0) for _ in range(8)]
    assert kept == [True] * 6 + [False] * 2
    batch = waiting.take()
    assert batch is not None
    assert (batch.dropped_records, batch.dropped_bytes) == (2, 60)
    following = waiting.take()
    assert following is not None
    assert following.dropped_records == 0


def test_allowances_are_shared() -> None:
    everybody = Allowance(100)
    one, other = Buffer(SMALL, Allowance(80, everybody)), Buffer(SMALL, Allowance(80, everybody))
    assert one.add(b"x" * 70, 0.0)
    assert not one.add(b"x" * 20, 0.0), "more than its own"
    assert not other.add(b"x" * 40, 0.0), "more than is left for all"
    assert other.add(b"x" * 30, 0.0)
    batch = one.take()
    assert batch is not None
    assert not other.add(b"x", 0.0), "what is on its way counts"
    one.release(batch)
    assert other.add(b"x" * 50, 0.0)
    other.clear()
    assert one.add(b"x" * 80, 0.0)


@given(st.lists(st.binary(max_size=60), max_size=60))
@settings(deadline=None)
def test_records_keep_their_order_and_none_is_lost_unseen(records: list[bytes]) -> None:
    waiting = buffer()
    kept = [record for record in records if waiting.add(record, 0.0)]
    taken: list[bytes] = []
    dropped = 0
    while (batch := waiting.take()) is not None:
        assert len(batch.records) <= SMALL.max_items
        assert batch.size <= SMALL.max_bytes or len(batch.records) == 1
        taken += batch.records
        dropped += batch.dropped_records
    assert taken == kept
    assert dropped == len(records) - len(kept) or not kept


class Bounded(RuleBasedStateMachine):
    """Whatever comes in whatever order, no more is held than is allowed, and all of it is given back."""

    def __init__(self) -> None:
        super().__init__()
        self.everybody = Allowance(400)
        self.buffers = [Buffer(SMALL, Allowance(300, self.everybody)) for _ in range(3)]
        self.on_their_way: list[tuple[Buffer, Batch]] = []
        self.now = itertools.count()

    @rule(index=st.integers(0, 2), size=st.integers(0, 120))
    def add(self, index: int, size: int) -> None:
        self.buffers[index].add(b"x" * size, float(next(self.now)))

    @rule(index=st.integers(0, 2))
    def take(self, index: int) -> None:
        if (batch := self.buffers[index].take()) is not None:
            self.on_their_way.append((self.buffers[index], batch))

    @rule()
    def arrive(self) -> None:
        if self.on_their_way:
            owner, batch = self.on_their_way.pop(0)
            owner.release(batch)

    @rule(index=st.integers(0, 2))
    def clear(self, index: int) -> None:
        self.buffers[index].clear()

    @invariant()
    def held_is_bounded(self) -> None:
        waiting = [sum(len(record) for record, _time in held._records) for held in self.buffers]
        assert all(size <= RECORD_LIMIT * SMALL.max_bytes for size in waiting)
        held = sum(waiting) + sum(batch.size for _owner, batch in self.on_their_way)
        assert held <= 400
        assert self.everybody._left == 400 - held


TestBounded = Bounded.TestCase
TestBounded.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
