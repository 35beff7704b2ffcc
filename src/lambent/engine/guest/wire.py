"""JSON messages with file descriptors over a SOCK_SEQPACKET socket, between the server, a zygote and its children."""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

LIMIT = 262144  # bytes a message: 4 KB of environment is the largest part of one


def send(sock: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([json.dumps(message).encode()], ancillary)


def receive(sock: socket.socket) -> tuple[Any, list[int]]:
    """One message and its descriptors; (None, []) when the other side is gone. BlockingIOError when there is none."""
    try:
        data, ancillary, _flags, _address = sock.recvmsg(LIMIT, socket.CMSG_SPACE(16 * 4), socket.MSG_CMSG_CLOEXEC)
    except BlockingIOError:
        raise
    except OSError:
        return None, []
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    if not data:
        for fd in fds:
            os.close(fd)
        return None, []
    return json.loads(data), list(fds)
