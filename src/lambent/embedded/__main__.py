"""Serves moto on a socket that was handed over, until the server ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def _end_with(parent: int) -> None:
    """The kernel ends this process with the server, whatever ends that."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _end_at_eof() -> None:
    """The server keeps standard input open: its end is the server's, seen from another parent too."""
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    listener, parent = int(sys.argv[1]), int(sys.argv[2])
    _end_with(parent)
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))  # nothing of it outlives it: no farewell
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the server

    from lambent.embedded import settings, web

    chosen = settings.read(sys.stdin)
    threading.Thread(target=_end_at_eof, daemon=True).start()
    server = web.server(listener, chosen)
    print("ready", flush=True)
    server.serve_forever()


main()
