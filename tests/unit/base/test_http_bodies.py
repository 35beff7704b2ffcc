"""Bodies on their way, and who holds whom back."""

from __future__ import annotations

import asyncio

import pytest

from lambent.base.http_bodies import BodyLost, BodyStream

MEBI = 1 << 20


class Flow:
    def __init__(self) -> None:
        self.paused = False

    def pause_body(self) -> None:
        self.paused = True

    def resume_body(self) -> None:
        self.paused = False


def opened() -> tuple[BodyStream, Flow]:
    stream, flow = BodyStream(), Flow()
    stream.start(flow)
    return stream, flow


async def test_small_pieces_are_read_together() -> None:
    stream, _ = opened()
    reading = asyncio.ensure_future(stream.read())
    for _ in range(3):
        stream.feed(b"x" * 1000)
        await asyncio.sleep(0)
    assert not reading.done()
    stream.complete()
    assert await reading == b"x" * 3000
    assert await stream.read() == b""


async def test_a_sender_that_is_faster_waits() -> None:
    stream, flow = opened()
    stream.feed(b"x" * (4 * MEBI))
    assert not flow.paused
    stream.feed(b"x")
    assert flow.paused
    assert len(await stream.read()) == 4 * MEBI + 1
    assert not flow.paused


async def test_what_nobody_reads_is_thrown_away() -> None:
    stream, flow = opened()
    stream.feed(b"x" * (5 * MEBI))
    stream.discard()
    assert not flow.paused
    stream.feed(b"x" * (5 * MEBI))
    assert not flow.paused


@pytest.mark.parametrize("early", [True, False])
async def test_a_client_that_leaves(early: bool) -> None:
    stream, _ = opened()
    if early:
        stream.lost()
    reading = asyncio.ensure_future(stream.read())
    await asyncio.sleep(0)
    stream.lost()
    with pytest.raises(BodyLost):
        await reading
