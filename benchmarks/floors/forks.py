"""A Python process with AWS's runtime client loaded that forks for every invoke: the floor of a cold start.

The child runs the handler and answers on the connection. No isolation, no limits, nothing to find or to mount.
Other requests get the answer of an active function, so that rows which deploy run unchanged.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys

from canned import ANSWER, serve

BODY = b'{"State": "Active"}'
CREATED = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def main() -> None:
    importlib.import_module("awslambdaric.bootstrap")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    serve(int(sys.argv[1]), answer)


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
