"""One request on its way to where it is answered: asked while its body still comes, answered once it has come.

So a body is never whole in memory, and whoever is slowest sets the pace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from lambent.base.http import Exchange, Flow, Response
from lambent.base.http_client import Answer, Unreachable
from lambent.base.http_messages import BODILESS
from lambent.base.pipe import Pipe
from lambent.wire.errors import AwsError

_log = logging.getLogger("lambent.neighbours")

# Of one connection, not of the message: not passed on.
HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"}
)


class BodyLost(Exception):
    """The client left before it had sent everything."""


class Transit(Pipe):
    """The sink of a request's body, and the task that asks with it."""

    def __init__(self, ask: Callable[[Transit], Awaitable[Answer | Response]]) -> None:
        """`ask` reads the body from the transit. What it raises is an internal error."""
        super().__init__()
        self._ask = ask
        self._lost = False
        self._task: asyncio.Task[None] | None = None
        self._exchange: asyncio.Future[Exchange] | None = None

    # For the connection: a `lambent.base.http.Sink`

    def start(self, flow: Flow) -> None:
        super().start(flow)
        loop = asyncio.get_running_loop()
        self._exchange = loop.create_future()
        self._task = loop.create_task(self._run(self._exchange))

    def lost(self) -> None:
        super().lost()
        self._lost = True
        self.end()
        self._cancel()

    def complete(self, exchange: Exchange) -> None:
        """The whole body has come: answer here."""
        assert self._exchange is not None
        self.end()
        self._exchange.set_result(exchange)
        exchange.on_close(self._cancel)

    # For whoever asks

    async def read(self) -> bytes:
        """The next piece of the body; b"" at the end. BodyLost."""
        data = await super().read()
        if self._lost:
            raise BodyLost
        return data

    async def whole(self, limit: int) -> bytes:
        """The rest of the body. AwsError where it has more than `limit` bytes."""
        pieces, size = [], 0
        while piece := await self.read():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                message = f"A body that must be whole here may have {limit} bytes."
                raise AwsError("RequestEntityTooLargeException", message, status=413)
        return b"".join(pieces)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self, ready: asyncio.Future[Exchange]) -> None:
        try:
            answer = await self._ask(self)
        except BodyLost:
            return
        except Exception:
            _log.exception("a request failed on its way")
            answer = Response(500, (("Content-Type", "text/plain"),), b"internal error\n")
        try:
            if isinstance(answer, Response):
                self.discard()  # nobody reads the body any more, and the answer waits for its end
            exchange = await ready
            if isinstance(answer, Response):
                exchange.respond(answer)
            else:
                await _pass_back(answer, exchange)
        finally:
            if isinstance(answer, Answer):
                answer.close()


async def _pass_back(answer: Answer, exchange: Exchange) -> None:
    headers = [(name, value) for name, value in answer.headers if name.lower() not in HOP]
    head = Response(answer.status, headers)
    length = next((int(value) for name, value in headers if name.lower() == "content-length" and value.isdigit()), None)
    if exchange.request.method == "HEAD" or answer.status in BODILESS or length == 0:
        exchange.respond(head)
        return
    stream = exchange.stream(Response(answer.status, _without_length(headers)), length)
    if stream is None:
        return
    try:
        while piece := await answer.read():
            await stream.write(piece)
    except Unreachable as error:
        _log.warning("an answer broke off: %s", error)
        stream.abort()
        return
    stream.end()


def _without_length(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() != "content-length"]
