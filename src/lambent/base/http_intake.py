"""The body of the request that a connection reads: gathered until it is whole, or passed on as it comes."""

from __future__ import annotations

from io import BytesIO

from lambent.base.http_streams import Flow, Sink


class Intake:
    """One for each connection, used for one request after the other."""

    __slots__ = ("_body", "_buffer", "_pieces", "_sink", "blocked", "received")

    def __init__(self) -> None:
        self.received = 0  # bytes
        self.blocked = False  # the sink takes no more for now
        self._body = b""  # when it came in one piece
        self._buffer: BytesIO | None = None  # when it did not
        self._sink: Sink | None = None  # who gets it instead,
        self._pieces: list[bytes] = []  # these next

    @property
    def passes_on(self) -> bool:
        return self._sink is not None

    def divert(self, sink: Sink, flow: Flow) -> None:
        """Pass the body that is about to come to `sink`."""
        self._sink = sink
        sink.start(flow)

    def take(self, body: bytes) -> None:
        """The next bytes."""
        if self._sink is not None:
            self._pieces.append(body)
        elif not self.received:
            self._body = body
        else:
            if self._buffer is None:
                self._buffer = BytesIO()
                self._buffer.write(self._body)
                self._body = b""
            self._buffer.write(body)
        self.received += len(body)

    def pass_on(self) -> None:
        """Give the sink what has come since the last time."""
        if self._pieces and self._sink is not None:
            pieces, self._pieces = self._pieces, []
            self._sink.feed(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def finish(self) -> bytes:
        """The whole body; nothing when a sink had it."""
        body = self._body if self._buffer is None else self._buffer.getvalue()
        self._reset()
        return body

    def drop(self) -> None:
        """Forget what has come: the rest will not."""
        sink = self._sink
        self._reset()
        if sink is not None:
            sink.lost()

    def _reset(self) -> None:
        self._body, self._buffer, self._sink, self._pieces = b"", None, None, []
        self.received, self.blocked = 0, False
