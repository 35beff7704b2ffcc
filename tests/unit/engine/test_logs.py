from __future__ import annotations

import itertools
import struct

from hypothesis import given
from hypothesis import strategies as st

from lambent.base.clock import SystemClock
from lambent.engine.logs import LINE_LIMIT, LineAssembler, LogBook


def frame(message: str, level: int = 3) -> bytes:
    encoded = message.encode()
    return b"\xa5\x5a\x00" + bytes([level]) + struct.pack(">IQ", len(encoded), 1_700_000_000_000_000) + encoded


def assemble(*chunks: bytes) -> list[str]:
    lines = LineAssembler()
    found = [message for chunk in chunks for message in lines.feed(chunk)]
    rest = lines.flush()
    return found if rest is None else [*found, rest]


def test_lines_keep_their_newline_and_only_newlines_end_them() -> None:
    assert assemble(b"multi\nline\nanother\rline\n") == ["multi\n", "line\n", "another\rline\n"]


def test_a_line_may_arrive_in_pieces() -> None:
    assert assemble(b"on", b"e\ntw", b"o") == ["one\n", "two"]


def test_frames_and_text_share_the_pipe_in_order() -> None:
    message = "[ERROR] Boom\nTraceback (most recent call last):\n\u00a0\u00a0File"
    assert assemble(b"before\n" + frame(message) + b"after\n") == ["before\n", message + "\n", "after\n"]


def test_a_frame_cuts_a_line_without_an_end() -> None:
    assert assemble(b"half" + frame("whole")) == ["half", "whole\n"]


def test_bytes_that_are_not_utf8_become_replacement_characters() -> None:
    assert assemble(b"\xff\n") == ["\ufffd\n"]


def test_an_endless_line_is_cut() -> None:
    parts = assemble(b"x" * (LINE_LIMIT + 10))
    assert [len(part) for part in parts] == [LINE_LIMIT, 10]


PIECES = st.lists(
    st.one_of(
        st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=30).map(
            lambda t: (t + "\n", (t + "\n").encode())
        ),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=30).map(
            lambda t: (t.removesuffix("\n") + "\n", frame(t))
        ),
    ),
    max_size=8,
)


@given(PIECES, st.lists(st.integers(0, 400), max_size=6))
def test_any_cut_gives_the_same_messages(pieces: list[tuple[str, bytes]], cuts: list[int]) -> None:
    data = b"".join(encoded for _text, encoded in pieces)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    chunks = [data[start:end] for start, end in itertools.pairwise(places)]
    assert assemble(*chunks) == [text for text, _encoded in pieces]


def test_the_book_is_bounded_and_read_by_sequence() -> None:
    book = LogBook(SystemClock(), events=3)
    write = book.writer("000000000000", "us-east-1", "/aws/lambda/f", "stream")
    for number in range(5):
        write(f"{number}\n")
    events = book.read("000000000000", "us-east-1", "/aws/lambda/f")
    assert [event.message for event in events] == ["2\n", "3\n", "4\n"]
    newer = book.read("000000000000", "us-east-1", "/aws/lambda/f", after=events[0].sequence, limit=1)
    assert [event.message for event in newer] == ["3\n"]
    assert book.read("111111111111", "us-east-1", "/aws/lambda/f") == []


def test_a_forged_frame_cannot_make_the_server_hoard() -> None:
    forged = b"\xa5\x5a\x00\x03" + b"\xff\xff\xff\xff" + bytes(8)
    lines = LineAssembler()
    found = list(lines.feed(forged))
    for _ in range(100):
        found += lines.feed(b"x" * 65536)
    assert len(lines._buffer) <= LINE_LIMIT
    assert sum(map(len, found)) >= 99 * 65536 - LINE_LIMIT


def test_the_size_of_a_group_and_of_all_is_bounded() -> None:
    book = LogBook(SystemClock(), group=100, everything=250)
    for name in ("a", "b", "c", "d"):
        write = book.writer("000000000000", "us-east-1", name, "stream")
        for _ in range(5):
            write("x" * 30)
    kept = {name: len(book.read("000000000000", "us-east-1", name)) for name in "abcd"}
    assert kept == {"a": 0, "b": 0, "c": 3, "d": 3}
    book.writer("000000000000", "us-east-1", "huge", "stream")("x" * 1000)
    assert len(book.read("000000000000", "us-east-1", "huge")) == 1
