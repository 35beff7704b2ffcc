"""The door of an execution environment: how its function reaches this server's AWS API.

A socket listens inside the environment's own network and is accepted here. So no network device, no port of the machine
and no other environment is within a function's reach, and an environment that never knocks costs one watched socket.
"""

from __future__ import annotations

import asyncio
import resource
import socket

from lambent.base.http import Application, HttpServer
from lambent.base.http_connection import Connection

CONNECTIONS = 128  # of one environment; SDKs keep 10 to 50 for each client
HELD_BYTES = 128 << 20  # of request bodies that the server holds for one environment: the largest upload, and others
HELD_BYTES_ALL = 512 << 20  # for all of them


class Doors:
    """What is behind the doors of all environments. Environments may start before it is there."""

    def __init__(self) -> None:
        self.connected = 0  # of all environments
        self.held = 0  # bytes, likewise
        self.most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2  # connections: the others are the server's
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


class _Server(HttpServer):
    """Within its environment's bounds and those of all."""

    def __init__(self, app: Application, doors: Doors) -> None:
        super().__init__(app, max_connections=CONNECTIONS, max_held=HELD_BYTES)
        self._doors = doors

    def hold(self, size: int) -> bool:
        if self._doors.held + size > HELD_BYTES_ALL or not super().hold(size):
            return False
        self._doors.held += size
        return True

    def let_go(self, size: int) -> None:
        super().let_go(size)
        self._doors.held -= size

    def opened(self, connection: Connection) -> None:
        self._doors.connected += 1
        super().opened(connection)
        if self._doors.connected > self._doors.most:
            connection.abort()

    def lost(self, connection: Connection) -> None:
        self._doors.connected -= 1
        super().lost(connection)


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
        self._server = _Server(app, self._doors)
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
