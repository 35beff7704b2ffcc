"""The queue over a real database and a fake clock, with functions that the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson

from lambent.base.db import SqliteDatabase, migrate
from lambent.control.records import LATEST, Function, FunctionKey
from lambent.engine.invocation import Invocation, Outcome
from lambent.sources import event_store
from lambent.sources.delivery import Delivery
from lambent.sources.event_queue import EventQueue
from lambent.testing import FakeClock

from ..engine.factory import make_function

FAILED = Outcome(b'{"errorMessage": "no", "errorType": "E"}', "Unhandled", None, "error")


def key(name: str = "f") -> FunctionKey:
    return FunctionKey("000000000000", "us-east-1", name)


class Post:
    """Open it with `await Post.open(path)`. `play` answers invocations, or raises."""

    def __init__(self, path: Path, clock: FakeClock, places: int) -> None:
        self.path, self.clock, self.places = path, clock, places
        self.db = SqliteDatabase(path / "events.db")
        self.functions: dict[FunctionKey, dict[str, Function]] = {}
        self.aliases: dict[str, str] = {}
        self.reserved: dict[FunctionKey, int] = {}
        self.configs: dict[tuple[FunctionKey, str | None], dict[str, Any]] = {}
        self.seen: list[Invocation] = []
        self.play: Callable[[Invocation], Any] = lambda invocation: Outcome(b'"done"')
        limits: Any = SimpleNamespace(reserved=self.reserved.get)
        store: Any = SimpleNamespace(serving=self._serving, get=self._get)
        aliases: Any = SimpleNamespace(route=lambda key, name: self.aliases.get(name))
        configs: Any = SimpleNamespace(applying=lambda connection, *target: self.configs.get(target, {}))
        delivery = Delivery(self.db, store, aliases, configs, limits, self._invoke, clock)
        self.queue = EventQueue(self.db, delivery, limits, clock, places=places)

    @classmethod
    async def open(cls, path: Path, clock: FakeClock | None = None, places: int = 128) -> Post:
        post = cls(path, clock or FakeClock(), places)
        await migrate(post.db, event_store.MIGRATIONS)
        post.add("f")
        return post

    def add(self, name: str, **settings: Any) -> None:
        function = make_function(name, **settings)
        self.functions.setdefault(function.key, {})[function.version] = function

    def _serving(self, key: FunctionKey, version: str | None = None) -> Function | None:
        return self.functions.get(key, {}).get(version or LATEST)

    async def _get(self, key: FunctionKey, version: str) -> Function | None:
        return self._serving(key, version)

    async def _invoke(self, invocation: Invocation) -> Outcome:
        self.seen.append(invocation)
        answer = self.play(invocation)
        return await answer if asyncio.iscoroutine(answer) else answer

    async def accept(
        self, name: str = "f", number: int = 0, qualifier: str | None = None, payload: Any = None, tenant: Any = None
    ) -> str:
        request_id = f"{name}-{number:05}"
        content = orjson.dumps(payload if payload is not None else {"number": number})
        await self.queue.accept(request_id, key(name), qualifier, content, "Root=1-2-3", tenant)
        return request_id

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.queue.wake()

    async def rows(self) -> list[Any]:
        query = "SELECT request_id, due, errors, refusals FROM async_events ORDER BY request_id"
        return await self.db.read(lambda connection: connection.execute(query))

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for what other tasks bring about; fails after a while."""
        async with asyncio.timeout(20):
            while True:
                answer = condition()
                if await answer if asyncio.iscoroutine(answer) else answer:
                    return
                await asyncio.sleep(0.002)

    async def empty(self) -> bool:
        return not await self.rows()

    async def off(self, due: float) -> bool:
        """Whether the only event waits for `due`, seconds from now."""
        rows = await self.rows()
        return len(rows) == 1 and abs(rows[0][1] - self.clock.time() - due) < 0.01

    async def close(self) -> None:
        await self.queue.stop()
        await self.db.close()
