"""What an application sees of the server: requests, each with one chance to answer it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from lambent.base.http_messages import Request, Response
from lambent.base.http_streams import ResponseStream

_log = logging.getLogger("lambent.http")


class Application(Protocol):
    """What answers requests."""

    def admit(self, request: Request) -> Response | None:
        """Called when the headers are complete, before the body and before `100 Continue`.

        A response refuses: it is sent and the connection closed. May set `request.body_limit`, and `request.sink` to
        get the body piece by piece.
        """

    def handle(self, exchange: Exchange) -> None:
        """Called when the request is complete. Must not block; may respond later."""

    def too_large(self, request: Request) -> Response:
        """The answer when the body exceeds `request.body_limit`, by its Content-Length or while it comes in."""

    def malformed(self, reason: str) -> Response:
        """The answer to what is not HTTP."""


class Answerer(Protocol):
    """A connection, as an exchange sees it."""

    def answer(self, request: Request, response: Response) -> None: ...
    def start_stream(self, request: Request, response: Response, length: int | None) -> ResponseStream | None: ...
    def close(self) -> None: ...


class _Adding:
    """A connection whose answers get further headers."""

    def __init__(self, connection: Answerer, headers: Sequence[tuple[str, str]]) -> None:
        self._connection = connection
        self._headers = headers

    def answer(self, request: Request, response: Response) -> None:
        self._connection.answer(request, response._replace(headers=[*response.headers, *self._headers]))

    def start_stream(self, request: Request, response: Response, length: int | None) -> ResponseStream | None:
        extended = response._replace(headers=[*response.headers, *self._headers])
        return self._connection.start_stream(request, extended, length)

    def close(self) -> None:
        self._connection.close()


class Exchange:
    """A request and the one chance to answer it. To be used on the event loop's thread."""

    __slots__ = ("_connection", "_gone", "_on_close", "request")

    def __init__(self, connection: Answerer, request: Request) -> None:
        self.request = request
        self._connection: Answerer | None = connection
        self._on_close: Callable[[], None] | None = None
        self._gone = False

    @property
    def closed(self) -> bool:
        """Whether the client left before it got its answer."""
        return self._gone

    def add_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """Have them go with the answer, whoever gives it."""
        if self._connection is not None:
            self._connection = _Adding(self._connection, headers)

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back once if the client leaves before `respond`; at once if it has left already."""
        if not self._gone:
            self._on_close = callback
            return
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        callback()

    def respond(self, response: Response) -> None:
        """Answer. Only the first call counts; nothing is raised, whatever became of the client.

        A response that cannot be sent (a line break in a header) is logged, and the client gets a 500.
        """
        connection = self._connection
        if connection is not None:
            self._connection = None
            connection.answer(self.request, response)

    def stream(self, response: Response, length: int | None = None) -> ResponseStream | None:
        """Answer with a body that follows piece by piece: `response` without its own. None: nobody listens any more.

        `length`: its bytes where they are known, and else it is sent in chunks.

        `on_close` is still called when the client leaves, until the stream has ended.
        """
        connection, self._connection = self._connection, None
        return connection.start_stream(self.request, response, length) if connection is not None else None

    def client_left(self, *, for_good: bool) -> bool:
        """Note that the client is gone or, not `for_good`, that it sends nothing more. True: nobody answers now.

        A client that closed only its sending side can still read. It gets its answer, unless somebody asked for
        `on_close`: a process that died looks the same from here.
        """
        callback, self._on_close = self._on_close, None
        self._gone = True
        if for_good or callback is not None:
            self._connection = None
        if callback is not None:
            try:
                callback()
            except Exception:
                _log.exception("on_close of %s %s failed", self.request.method, self.request.path)
        return self._connection is None
