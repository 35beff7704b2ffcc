"""An HTTP/1.1 server on asyncio and httptools: the public endpoint, and the Runtime API of every environment.

Made for two things that frameworks are not: an invoke path where the server itself costs next to nothing, and
requests that stay parked for hours without a task. Requests of one connection are handled one after another.
"""

from __future__ import annotations

import asyncio
import http
import logging
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, cast

import httptools

_log = logging.getLogger("lambent.http")

MAX_HEADER_BYTES = 65_536
_JOIN_LIMIT = 65_536  # bytes of a body that is copied behind its head to save a system call
_DRAIN_LIMIT = 64 << 20  # bytes read and thrown away so that a refused client gets to see the answer
_DRAIN_SECONDS = 5.0
_BODILESS = (204, 304)
_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n" for s in http.HTTPStatus}


class Headers:
    """The headers of a request, names in lower case, in the order they came."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._pairs = pairs

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of `name` (lower case)."""
        wanted = name.encode("latin-1")
        for key, value in self._pairs:
            if key == wanted:
                return value.decode("latin-1")
        return default

    def get_all(self, name: str) -> list[str]:
        wanted = name.encode("latin-1")
        return [value.decode("latin-1") for key, value in self._pairs if key == wanted]

    def items(self) -> Iterator[tuple[str, str]]:
        return ((key.decode("latin-1"), value.decode("latin-1")) for key, value in self._pairs)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None


class Request:
    """One request. `body` is complete when `Application.handle` sees it."""

    __slots__ = ("body", "body_limit", "headers", "keep_alive", "method", "path", "query", "target")

    def __init__(self, method: str, target: str, headers: Headers, keep_alive: bool) -> None:
        self.method = method
        self.target = target  # as it was sent
        self.path, _, self.query = target.partition("?")  # still percent-encoded
        self.headers = headers
        self.keep_alive = keep_alive
        self.body = b""
        self.body_limit: int | None = None  # bytes; set by Application.admit


class Response(NamedTuple):
    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""


class Application(Protocol):
    """What answers requests."""

    def admit(self, request: Request) -> Response | None:
        """Called when the headers are complete, before the body. A response refuses; may set `body_limit`."""

    def handle(self, exchange: Exchange) -> None:
        """Called when the request is complete. Must not block; may respond later."""

    def too_large(self, request: Request) -> Response:
        """The answer when the body exceeds `body_limit`."""

    def malformed(self, reason: str) -> Response:
        """The answer to what is not HTTP."""


class Exchange:
    """A request and the one chance to answer it."""

    __slots__ = ("_connection", "_gone", "_on_close", "request")

    def __init__(self, connection: _Connection, request: Request) -> None:
        self.request = request
        self._connection: _Connection | None = connection
        self._on_close: Callable[[], None] | None = None
        self._gone = False

    @property
    def closed(self) -> bool:
        """Whether the client left before it got its answer."""
        return self._gone

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back once if the client leaves before `respond`."""
        self._on_close = callback

    def respond(self, response: Response) -> None:
        """Answer. Once; ignored when the client is gone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.finish(self.request, response)

    def abandon(self) -> None:
        """The connection was lost."""
        if self._connection is not None:
            self._connection, self._gone = None, True
            if self._on_close is not None:
                self._on_close()


