"""A Python process with AWS's runtime client loaded that forks for every invoke: the floor of a cold start.

The child runs the handler and answers on the connection. No isolation, no limits, nothing to find or to mount.
Other requests get the answer of an active function, so that rows which deploy run unchanged.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys

from canned import ANSWER, complete

BODY = b'{"State": "Active"}'
CREATED = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def main() -> None:
    importlib.import_module("awslambdaric.bootstrap")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=512)
    gc.collect()
    gc.freeze()
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


def answer(connection: socket.socket, message: bytes) -> None:
    if b"/invocations " not in message[:300]:
        connection.sendall(CREATED)
    elif os.fork() == 0:
        event = json.loads(message.partition(b"\r\n\r\n")[2])
        assert event["name"]
        connection.sendall(ANSWER)
        os._exit(0)


if __name__ == "__main__":
    main()
