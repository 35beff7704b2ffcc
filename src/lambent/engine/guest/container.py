"""The init of a container that an OCI runtime has made: what `environment.py` is in a sandbox of our own making.

Namespaces, mounts, limits and the first system call filter come from the container's bundle. Standard input is the
way to the server; the Runtime API's socket is the server's already. What may be left of privilege serves one purpose:
to start runtimes that have none.
"""

import importlib
import os
import socket
import sys

# What a function may see lies in /var/runtime, the rest beside this file.
sys.path[:0] = ["/var/runtime", os.path.dirname(os.path.abspath(__file__))]

import environment  # noqa: E402
import syscalls as sc  # noqa: E402
import wire  # noqa: E402
import zygote  # noqa: E402


class Container(environment.Init):  # type: ignore[misc]
    def fence(self):
        """Take the server's channel away from what will run here, and hide from it."""
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        sc.prctl(sc.PR_SET_DUMPABLE, 0)
        environment.set_oom_score("-1000")
        if not self.plan["passes_descriptors"]:
            self.extensions.open_output = lambda: (None, os.dup(self.files.output))

    def attach(self, message, fds):
        """Everything is in place since the container was made."""


def main():
    files = environment.Files(("channel", "output"), (os.dup(0), 1))
    channel = socket.socket(fileno=files.channel)
    plan, _fds = wire.receive(channel)
    plan["seccomp"] = bytes.fromhex(plan["seccomp"])
    for name in zygote.LAZY:
        importlib.import_module(name)
    for name in sys.argv[1:]:
        importlib.import_module(name).preload()
    init = Container(files, plan)
    init.channel = channel
    init.run()


if __name__ == "__main__":
    main()
