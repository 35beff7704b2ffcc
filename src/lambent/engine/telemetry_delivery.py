"""Brings telemetry to one subscriber's port inside its execution environment, over HTTP or TCP.

The destination is hostile code: what is read from it is bounded and otherwise ignored, and nobody waits for it. There
is no time limit on its answer, since a frozen environment may take hours; while it does not answer, its buffer fills
and further records are dropped.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import httptools

from lambent.engine.sandbox import SandboxError
from lambent.engine.telemetry_buffer import Batch, Buffer

BACKOFF = 0.1  # seconds before the first retry; twice as long each time
BACKOFF_LIMIT = 5.0
_ANSWER_LIMIT = 65_536  # bytes of an answer to a POST

_log = logging.getLogger("lambent.telemetry")

Connect = Callable[[], Awaitable[socket.socket]]
"""A fresh, unconnected TCP socket that belongs to the environment's network."""


@dataclass(frozen=True, slots=True)
class Destination:
    protocol: str  # "HTTP" or "TCP"
    port: int
    path: str = "/"
    method: str = "POST"
    host: str = "sandbox.localdomain"


class Refusal(Exception):
    """The destination could not be reached, or did not accept."""


class Sender(Protocol):
    async def send(self, records: Sequence[bytes]) -> None:
        """Refusal or OSError when the records may not have arrived."""

    def close(self) -> None: ...


class _Stream:
    """A connection to the destination, made when it is needed."""

    def __init__(self, port: int, connect: Connect) -> None:
        self._port = port
        self._connect = connect
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.reader is None or self.writer is None or self.reader.at_eof() or self.writer.is_closing():
            self.close()
            sock = await self._connect()
            try:
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
                self.reader, self.writer = await asyncio.open_connection(sock=sock, limit=_ANSWER_LIMIT)
            except BaseException:
                sock.close()
                raise
        return self.reader, self.writer

    def close(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None


class TcpSender:
    """Newline-delimited JSON. Nothing comes back, so what a crashed listener had not read is lost, as on AWS."""

    def __init__(self, destination: Destination, connect: Connect) -> None:
        self._stream = _Stream(destination.port, connect)

    async def send(self, records: Sequence[bytes]) -> None:
        _reader, writer = await self._stream.open()
        writer.write(b"\n".join(records) + b"\n")
        await writer.drain()

    def close(self) -> None:
        self._stream.close()


class HttpSender:
    """One JSON array per request; a status of 2xx or 3xx acknowledges it."""

    def __init__(self, destination: Destination, connect: Connect) -> None:
        self._stream = _Stream(destination.port, connect)
        self._head = (
            f"{destination.method} {destination.path} HTTP/1.1\r\nHost: {destination.host}:{destination.port}\r\n"
            "Content-Type: application/json\r\n"
        )

    async def send(self, records: Sequence[bytes]) -> None:
        reader, writer = await self._stream.open()
        body = b"[" + b",".join(records) + b"]"
        try:
            writer.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body)
            await writer.drain()
            status, keep = await _answer(reader)
        except BaseException:
            self._stream.close()
            raise
        if not keep:
            self._stream.close()
        if status >= 400:
            raise Refusal(f"it answered {status}")

    def close(self) -> None:
        self._stream.close()


class _Answer:
    """What httptools tells of one response, at the moment it is complete."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.complete = self.keep = False

    def on_message_complete(self) -> None:
        self.complete = True
        self.keep = self.parser.should_keep_alive()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """(the status, whether the connection may be used again). Refusal for what is no answer."""
    answer = _Answer()
    count = 0
    while not answer.complete:
        data = await reader.read(_ANSWER_LIMIT)
        count += len(data)
        if count > _ANSWER_LIMIT:
            raise Refusal("its answer has no end")
        if not data:
            break  # a body that ends with the connection, or no answer
        try:
            answer.parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise Refusal(f"it does not speak HTTP: {error}") from None
    status = int(answer.parser.get_status_code())
    if not status:
        raise Refusal("it hung up")
    return status, answer.keep


def sender(destination: Destination, connect: Connect) -> Sender:
    return (HttpSender if destination.protocol == "HTTP" else TcpSender)(destination, connect)


class Delivery:
    """Sends batches of one buffer as they become due, one at a time, and again until they are accepted."""

    def __init__(
        self, buffer: Buffer, sender: Sender, dropped: Callable[[Batch], bytes], monotonic: Callable[[], float]
    ) -> None:
        """`dropped` makes the event that tells how much was dropped before a batch."""
        self._buffer = buffer
        self._sender = sender
        self._dropped = dropped
        self._monotonic = monotonic
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._awake = asyncio.Event()
        self._awake.set()
        self._hurry = 0  # records that a flush does not let wait

    def push(self, record: bytes) -> None:
        self._buffer.add(record, self._monotonic())
        if self._task is None:
            self._arm()

    def pause(self) -> None:
        """The environment is frozen: nothing more is begun."""
        self._awake.clear()
        self._disarm()

    def resume(self) -> None:
        self._awake.set()
        if self._task is None:
            self._arm()

    def flush(self) -> None:
        """Send what there is, and only that, without waiting for more: sending may cause records itself."""
        self._hurry = len(self._buffer)
        if self._task is None:
            self._disarm()
            self._arm()

    def _arm(self) -> None:
        due = self._buffer.due()
        if due is None or not self._awake.is_set():
            return
        wait = 0.0 if self._hurry else due - self._monotonic()
        if wait <= 0:
            self._begin()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait, self._begin)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> None:
        self._disarm()
        batch = self._buffer.take()
        if batch is not None:
            self._hurry = max(0, self._hurry - len(batch.records))
            self._task = asyncio.get_running_loop().create_task(self._send(batch))
            self._task.add_done_callback(functools.partial(self._sent, batch))

    async def _send(self, batch: Batch) -> None:
        records = batch.records
        if batch.dropped_records:
            records = [self._dropped(batch), *records]
        wait = BACKOFF
        while True:
            await self._awake.wait()
            try:
                await self._sender.send(records)
                return
            except (OSError, Refusal, SandboxError):
                await asyncio.sleep(wait)
                wait = min(wait * 2, BACKOFF_LIMIT)

    def _sent(self, batch: Batch, task: asyncio.Task[None]) -> None:
        self._buffer.release(batch)
        self._task = None
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            _log.error("telemetry was lost by a mistake of ours", exc_info=error)
        self._arm()

    async def stop(self) -> None:
        """Give up what has not been delivered."""
        self.pause()
        if (task := self._task) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._buffer.clear()
        self._sender.close()
