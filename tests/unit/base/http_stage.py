"""Servers in a loop of their own, and raw clients for them."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from lambent.base.http import Exchange, Headers, HttpServer, Request, Response

T = TypeVar("T")

PATIENCE = 20  # seconds after which a test is stuck


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.loop = factory()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def call(self, function: Callable[..., T], *args: Any) -> T:
        async def call() -> T:
            return function(*args)

        return self.run(call())

    def settle(self) -> None:
        """Return when the loop has seen all that was sent before."""
        for _ in range(3):
            self.call(lambda: None)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()


class App:
    """Echoes requests; or parks them in `parked` for the test to answer."""

    def __init__(self, *, park: bool = False, limit: int | None = None) -> None:
        self.park = park
        self.limit = limit
        self.admitted: list[str] = []
        self.handled: list[Request] = []
        self.parked: queue.Queue[Exchange] = queue.Queue()
        self.refusal: Response | None = None

    def admit(self, request: Request) -> Response | None:
        self.admitted.append(request.target)
        request.body_limit = self.limit
        return self.refusal

    def handle(self, exchange: Exchange) -> None:
        self.handled.append(exchange.request)
        if self.park:
            self.parked.put(exchange)
        else:
            exchange.respond(self.answer(exchange.request))

    def answer(self, request: Request) -> Response:
        return Response(200, (("X-Target", request.target),), request.body)

    def too_large(self, request: Request) -> Response:
        return Response(413, (), f"{request.target} is too large".encode())

    def malformed(self, reason: str) -> Response:
        return Response(400, (), b"malformed: " + reason.encode())

    def take(self) -> Exchange:
        return self.parked.get(timeout=PATIENCE)


class Fixed(App):
    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response

    def answer(self, request: Request) -> Response:
        return self.response


class Client:
    """A raw connection."""

    def __init__(self, port: int, receive_buffer: int | None = None) -> None:
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def line(self) -> bytes:
        return self._until(b"\r\n")[:-2]

    def exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._fill()
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    def _fill(self) -> None:
        data = self.sock.recv(1 << 20)
        if not data:
            raise EOFError(self._buffer)
        self._buffer += data

    def head(self) -> tuple[int, Headers]:
        """Status and headers of a response, up to its body."""
        first, *rest = self._until(b"\r\n\r\n")[:-4].split(b"\r\n")
        version, status, _reason = first.split(b" ", 2)
        assert version == b"HTTP/1.1"
        pairs = [line.partition(b": ") for line in rest]
        return int(status), Headers([(name.lower(), value) for name, _, value in pairs])

    def body(self, headers: Headers) -> bytes:
        return self.exactly(int(headers.get("content-length") or "0"))

    def response(self) -> tuple[int, Headers, bytes]:
        status, headers = self.head()
        return status, headers, self.body(headers)

    def rest(self) -> bytes:
        """Everything up to the end of the connection, or until it is reset."""
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                self._fill()
        return self._buffer

    def exchange(self, data: bytes) -> tuple[int, Headers, bytes]:
        self.send(data)
        return self.response()

    def reset(self) -> None:
        """Leave without a goodbye."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Stage:
    """Servers and their clients, all gone when the test ends."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.servers: list[HttpServer] = []
        self._clients: list[Client] = []

    def serve(self, app: Any = None, **options: Any) -> HttpServer:
        server = HttpServer(app or App(), **options)
        self.loop.run(server.start("127.0.0.1", 0))
        self.servers.append(server)
        return server

    def connect(self, server: HttpServer, **options: Any) -> Client:
        client = Client(server.port, **options)
        self._clients.append(client)
        return client

    def open(self, app: Any = None, **options: Any) -> Client:
        return self.connect(self.serve(app, **options))

    def respond(self, exchange: Exchange, *args: Any) -> None:
        self.loop.call(exchange.respond, Response(*args))

    def close(self) -> None:
        for client in self._clients:
            client.sock.close()
        for server in self.servers:
            self.loop.run(server.stop(0))


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def post(body: bytes, target: str = "/", headers: str = "") -> bytes:
    return f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def chunked(pieces: list[bytes], target: str = "/", trailers: str = "", headers: str = "") -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{headers}\r\n".encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head + chunks + b"0\r\n" + trailers.encode() + b"\r\n"
