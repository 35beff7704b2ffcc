"""A piece of internet for tests: a network namespace that the machine has a route to, with a server in it.

It says to everybody who connects from which address they came.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path
from types import TracebackType

import lambent
from lambent.engine.guest import syscalls as sc

sys.path.insert(0, str(Path(lambent.__file__).parent / "engine" / "guest"))  # scripts find each other by bare names

from router import IFF_UP, RTM_DELLINK, RTM_NEWADDR, RTM_NEWLINK, Netlink, address, link, pair  # type: ignore


class Internet:
    """`address` and `port` are the server's; `near` is the machine's own address there."""

    def __init__(self) -> None:
        number = os.getpid() % 60
        self.near, self.address = f"198.51.100.{4 * number + 1}", f"198.51.100.{4 * number + 2}"
        self._name = f"test{os.getpid()}"
        self._listener = _elsewhere(self._connect)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _connect(self, machine: int) -> socket.socket:
        """In a thread that is in a network of its own."""
        with Netlink() as here:
            here.ask((RTM_NEWLINK, pair("eth0", 0, self._name, 0, machine)))
            index = socket.if_nametoindex("eth0")
            here.ask((RTM_NEWADDR, address(index, self.address, self.address, 30)), (RTM_NEWLINK, link(index, IFF_UP)))
        listener = socket.create_server((self.address, 0))
        sc.setns(machine, sc.CLONE_NEWNET)
        with Netlink() as there:
            index = socket.if_nametoindex(self._name)
            there.ask((RTM_NEWADDR, address(index, self.near, self.near, 30)), (RTM_NEWLINK, link(index, IFF_UP)))
        return listener

    def _serve(self) -> None:
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(peer[0].encode())

    def __enter__(self) -> Internet:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with Netlink() as here:
            here.ask((RTM_DELLINK, link(socket.if_nametoindex(self._name))))


def _elsewhere(work):  # type: ignore[no-untyped-def]
    """What `work` gives in a network of its own; it is told the machine's."""
    found = []

    def enter() -> None:
        machine = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        sc.unshare(sc.CLONE_NEWNET)
        try:
            found.append(work(machine))
        finally:
            os.close(machine)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return found[0]