class _Connection(asyncio.Protocol):
    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._app = server.app
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._current: Exchange | None = None
        self._queue: deque[tuple[Request, Response | None]] = (
            deque()
        )  # complete requests, or refusals of them
        self._request: Request | None = None  # the one whose body is being read
        self._target = b""
        self._pairs: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._header_bytes = 0
        self._in_headers = True
        self._expecting = False
        self._refusing = False  # nothing more is parsed on this connection
        self._draining = False  # the refusal has been sent
        self._discarded = 0
        self._reading = True
        self._write_paused = False

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._server.connections.add(self)
        if (sock := transport.get_extra_info("socket")) is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._server.lost(self)
        self._queue.clear()
        if self._current is not None:
            exchange, self._current = self._current, None
            exchange.abandon()

    def eof_received(self) -> bool:
        # A half-closed client may still wait for its answers.
        return self._current is not None or bool(self._queue)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._advance()

    def data_received(self, data: bytes) -> None:
        if self._refusing:
            self._discard(len(data))
            return
        if self._in_headers:
            self._header_bytes += len(data)
        self._feed(data)
        if not self._refusing and self._in_headers and self._header_bytes > self._server.max_header_bytes:
            self._refuse(
                Response(431, (("Content-Type", "text/plain"),), b"The request's headers are too large.\n")
            )
        if (self._queue or self._write_paused) and self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:  # asked for, never granted: go on in HTTP/1.1
            self._parser = httptools.HttpRequestParser(self)
            if rest := data[upgrade.args[0] :]:
                self._feed(rest)
        except httptools.HttpParserError as error:
            if not self._refusing:
                self._refuse(self._app.malformed(str(error)))

    # The parser

    def on_message_begin(self) -> None:
        self._pairs, self._body, self._body_bytes, self._in_headers = [], [], 0, True

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_headers:  # trailers are not headers
            self._pairs.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._refusing:
            return
        self._in_headers, self._header_bytes = False, 0
        headers, target, self._target = Headers(self._pairs), self._target, b""
        method = self._parser.get_method().decode("latin-1")
        request = Request(method, target.decode("latin-1"), headers, self._parser.should_keep_alive())
        self._request = request
        refusal = self._app.admit(request)
        if refusal is None and request.body_limit is not None:
            length = headers.get("content-length", "0") or "0"
            if int(length) > request.body_limit:
                refusal = self._app.too_large(request)
        if refusal is not None:
            self._refuse(refusal)
        elif (headers.get("expect") or "").lower() == "100-continue":
            self._expecting = True
            self._continue()

    def on_body(self, body: bytes) -> None:
        request = self._request
        if request is None or self._refusing:
            return
        self._expecting = False
        self._body.append(body)
        self._body_bytes += len(body)
        if request.body_limit is not None and self._body_bytes > request.body_limit:
            self._refuse(self._app.too_large(request))

    def on_message_complete(self) -> None:
        request, self._request = self._request, None
        if request is None or self._refusing:
            return
        body, self._body = self._body, []
        request.body = body[0] if len(body) == 1 else b"".join(body)
        self._expecting, self._in_headers, self._header_bytes = False, True, 0
        if self._current is None and not self._queue and not self._write_paused:
            self._handle(request)
        else:
            self._queue.append((request, None))

    # Exchanges

    def _handle(self, request: Request) -> None:
        exchange = self._current = Exchange(self, request)
        try:
            self._app.handle(exchange)
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            exchange.respond(Response(500, (("Content-Type", "text/plain"),), b"Internal server error.\n"))

    def finish(self, request: Request, response: Response) -> None:
        """Write the answer of the current exchange and go on with the next request."""
        self._current = None
        if self._transport is None:
            return
        closing = not request.keep_alive or self._server.stopping
        self._write(request, response, closing)
        if closing:
            self._refusing = True
            self._transport.close()
        elif self._queue or not self._reading or self._expecting:
            self._advance()

    def _advance(self) -> None:
        """Start whatever has waited for the answer before it."""
        while (
            self._queue and self._current is None and not self._write_paused and self._transport is not None
        ):
            request, refusal = self._queue.popleft()
            if refusal is None:
                self._handle(request)
            else:
                self._send_refusal(request, refusal)
        if self._transport is None:
            return
        if self._current is None and self._expecting:
            self._continue()
        if not self._queue and not self._write_paused and not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def _continue(self) -> None:
        if self._expecting and self._current is None and not self._queue and self._transport is not None:
            self._expecting = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, response: Response) -> None:
        """Answer in its turn, then end the connection: what follows on it cannot be understood."""
        self._refusing = True
        self._body = []
        request = self._request or Request("GET", "/", Headers([]), keep_alive=False)
        self._request = None
        if self._current is None and not self._queue:
            self._send_refusal(request, response)
        else:
            self._queue.append((request, response))

    def _send_refusal(self, request: Request, response: Response) -> None:
        transport = self._transport
        if transport is None:
            return
        self._write(request, response, closing=True)
        self._draining = True
        if transport.can_write_eof():
            transport.write_eof()
        # Closing at once would reset the connection while the client still sends, and lose the answer.
        asyncio.get_running_loop().call_later(_DRAIN_SECONDS, transport.abort)

    def _discard(self, count: int) -> None:
        self._discarded += count
        if self._draining and self._discarded > _DRAIN_LIMIT and self._transport is not None:
            self._transport.abort()

    def _write(self, request: Request, response: Response, closing: bool) -> None:
        status, headers, body = response
        lines = [_STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"]
        for name, value in headers:
            if "\r" in value or "\n" in value:
                raise ValueError(f"the response header {name} holds a line break")
            lines.append(f"{name}: {value}\r\n")
        if status not in _BODILESS:
            lines.append(f"Content-Length: {len(body)}\r\n")
        lines.append("Connection: close\r\n\r\n" if closing else "\r\n")
        encoded = "".join(lines).encode("latin-1", "replace")
        transport = self._transport
        if transport is None:
            return
        if not body or request.method == "HEAD" or status in _BODILESS:
            transport.write(encoded)
        elif len(body) < _JOIN_LIMIT:
            transport.write(encoded + body)
        else:
            transport.write(encoded)
            transport.write(body)

    def close_if_idle(self) -> bool:
        """Close unless an exchange is running; True when it was closed."""
        if self._current is None and not self._queue and self._transport is not None:
            self._transport.close()
            return True
        return False

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class HttpServer:
    """Listeners and connections of one application."""

    def __init__(self, app: Application, *, max_header_bytes: int = MAX_HEADER_BYTES) -> None:
        self.app = app
        self.max_header_bytes = max_header_bytes
        self.connections: set[_Connection] = set()
        self.stopping = False
        self._servers: list[asyncio.Server] = []
        self._quiet: asyncio.Event | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen on `host`:`port` (0: any free port). OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(lambda: _Connection(self), host, port, backlog=1024))

    async def start_on(self, sock: socket.socket) -> None:
        """Serve a socket that already listens; it may belong to another network namespace."""
        self._servers.append(
            await asyncio.get_running_loop().create_server(lambda: _Connection(self), sock=sock)
        )

    @property
    def port(self) -> int:
        port: int = self._servers[0].sockets[0].getsockname()[1]
        return port

    def lost(self, connection: _Connection) -> None:
        self.connections.discard(connection)
        if self._quiet is not None and not self.connections:
            self._quiet.set()

    async def stop(self, grace: float = 0) -> None:
        """Accept nothing more, let running exchanges end for up to `grace` seconds, then cut what is left."""
        self.stopping = True
        for server in self._servers:
            server.close()
        self._quiet = asyncio.Event()
        for connection in list(self.connections):
            if not connection.close_if_idle() and grace <= 0:
                connection.abort()
        if self.connections and grace > 0:
            try:
                await asyncio.wait_for(self._quiet.wait(), grace)
            except TimeoutError:
                for connection in list(self.connections):
                    connection.abort()
