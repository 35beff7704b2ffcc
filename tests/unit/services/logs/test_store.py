"""The store on disk: bounds, crashes, restarts."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.services.logs.blocks import Block, decode
from lambent.services.logs.query import Range
from lambent.services.logs.records import Event, GroupKey, GroupRecord, Place
from lambent.services.logs.shelf import Shelf

from .conftest import ACCOUNT, GROUP, REGION, LogsLab

KEY = GroupKey(ACCOUNT, REGION, GROUP)
NOW = 1_800_000_000_000
DAY = 86_400_000


def shelf_at(directory: Path, bound: int = 64 << 20) -> Shelf:
    shelf = Shelf(directory / "logs", bound)
    shelf.open()
    return shelf


def lines(*messages: str, at: int = NOW, first: int = 1, stream: str = "s") -> dict[str, list[tuple[int, int, str]]]:
    return {stream: [(at + n, first + n, message) for n, message in enumerate(messages)]}


def messages(shelf: Shelf, key: GroupKey = KEY, now: int = NOW, **wanted: int) -> list[str]:
    found = shelf.groups[key].source(None, now).scan(Range(**wanted))
    return [event.message for event in found if isinstance(event, Event)]


def files(directory: Path, suffix: str = ".log") -> list[Path]:
    return sorted((directory / "logs").glob(f"*/*{suffix}"))


@given(st.lists(st.tuples(st.integers(0, 1 << 50), st.text()), max_size=5), st.integers(0), st.binary(max_size=30))
def test_blocks_come_back_and_a_torn_one_does_not(events: list[tuple[int, str]], cut: int, rubbish: bytes) -> None:
    block = Block(NOW, {"s": [(at, n, text) for n, (at, text) in enumerate(events)]}, made={"m": 1}, deleted={"d": 2})
    data = block.encode()
    [(end, found)] = decode(data + data[: cut % len(data)])
    assert end == len(data)
    assert list(found.events()) == list(block.events())
    assert (found.made, found.deleted) == (block.made, block.deleted)
    assert [end for end, _block in decode(data + rubbish)] == [len(data)]
    spoilt = bytearray(data)
    spoilt[cut % len(data)] ^= 1
    assert list(decode(bytes(spoilt))) == []


def test_half_a_surrogate_pair_is_no_reason_to_lose_a_line() -> None:
    [(_end, block)] = decode(Block(NOW, {"s": [(NOW, 1, "a\ud800b")]}).encode())
    assert [event.message for event in block.events()] == ["a?b"]


def test_what_was_written_is_there_after_a_crash_and_the_torn_end_is_cut(tmp_path: Path) -> None:
    shelf = shelf_at(tmp_path)
    shelf.write({KEY: lines("a", "b")}, NOW)
    [file] = files(tmp_path)
    whole = file.stat().st_size
    with open(file, "ab") as torn:  # the server was killed in the middle of a write
        torn.write(Block(NOW, lines("lost")).encode()[:-5])
    again = shelf_at(tmp_path)
    assert messages(again) == ["a", "b"]
    assert file.stat().st_size == whole
    again.write({KEY: lines("c", at=NOW + 9, first=9)}, NOW + 9)
    assert messages(shelf_at(tmp_path)) == ["a", "b", "c"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_index_that_is_older_than_its_file_or_spoilt_is_not_believed(tmp_path: Path) -> None:
    shelf = shelf_at(tmp_path)
    shelf.write({KEY: lines("a")}, NOW)
    shelf.close()
    again = shelf_at(tmp_path)
    again.write({KEY: lines("b", at=NOW + 5, first=5)}, NOW)
    assert messages(shelf_at(tmp_path)) == ["a", "b"]
    [index] = files(tmp_path, ".index")
    index.write_text("{}")
    assert messages(shelf_at(tmp_path)) == ["a", "b"]
    assert shelf_at(tmp_path).groups[KEY].sequence == 5


def state(shelf: Shelf) -> tuple[object, ...]:
    group = shelf.groups[KEY]
    return messages(shelf), {name: asdict(stream) for name, stream in group.streams.items()}, group.size


@given(st.lists(st.sampled_from(("print", "make", "delete", "rest", "restart", "spoil")), max_size=25))
def test_what_rests_is_as_if_it_had_been_kept_in_memory(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """The same steps on two shelves, one of which never rests, restarts or finds its indexes damaged."""
    places = [tmp_path_factory.mktemp("shelf") for _ in range(2)]
    shelves = [shelf_at(place) for place in places]
    for number, step in enumerate(["print", *steps]):
        name, at = f"s{number % 3}", NOW + number * DAY // 3
        for place, shelf in enumerate(shelves):
            if step == "print":
                shelf.write({KEY: lines("a", "b", at=at, first=number * 10, stream=name)}, at)
            elif step == "make":
                shelf.append(shelf.groups[KEY], Block(at, made={name: at}))
            elif step == "delete":
                shelf.append(shelf.groups[KEY], Block(at, deleted={name: number * 10}))
            elif step == "rest" and place:
                for _ in range(3):
                    shelf.rest()
            elif step == "spoil" and place:
                for path in files(places[1], ".index"):
                    path.write_bytes(path.read_bytes()[:-7])
            elif step == "restart" and place:
                shelf.close()
                shelves[1] = shelf_at(places[1])
        assert state(shelves[1]) == state(shelves[0])


def test_streams_by_the_thousand_are_not_all_remembered(tmp_path: Path) -> None:
    shelf = shelf_at(tmp_path)
    for number in range(1000):
        shelf.write({KEY: lines("a", first=number, stream=f"s{number}")}, NOW)
    *older, newest = shelf.groups[KEY].segments
    assert [segment._contents for segment in older] == [None] * 3
    for _ in range(3):  # touched, then sealed, then let go
        shelf.rest()
    assert newest._contents is None
    assert len(shelf.groups[KEY].streams) == 1000


def test_the_bound_is_kept_and_the_largest_group_pays(tmp_path: Path) -> None:
    bound = 400_000
    shelf = shelf_at(tmp_path, bound)
    quiet = GroupKey(ACCOUNT, REGION, "quiet")
    shelf.write({quiet: lines("important")}, NOW)
    for turn in range(200):
        shelf.write({KEY: lines(*["x" * 100] * 50, at=NOW + 100 * turn, first=50 * turn)}, NOW + turn)
        assert sum(file.stat().st_size for file in files(tmp_path)) <= bound
    assert messages(shelf, quiet) == ["important"]
    assert 1000 < len(messages(shelf)) < 10_000
    assert messages(shelf_at(tmp_path, bound), quiet) == ["important"]


def test_one_block_that_is_larger_than_the_bound_does_not_stop_the_server(tmp_path: Path) -> None:
    shelf = shelf_at(tmp_path, 10_000)
    shelf.write({KEY: lines("x" * 20_000)}, NOW)
    shelf.write({KEY: lines("y", first=2)}, NOW)
    assert messages(shelf) == ["y"]


def test_retention_hides_at_once_and_removes_whole_segments(tmp_path: Path) -> None:
    shelf = shelf_at(tmp_path)
    group = shelf.make(KEY, GroupRecord(NOW, retention=1))
    shelf.append(group, Block(NOW, made={"asked": NOW}))
    shelf.append(group, Block(NOW, lines("old")))
    shelf.append(group, Block(NOW + DAY + 1, lines("new", at=NOW + DAY + 1, first=2, stream="t")))
    assert messages(shelf, now=NOW + DAY + 1) == ["new"]
    assert len(files(tmp_path)) == 2
    shelf.expire(NOW + DAY + 1)
    assert len(files(tmp_path)) == 1
    assert set(group.streams) == {"asked", "t"}  # what CreateLogStream made outlives its events
    assert set(shelf_at(tmp_path).groups[KEY].streams) == {"asked", "t"}


def test_a_deleted_stream_stays_deleted_and_can_be_made_anew(tmp_path: Path) -> None:
    shelf = shelf_at(tmp_path)
    shelf.write({KEY: lines("a")}, NOW)
    group = shelf.groups[KEY]
    shelf.append(group, Block(NOW, deleted={"s": 1}))
    assert (messages(shelf), group.streams) == ([], {})
    shelf.write({KEY: lines("b", first=2)}, NOW)
    for one in (shelf, shelf_at(tmp_path)):
        assert messages(one) == ["b"]
        assert list(one.groups[KEY].streams) == ["s"]


def test_a_deleted_group_is_gone_also_when_the_crash_came_early(tmp_path: Path) -> None:
    shelf = shelf_at(tmp_path)
    shelf.write({KEY: lines("a")}, NOW)
    path = shelf.groups[KEY].path
    path.rename(path.with_name(".gone-" + path.name))
    assert shelf_at(tmp_path).groups == {}
    assert list((tmp_path / "logs").iterdir()) == []


def test_an_unreadable_group_harms_no_other(tmp_path: Path) -> None:
    shelf = shelf_at(tmp_path)
    other = GroupKey(ACCOUNT, REGION, "other")
    shelf.write({KEY: lines("a"), other: lines("b")}, NOW)
    (shelf.groups[KEY].path / "group.json").write_text("nonsense")
    again = shelf_at(tmp_path)
    assert list(again.groups) == [other]
    again.write({KEY: lines("c")}, NOW)
    assert messages(again) == ["c"]
    assert len(list((tmp_path / "logs").iterdir())) == 3  # nothing was thrown away


def test_a_full_disk_loses_lines_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = shelf_at(tmp_path)
    shelf.write({KEY: lines("a")}, NOW)

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("lambent.services.logs.segments.write_all", full)
        shelf.write({KEY: lines("b", first=2)}, NOW)
    shelf.write({KEY: lines("c", first=3)}, NOW)
    assert messages(shelf) == messages(shelf_at(tmp_path)) == ["a", "c"]


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 20), st.sampled_from("pq")), min_size=1, max_size=4), max_size=8),
    st.integers(0, 20),
    st.integers(0, 20),
    st.sampled_from([None, "p"]),
)
def test_events_come_in_the_order_of_their_times(
    tmp_path_factory: pytest.TempPathFactory,
    blocks: list[list[tuple[int, str]]],
    start: int,
    end: int,
    stream: str | None,
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("shelf") / "logs", 1 << 20)
    shelf._segment = 200
    shelf.open()
    group = shelf.make(KEY, GroupRecord(0))
    everything = []
    for number, block in enumerate(blocks):
        grouped: dict[str, list[tuple[int, int, str]]] = {}
        for at, name in block:
            everything.append((at, len(everything) + 1, name))
            grouped.setdefault(name, []).append((at, len(everything), "m"))
        shelf.append(group, Block(number, grouped))
    source = group.source(None if stream is None else [stream], NOW)
    expected = sorted(one for one in everything if start <= one[0] < end and stream in (None, one[2]))
    wanted = Range(start, end)
    for backwards in (False, True):
        found = [event for event in source.scan(wanted, backwards=backwards) if isinstance(event, Event)]
        ordered = expected[::-1] if backwards else expected
        assert [(event.timestamp, event.sequence, event.stream) for event in found] == ordered
        middle = len(ordered) // 2
        if ordered:
            place = Place(*ordered[middle][:2])
            behind = Range(start, end, before=place) if backwards else Range(start, end, after=place)
            rest = [event.place for event in source.scan(behind, backwards=backwards) if isinstance(event, Event)]
            assert rest == [one[:2] for one in ordered[middle + 1 :]]


@given(st.integers(0, 1 << 60), st.integers(0, 1 << 60))
def test_event_ids_are_56_digits_and_come_back(timestamp: int, sequence: int) -> None:
    text = str(Place(timestamp, sequence))
    assert len(text) == 56
    assert Place.of(text) == (timestamp, sequence)
    assert Place.of(text[1:]) is None


async def test_lines_reach_the_disk_by_themselves(logs: LogsLab) -> None:
    logs.print("a\n", "b\n")
    while not list(logs.directory.glob("*/*.log")):
        await asyncio.sleep(0.01)
    [file] = logs.directory.glob("*/*.log")
    while not file.stat().st_size:
        await asyncio.sleep(0.01)
    [(_end, block)] = decode(file.read_bytes())
    assert [event.message for event in block.events()] == ["a\n", "b\n"]


async def test_two_writers_of_one_stream_lose_nothing(logs: LogsLab) -> None:
    first, second = (logs.store.writer(ACCOUNT, REGION, GROUP, "s") for _ in range(2))
    for number in range(10):
        (first, second)[number % 2](str(number))
    assert await logs.messages() == [str(number) for number in range(10)]


async def test_own_endpoint_reads_on_from_a_sequence_across_a_restart(logs: LogsLab) -> None:
    logs.print(*"abc")
    newest = await logs.store.read(ACCOUNT, REGION, GROUP, 0, 2)
    assert [event.message for event in newest] == ["b", "c"]
    await logs.stop()
    await logs.start()
    logs.print(*"de", stream="t")
    found = await logs.store.read(ACCOUNT, REGION, GROUP, newest[-1].sequence)
    assert [event.message for event in found] == ["d", "e"]
    assert [event.message for event in await logs.store.read(ACCOUNT, REGION, GROUP, found[0].sequence, 1)] == ["e"]
    assert await logs.store.read(ACCOUNT, REGION, "none") == []


async def test_what_the_disk_cannot_take_is_not_hoarded(logs: LogsLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambent.services.logs.store._MOST_WAITING", 100)
    logs.print("x" * 60, "y" * 60, "z" * 30)
    assert await logs.messages() == ["x" * 60, "z" * 30]
    await asyncio.sleep(0)
    logs.print("a" * 90)
    assert (await logs.messages())[-1] == "a" * 90


async def test_nothing_is_lost_when_the_server_stops(logs: LogsLab) -> None:
    logs.print("last words")
    await logs.stop()
    await logs.start()
    assert await logs.messages() == ["last words"]
