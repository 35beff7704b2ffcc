"""Invocations whose response is passed on while the function still runs: what InvokeWithResponseStream answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from lambent.base.pipe import WINDOW, Pipe
from lambent.engine.invocation import Invocation, Outcome
from lambent.engine.invoker import Invoker


class ResponseStreams:
    """Runs invocations in tasks of their own: a client that leaves does not stop a function that has begun."""

    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker
        self._running: set[asyncio.Task[Outcome]] = set()

    async def run(self, invocation: Invocation) -> Events:
        """Start `invocation` and wait until its response begins. AwsError when the platform refuses."""
        pipe = invocation.pipe = Pipe()
        task = asyncio.get_running_loop().create_task(self._invoker.invoke(invocation))
        self._running.add(task)

        def ended(task: asyncio.Task[Outcome]) -> None:
            self._running.discard(task)
            if not task.cancelled():
                task.exception()  # whoever still listens gets it by awaiting the task
            pipe.end()

        task.add_done_callback(ended)
        try:
            await pipe.ready()
            if task.done():
                task.result()
        except asyncio.CancelledError:
            if invocation.started:
                pipe.discard()
            else:
                task.cancel()
            raise
        return Events(invocation, pipe, task)


class Events:
    """The response of one invocation: `PayloadChunk`s, then `InvokeComplete`."""

    def __init__(self, invocation: Invocation, pipe: Pipe, task: asyncio.Task[Outcome]) -> None:
        self._invocation = invocation
        self._pipe = pipe
        self._task = task

    async def __aiter__(self) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        while data := await self._pipe.read():
            yield "PayloadChunk", {"Payload": data}
        outcome = self._task.result()
        complete: dict[str, Any] = {}
        if outcome.function_error is not None:
            complete["ErrorCode"] = outcome.function_error
            complete["ErrorDetails"] = outcome.payload.decode(errors="replace")
        else:  # the response of a runtime that does not stream
            for start in range(0, len(outcome.payload), WINDOW):
                yield "PayloadChunk", {"Payload": outcome.payload[start : start + WINDOW]}
        if self._invocation.tail is not None:
            complete["LogResult"] = self._invocation.tail.encoded()
        yield "InvokeComplete", complete

    async def aclose(self) -> None:
        """Nobody listens any more."""
        self._pipe.discard()
