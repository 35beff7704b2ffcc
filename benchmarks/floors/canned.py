"""A Python process that answers every request on a connection with the same bytes: the floor of sockets and client."""

from __future__ import annotations

import selectors
import socket
import sys
from collections.abc import Callable

BODY = b'{"greeting": "Hello, Ada!"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def serve(port: int, answer: Callable[[socket.socket, bytes], None]) -> None:
    """Hand every whole request of every connection to `answer`, for ever."""
    listener = socket.create_server(("127.0.0.1", port), backlog=512)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    rest: dict[socket.socket, bytes] = {}
    while True:
        for key, _events in selector.select():
            if key.fileobj is listener:
                connection, _address = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ)
                rest[connection] = b""
                continue
            connection = key.fileobj  # type: ignore[assignment]
            data = connection.recv(65536)
            if not data:
                selector.unregister(connection)
                connection.close()
                del rest[connection]
                continue
            rest[connection] += data
            while (taken := complete(rest[connection])) > 0:
                message, rest[connection] = rest[connection][:taken], rest[connection][taken:]
                answer(connection, message)


def complete(data: bytes) -> int:
    """Bytes of the first request in `data`; 0 while it is incomplete."""
    head = data.find(b"\r\n\r\n") + 4
    if head < 4:
        return 0
    at = data.lower().find(b"content-length:", 0, head)
    total = head + (int(data[at + 15 : data.find(b"\r", at)]) if at >= 0 else 0)
    return total if len(data) >= total else 0


if __name__ == "__main__":
    serve(int(sys.argv[1]), lambda connection, message: connection.sendall(ANSWER))
