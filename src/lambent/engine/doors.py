"""The door of an execution environment: how its function reaches this server's AWS API.

A socket listens inside the environment's own network and is accepted here. So no network device, no port of the machine
and no other environment is within a function's reach, and an environment that never knocks costs one watched socket.
"""

from __future__ import annotations

import asyncio
import socket

from lambent.base.http import Application, HttpServer

CONNECTIONS = 128  # of one environment; SDKs keep 10 to 50 for each client
HELD_BYTES = 128 << 20  # of request bodies that the server holds for one environment: the largest upload, and others


class Doors:
    """What is behind the doors of all environments. Environments may start before it is there."""

    def __init__(self) -> None:
        self._behind: asyncio.Future[tuple[Application, str]] = asyncio.get_running_loop().create_future()

    def lead_to(self, app: Application, url: str) -> None:
        """`app` answers what functions ask; `url` is where those reach it that have no door."""
        self._behind.set_result((app, url))

    async def app(self) -> Application:
        return (await asyncio.shield(self._behind))[0]

    async def url(self) -> str:
        return (await asyncio.shield(self._behind))[1]

    def door(self, listener: socket.socket) -> Door:
        return Door(self, listener)


class Door:
    def __init__(self, doors: Doors, listener: socket.socket) -> None:
        """`listener` stays its sandbox's to close, after `close`."""
        self._doors = doors
        self._listener: socket.socket | None = listener
        self._server: HttpServer | None = None
        self._opening: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(listener, self._knock)

    def _knock(self) -> None:
        """The first connection waits."""
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._opening = self._loop.create_task(self._open(self._listener))

    async def _open(self, listener: socket.socket) -> None:
        app = await self._doors.app()
        self._server = HttpServer(app, max_connections=CONNECTIONS, max_held=HELD_BYTES)
        await self._server.start_on(listener)

    async def close(self) -> None:
        """Cut what is connected."""
        listener, self._listener = self._listener, None
        if listener is not None and self._opening is None:
            self._loop.remove_reader(listener)
        elif self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._server is not None:
            await self._server.stop(0)
