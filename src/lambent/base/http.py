"""An HTTP/1.1 server on asyncio and httptools: the public endpoint, and the Runtime API of every environment.

Made for two things that frameworks are not: an invoke path where the server itself costs next to nothing, and
requests that stay parked for hours without a task. Requests of one connection are handled one after another.
"""

from __future__ import annotations

import asyncio
import socket

from lambent.base.http_connection import Connection
from lambent.base.http_exchange import Application, Exchange
from lambent.base.http_messages import Headers, Request, Response
from lambent.base.http_streams import Flow, ResponseStream, Sink

__all__ = [
    "Application",
    "Exchange",
    "Flow",
    "Headers",
    "HttpServer",
    "Request",
    "Response",
    "ResponseStream",
    "Sink",
]

_BACKLOG = 1024


class HttpServer:
    """Listeners and connections of one application. Costs no task, and no timer unless it has an `idle_timeout`."""

    def __init__(
        self,
        app: Application,
        *,
        max_header_bytes: int = 65_536,
        max_connections: int | None = None,
        max_held: int | None = None,
        idle_timeout: float | None = None,
        gathers_answers: bool = False,
    ) -> None:
        """Connections beyond `max_connections` are cut: each may hold a whole body in memory.

        `max_held`: bytes of bodies that all connections together may hold until they are answered. A request whose
        body would be more is answered 503, which clients try again.

        `idle_timeout`: seconds without a byte, one to two times as many, after which a connection is closed while
        the client is to send something. Requests that wait for their answer are never touched.

        `gathers_answers`: an answer waits for the next one when the request for that has come already, however long
        that takes. For clients that ask for the next thing together with what they have done.
        """
        self.app = app
        self.max_header_bytes = max_header_bytes
        self.gathers_answers = gathers_answers
        self.stopping = False
        self.max_connections = max_connections
        self.max_held = max_held
        self.held = 0
        self._idle_timeout = idle_timeout
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen on `host`:`port` (0: any free port). OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(self._connect, host, port, backlog=_BACKLOG))

    async def start_on(self, sock: socket.socket) -> None:
        """Serve a socket that already listens; it may belong to another network namespace. `stop` closes it."""
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(self._connect, sock=sock, backlog=_BACKLOG))

    @property
    def port(self) -> int:
        port: int = self._servers[0].sockets[0].getsockname()[1]
        return port

    async def stop(self, grace: float = 0) -> None:
        """Accept nothing more, close idle connections, give the others `grace` seconds, then cut what is left."""
        self.stopping = True
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            if not connection.busy:
                connection.close()
        if self._connections and grace > 0:
            await self._emptied(grace)
        for connection in list(self._connections):
            connection.abort()
        await self._emptied(None)

    async def _emptied(self, seconds: float | None) -> None:
        if not self._connections:
            return
        self._empty = self._empty or asyncio.Event()
        try:
            await asyncio.wait_for(self._empty.wait(), seconds)
        except TimeoutError:
            return

    # For connections

    def _connect(self) -> Connection:
        return Connection(self)

    def hold(self, size: int) -> bool:
        """Whether there is room for `size` bytes of a body; if so, they count until `let_go`."""
        if self.max_held is not None and self.held + size > self.max_held:
            return False
        self.held += size
        return True

    def let_go(self, size: int) -> None:
        self.held -= size

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        if self.stopping:  # accepted by the kernel before the listener closed
            connection.close()
        elif self.max_connections is not None and len(self._connections) > self.max_connections:
            connection.abort()
        elif self._idle_timeout is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._idle_timeout, self._tick)

    def lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._empty is not None:
                self._empty.set()

    def _tick(self) -> None:
        """Runs every `idle_timeout` seconds while there are connections."""
        assert self._idle_timeout is not None
        self._timer = asyncio.get_running_loop().call_later(self._idle_timeout, self._tick)
        for connection in list(self._connections):
            connection.tick()
