"""One connection of the HTTP server: bytes to requests, one at a time, and their answers back.

What is fed to the parser ends where a head, a chunked body or a body of known length may end. So no byte of the next
request is parsed before the former has its answer, and pipelined requests need no queue: they wait as bytes.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from typing import Protocol, cast

import httptools

from lambent.base.http_exchange import Application, Exchange
from lambent.base.http_intake import Intake
from lambent.base.http_messages import BODILESS, Headers, Request, Response, encode_head, plain
from lambent.base.http_streams import ResponseStream

_log = logging.getLogger("lambent.http")

_JOIN_LIMIT = 65_536  # bytes of a body that is copied behind its head to save a write
_HOLD_LIMIT = 65_536  # bytes held for later requests before reading stops; reading is how a lost client is noticed
_DRAIN_LIMIT = 64 << 20  # bytes thrown away so that a refused client, still sending, gets to see its answer
_DRAIN_SECONDS = 5.0
_LINE_ENDS = b"\r\n"
_VIEW_FROM = 2048
_CHUNKED = -1
_DIGITS = 20  # of the longest Content-Length; the parser lets any number of zeros lead, which int() does not
_CLOSE = "Connection: close\r\n"
_KEEP = "Connection: keep-alive\r\n"
_CHUNKS = "Transfer-Encoding: chunked\r\n"
_HEADERS_TOO_LARGE = plain(431, "The headers of the request are too large.")
_BUSY = plain(503, "The bodies of other requests are in the way. Try again.")
_FAILED = plain(500, "Internal server error.")


class Listener(Protocol):
    """The server, as its connections see it."""

    app: Application
    gathers_answers: bool
    max_header_bytes: int
    stopping: bool

    def hold(self, size: int) -> bool: ...
    def let_go(self, size: int) -> None: ...
    def opened(self, connection: Connection) -> None: ...
    def lost(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """Reads one request, waits for its answer, reads the next."""

    __slots__ = (
        "_app",
        "_connection_line",
        "_current",
        "_discarded",
        "_ended",
        "_ending",
        "_eof",
        "_expecting",
        "_gathered",
        "_headed",
        "_held",
        "_intake",
        "_keep_alive",
        "_limit",
        "_listener",
        "_method",
        "_more",
        "_offset",
        "_pairs",
        "_parser",
        "_parsing",
        "_paused",
        "_peer",
        "_pending",
        "_quiet",
        "_reading",
        "_remaining",
        "_request",
        "_run",
        "_stream",
        "_target",
        "_timer",
        "_transport",
        "_upgraded",
    )

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._app = listener.app
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        # The request being read
        self._method, self._target = b"", b""
        self._pairs: list[tuple[bytes, bytes]] = []
        self._request: Request | None = None  # once its head is complete
        self._remaining = 0  # bytes of its body to come, or _CHUNKED
        self._run = 0  # bytes of its head, or of a chunked body's framing since content came last
        self._intake = Intake()
        self._limit = 0
        self._held = 0  # bytes that count as held by the server, for a body
        self._keep_alive = True
        self._connection_line = ""
        self._expecting = False  # 100 Continue
        self._headed = self._ended = self._upgraded = False  # what the parser has just seen
        # The connection
        self._current: Exchange | None = None  # the request that waits for its answer, or for the end of it
        self._stream: ResponseStream | None = None  # the answer that is being sent
        self._pending, self._offset = b"", 0  # bytes that came meanwhile, and how many of them are done with
        self._more = False  # whether bytes of the next request are here already
        self._gathered = b""  # answers that wait for the next one
        self._parsing = False
        self._paused = False  # the client does not take what was written
        self._reading = True
        self._eof = False
        self._ending = False  # nothing more is parsed
        self._discarded = 0
        self._quiet = False
        self._peer = ""  # the client's address

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass; both set TCP_NODELAY
        if isinstance(peer := transport.get_extra_info("peername"), tuple):
            self._peer = str(peer[0])
        self._listener.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport, self._ending = None, True
        self._pending = b""
        del self._parser  # it refers back to this object
        if self._timer is not None:
            self._timer.cancel()
        exchange, self._current = self._current, None
        stream, self._stream = self._stream, None
        self._let_go()
        self._listener.lost(self)
        self._intake.drop()
        if exchange is not None:
            exchange.client_left(for_good=True)
        if stream is not None:
            stream.client_left()

    def eof_received(self) -> bool:
        """The client sends nothing more. True keeps the way back open."""
        self._eof = True
        if self._ending:
            return False
        if self._current is None:
            return bool(self._pending)
        return not self._current.client_left(for_good=False)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._stream is not None:
            self._stream.drained()
        self._advance()

    def data_received(self, data: bytes) -> None:
        self._quiet = False
        if self._current is None and not self._paused and not self._intake.blocked and not self._ending:
            self._consume(data, 0)
        else:
            self._hold(data)

    # Reading

    def _consume(self, data: bytes, at: int) -> None:
        """Parse from `at` until the data is used up or an answer must be awaited."""
        size = len(data)
        self._parsing = True
        while at < size:
            if self._current is not None or self._paused or self._intake.blocked or self._ending:
                self._pending, self._offset = data, at
                break
            at = self._step(data, at, size)
        self._parsing = False
        if self._gathered and self._current is None:
            self._flush()

    def _step(self, data: bytes, at: int, size: int) -> int:
        """Feed the parser up to where the message may end; how far that was."""
        remaining = self._remaining
        if remaining > 0:
            end = min(size, at + remaining)
            self._remaining = remaining - end + at
        else:
            if at < 4 and (self._run or remaining) and data[at] in _LINE_ENDS:
                end = at + 1  # perhaps what ends an empty line that began in the data before
            else:  # an empty line ends every head and every chunked body
                end = data.find(b"\r\n\r\n", at) + 4
                if end < 4:
                    end = size
            self._run += end - at
        self._more = end < size
        try:
            if end - at == size:
                self._parser.feed_data(data)
            else:  # a small copy is cheaper than a view
                self._parser.feed_data(data[at:end] if end - at < _VIEW_FROM else memoryview(data)[at:end])
        except httptools.HttpParserUpgrade:
            self._upgraded = True
        except httptools.HttpParserError as error:
            self._refuse_malformed(str(error))
            return end
        if self._run > self._listener.max_header_bytes:
            self._refuse(_HEADERS_TOO_LARGE)
        elif not self._headed or self._begin():
            if self._remaining < 0 and self._intake.received > self._limit:
                self._refuse_too_large()
                return end
            if self._intake.passes_on:
                self._intake.pass_on()
            if self._ended:
                self._complete()
            elif self._expecting:
                self._expecting = False
                if end == size and self._transport is not None:  # else the body is on its way already
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return end

    # What the parser says: callbacks that only take note

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._pairs.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._headed:
            raise httptools.HttpParserError("two requests where one was expected")
        self._headed = True
        self._method = self._parser.get_method()
        self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self._run = 0
        self._intake.take(body)

    def on_message_complete(self) -> None:
        self._ended = True

    # The stages of a request

    def _begin(self) -> bool:
        """The head is complete: see how the body comes, and ask the application. False: refused."""
        headers = Headers(self._pairs)
        request = Request(self._method.decode("latin-1"), self._target.decode("latin-1"), headers)
        request.peer = self._peer
        self._request, self._pairs, self._target, self._headed, self._run = request, [], b"", False, 0
        first = headers.first
        coding, length = first.get(b"transfer-encoding"), first.get(b"content-length")
        told = b"connection" in first
        unusual = told or coding is not None or not self._keep_alive or (length is not None and len(length) > _DIGITS)
        if unusual and (reason := self._misframed(coding, length)) is not None:
            self._refuse_malformed(reason)
            return False
        self._connection_line = _KEEP if told else ""
        self._remaining = _CHUNKED if coding is not None else int(length) if length is not None else 0
        if self._upgraded:
            self._decline_upgrade()
        try:
            refusal = self._app.admit(request)
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            refusal = _FAILED
        if refusal is not None:
            self._refuse(refusal)
            return False
        limit = request.body_limit
        self._limit = sys.maxsize if limit is None else limit
        if self._remaining > self._limit:
            self._refuse_too_large()
            return False
        if self._remaining and request.sink is None and not self._may_hold():
            self._refuse(_BUSY)
            return False
        if self._remaining and b"expect" in first:
            expected = (headers.get("expect") or "").lower() == "100-continue"
            self._expecting = expected and self._parser.get_http_version() == "1.1"
        if request.sink is not None:
            self._intake.divert(request.sink, self)
        return True

    def _may_hold(self) -> bool:
        """Whether the server has room for the body; if so, it counts until the request has its answer."""
        size = self._limit if self._remaining < 0 else self._remaining
        if not self._listener.hold(size):
            return False
        self._held = size
        return True

    def _let_go(self) -> None:
        if self._held:
            self._listener.let_go(self._held)
            self._held = 0

    def _misframed(self, coding: bytes | None, length: bytes | None) -> str | None:
        """Why the body cannot be told from what follows it, beyond what the parser refuses itself."""
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            return f"HTTP/{version} is not spoken here"
        if coding is not None and (version == "1.0" or coding.strip().lower() != b"chunked"):
            return "the only Transfer-Encoding is chunked, in HTTP/1.1"
        if length is not None and len(length) > _DIGITS:
            return "Content-Length is too long"
        return None

    def _decline_upgrade(self) -> None:
        """Another protocol was asked for: go on in this one. The parser has taken the head for the whole message."""
        self._upgraded = False
        parser = self._parser = httptools.HttpRequestParser(self)
        if self._remaining:
            keep_alive, remaining = self._keep_alive, self._remaining
            framing = b"Content-Length: %d" % remaining if remaining > 0 else b"Transfer-Encoding: chunked"
            parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
            self._headed = self._ended = False
            self._pairs, self._target, self._keep_alive = [], b"", keep_alive

    def _complete(self) -> None:
        """The request is complete: hand it to the application."""
        request = self._request
        assert request is not None
        if self._pairs:
            if sum(len(name) + len(value) + 4 for name, value in self._pairs) > self._listener.max_header_bytes:
                self._refuse(_HEADERS_TOO_LARGE)
                return
            request.trailers, self._pairs = Headers(self._pairs), []
        self._request = None
        self._ended, self._expecting, self._remaining, self._run = False, False, 0, 0
        if self._intake.received or self._intake.passes_on:
            request.body = self._intake.finish()
        exchange = self._current = Exchange(self, request)
        if self._eof:
            exchange.client_left(for_good=False)
        try:
            self._app.handle(exchange)
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            exchange.respond(_FAILED)

    def answer(self, request: Request, response: Response) -> None:
        """Write the answer of the current exchange and go on with the next request."""
        self._current = None
        self._let_go()
        closing = not self._keep_alive or self._listener.stopping
        self._write(request.method, response, _CLOSE if closing else self._connection_line)
        if closing:
            self.close()
        elif not self._parsing:
            self._advance()

    def start_stream(self, request: Request, response: Response, length: int | None = None) -> ResponseStream | None:
        """Write the head of an answer whose body follows."""
        chunked = length is None and self._parser.get_http_version() == "1.1"
        if length is None and not chunked:
            self._keep_alive = False  # the end of the connection is the end of the body
        closing = not self._keep_alive or self._listener.stopping
        framing = _CHUNKS if chunked else ("" if length is None else f"Content-Length: {length}\r\n")
        lines = framing + (_CLOSE if closing else self._connection_line)
        transport = self._transport
        if request.method == "HEAD" or response.status in BODILESS or transport is None or transport.is_closing():
            self.answer(request, response)
            return None
        try:
            head = encode_head(response, lines, False, streamed=True)
        except Exception:
            _log.exception("a response cannot be sent")
            self.answer(request, _FAILED)
            return None
        self._flush()
        transport.write(head)
        self._stream = ResponseStream(self, chunked=chunked, length=length)
        return self._stream

    def end_stream(self) -> None:
        """The streamed answer is complete: go on with the next request."""
        self._stream = self._current = None
        self._let_go()
        if not self._keep_alive or self._listener.stopping:
            self.close()
        elif not self._parsing:
            self._advance()

    def send(self, parts: Sequence[bytes]) -> bool:
        """Write a part of a streamed answer; whether the client takes them as fast as they come."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return True
        transport.writelines(parts)
        return not self._paused

    def pause_body(self) -> None:
        self._intake.blocked = self._intake.passes_on

    def resume_body(self) -> None:
        if self._intake.blocked:
            self._intake.blocked = False
            if not self._parsing:
                self._advance()

    # Refusals: the answer, then the end, as what follows cannot be understood

    def _refuse_malformed(self, reason: str) -> None:
        try:
            response = self._app.malformed(reason)
        except Exception:
            _log.exception("the answer to a malformed request failed")
            response = _FAILED
        self._refuse(response)

    def _refuse_too_large(self) -> None:
        assert self._request is not None
        try:
            response = self._app.too_large(self._request)
        except Exception:
            _log.exception("%s %s failed", self._request.method, self._request.path)
            response = _FAILED
        self._refuse(response)

    def _refuse(self, response: Response) -> None:
        self._write("" if self._request is None else self._request.method, response, _CLOSE)
        self._ending = True
        self._request = None
        self._intake.drop()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._eof or not transport.can_write_eof():
            transport.close()
            return
        # Closing at once while the client still sends would reset the connection, and lose the answer.
        transport.write_eof()
        self._resume_reading()
        self._timer = asyncio.get_running_loop().call_later(_DRAIN_SECONDS, self.abort)

    # Writing

    def _write(self, method: str, response: Response, connection: str) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        head_only = method == "HEAD"
        try:
            head = encode_head(response, connection, head_only)
        except Exception:
            _log.exception("a response cannot be sent")
            response = _FAILED
            head = encode_head(response, connection, head_only)
        body = response.body
        if not body or head_only or response.status in BODILESS:
            data = head
        elif len(body) <= _JOIN_LIMIT:
            data = head + body
        else:
            self._flush()
            transport.writelines((head, body))
            return
        if self._gathered:
            data, self._gathered = self._gathered + data, b""
        if self._more and self._listener.gathers_answers and connection is not _CLOSE and len(data) <= _JOIN_LIMIT:
            self._gathered = data
        else:
            transport.write(data)

    def _flush(self) -> None:
        data, self._gathered = self._gathered, b""
        if data and self._transport is not None:
            self._transport.write(data)

    # Waiting

    def _hold(self, data: bytes) -> None:
        """Keep what cannot be parsed yet; throw away what never will be."""
        if self._ending:
            self._discarded += len(data)
            if self._discarded > _DRAIN_LIMIT:
                self.abort()
            return
        self._pending, self._offset = self._pending[self._offset :] + data, 0
        if self._reading and len(self._pending) > _HOLD_LIMIT and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def _advance(self) -> None:
        """Go on with what was held, then with reading."""
        if self._current is not None or self._paused or self._intake.blocked or self._ending:
            return
        if self._pending:
            data, at = self._pending, self._offset
            self._pending, self._offset = b"", 0
            self._consume(data, at)
        if self._pending or self._ending:
            return
        if not self._eof:
            self._resume_reading()
        elif self._current is None:
            self.close()

    def _resume_reading(self) -> None:
        transport = self._transport
        if not self._reading and transport is not None and not transport.is_closing():
            self._reading = True
            transport.resume_reading()

    # The end

    @property
    def busy(self) -> bool:
        """Whether a request is being read or waits for its answer. A refused client has got its answer."""
        if self._ending:
            return False
        began = self._run > len(_LINE_ENDS) or self._remaining or self._pending  # an empty line may precede a request
        return bool(began) or self._current is not None

    def tick(self) -> None:
        """Close if the client owed something, and sent nothing, ever since the last tick."""
        if self._quiet:
            self.close()
        self._quiet = self._current is None and not (self._paused or self._intake.blocked or self._ending)

    def close(self) -> None:
        """Close when everything written has been sent."""
        self._ending = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        self._ending = True
        if self._transport is not None:
            self._transport.abort()
