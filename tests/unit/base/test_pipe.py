"""A streamed response between the Runtime API and its reader."""

from __future__ import annotations

import asyncio

from lambent.base.pipe import Pipe


class Flow:
    def __init__(self) -> None:
        self.paused = False

    def pause_body(self) -> None:
        self.paused = True

    def resume_body(self) -> None:
        self.paused = False


def opened(window: int = 10) -> tuple[Pipe, Flow]:
    pipe, flow = Pipe(window), Flow()
    pipe.start(flow)
    return pipe, flow


async def test_pieces_come_out_together_and_in_order() -> None:
    pipe, _flow = opened()
    pipe.feed(b"a")
    pipe.feed(b"b")
    assert await pipe.read() == b"ab"
    reading = asyncio.ensure_future(pipe.read())
    await asyncio.sleep(0)
    assert not reading.done()
    pipe.feed(b"c")
    assert await reading == b"c"
    pipe.feed(b"d")
    pipe.end()
    assert [await pipe.read(), await pipe.read(), await pipe.read()] == [b"d", b"", b""]


async def test_a_full_window_stops_the_function() -> None:
    pipe, flow = opened(window=10)
    pipe.feed(b"x" * 10)
    assert not flow.paused
    pipe.feed(b"x")
    assert flow.paused
    assert await pipe.read() == b"x" * 11
    assert not flow.paused


async def test_without_a_reader_everything_passes() -> None:
    pipe, flow = opened(window=10)
    pipe.feed(b"x" * 11)
    pipe.discard()
    assert not flow.paused
    pipe.feed(b"x" * 100)
    assert not flow.paused
    pipe.end()
    assert await pipe.read() == b""


async def test_broken_off_is_not_the_end() -> None:
    pipe, flow = opened(window=1)
    pipe.feed(b"ab")
    pipe.lost()
    assert await pipe.read() == b"ab"
    assert flow.paused  # a connection that is gone is not told anything
    reading = asyncio.ensure_future(pipe.read())
    await asyncio.sleep(0)
    assert not reading.done()
    pipe.end()
    assert await reading == b""


async def test_a_response_that_never_begins_has_an_end() -> None:
    pipe = Pipe()
    waiting = asyncio.ensure_future(pipe.ready())
    await asyncio.sleep(0)
    pipe.end()
    await waiting
    assert not pipe.started
