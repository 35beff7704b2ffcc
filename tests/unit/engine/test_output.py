from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence

import pytest

from lambent.engine.output import Output


class Pipe:
    def __init__(self) -> None:
        reader, self.writer = os.pipe()
        os.set_blocking(reader, False)
        self.reader = reader
        self.taken: list[str] = []
        self.output = Output(reader, self.taken.extend)

    def close(self) -> None:
        self.output.close()
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
async def pipe() -> AsyncIterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


async def until(condition: list[str], pipe: Pipe) -> None:
    while pipe.taken != condition:
        await asyncio.sleep(0.001)


async def test_lines_arrive_as_they_are_printed(pipe: Pipe) -> None:
    pipe.output.open()
    os.write(pipe.writer, b"one\ntwo\nthr")
    await until(["one\n", "two\n"], pipe)
    os.write(pipe.writer, b"ee\n")
    await until(["one\n", "two\n", "three\n"], pipe)


async def test_draining_takes_the_start_of_a_line_too(pipe: Pipe) -> None:
    os.write(pipe.writer, b"x" * 60_000 + b"\nstart")
    pipe.output.drain()
    assert pipe.taken == ["x" * 60_000 + "\n", "start"]
    pipe.output.drain()
    assert len(pipe.taken) == 2


async def test_a_closed_output_takes_nothing(pipe: Pipe) -> None:
    pipe.output.open()
    pipe.output.close()
    pipe.output.close()
    os.write(pipe.writer, b"late\n")
    await asyncio.sleep(0.01)
    assert pipe.taken == []


async def test_a_pipe_without_writers_is_let_go_of() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    taken: list[str] = []
    output = Output(reader, taken.extend)
    output.open()
    os.write(writer, b"last\n")
    os.close(writer)
    while taken != ["last\n"]:
        await asyncio.sleep(0.001)
    output.drain()
    assert not asyncio.get_running_loop().remove_reader(reader)
    os.close(reader)


async def test_a_process_that_prints_much_is_read_at_a_pace_and_nothing_is_lost(pipe: Pipe) -> None:
    """It arrives in order, with a fraction of the wake-ups; afterwards the pipe is watched again."""
    takes = []

    def take(messages: Sequence[str]) -> None:
        takes.append(len(messages))
        pipe.taken.extend(messages)

    pipe.output = Output(pipe.reader, take)
    pipe.output.open()
    lines = [f"line {number}\n" for number in range(2000)]
    for line in lines:
        os.write(pipe.writer, line.encode())
        await asyncio.sleep(0)
    await until(lines, pipe)
    assert len(takes) < 1000
    while not pipe.output._reading:
        await asyncio.sleep(0.001)
    os.write(pipe.writer, b"later\n")
    await until([*lines, "later\n"], pipe)


async def test_closing_while_it_is_read_at_a_pace(pipe: Pipe) -> None:
    pipe.output.open()
    for _ in range(100):
        os.write(pipe.writer, b"x\n")
        await asyncio.sleep(0)
    pipe.output.close()
    taken = len(pipe.taken)
    os.write(pipe.writer, b"late\n")
    await asyncio.sleep(0.02)
    assert len(pipe.taken) == taken
    pipe.output.open()
    await until([*(["x\n"] * 100), "late\n"], pipe)
