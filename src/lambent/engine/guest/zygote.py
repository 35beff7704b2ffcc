"""The zygote of one runtime: forks execution environments that are ready before their function is known.

Runs inside the runtime's root, with no user code and no secret: for Python on the runtime's own interpreter with its
client loaded (`zygote.py FD python_runtime`), for others on the server's interpreter, which no function gets to see.
For each `spawn` it forks an init (process 1 of an own process namespace), which fences itself in, then forks the
process that will become the runtime and lets it wait for its function. See `environment.py` for the init.
"""

import gc
import importlib
import os
import signal
import socket
import sys

# -S keeps site-packages away. What a function may see lies in /var/runtime, the rest beside this file.
sys.path[:0] = ["/var/runtime", os.path.dirname(os.path.abspath(__file__))]

import environment  # noqa: E402
import syscalls as sc  # noqa: E402
import wire  # noqa: E402


class Zygote:
    def __init__(self, control):
        self.control = control
        self.host_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.freezers = {}  # pid of an init -> descriptor that thaws it

    def serve(self):
        while True:
            message, fds = wire.receive(self.control)
            if message is None:
                return
            if message["op"] == "spawn":
                self.spawn(message, fds)
            elif message["op"] == "freezer":
                self.freezers[message["pid"]] = fds[0]
            elif message["op"] == "reaped":
                self.forget(message["pid"])

    def spawn(self, message, fds):
        """Fork an init into a new process namespace and answer with its pidfd."""
        channel, output = fds
        sc.unshare(sc.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            self.become_init(channel, output, message)
        sc.setns(self.host_pids, sc.CLONE_NEWPID)
        pidfd = sc.pidfd_open(pid)
        wire.send(self.control, {"op": "spawned", "id": message["id"], "pid": pid}, [pidfd])
        for fd in (pidfd, channel, output):
            os.close(fd)

    def become_init(self, channel, output, message):
        status = 1
        try:
            self.control.close()
            os.close(self.host_pids)
            for fd in self.freezers.values():
                os.close(fd)
            environment.Init(socket.socket(fileno=channel), output, message).run()
            status = 0
        except BaseException as error:  # the server must learn why, whatever it was
            report(output, "sandbox: {}: {}\n".format(type(error).__name__, error))
        finally:
            os._exit(status)

    def forget(self, pid):
        fd = self.freezers.pop(pid, None)
        if fd is not None:
            os.close(fd)

    def stop(self):
        """The server is gone: nothing of it may live on, not even what it had frozen."""
        for pid, fd in self.freezers.items():
            try:
                os.kill(pid, signal.SIGKILL)
                os.write(fd, b"THAWED")
            except OSError:
                pass


def report(fd, text):
    try:
        os.write(fd, text.encode())
    except OSError:
        pass


def main():
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for name in sys.argv[2:]:
        importlib.import_module(name).preload()
    gc.collect()
    gc.freeze()
    zygote = Zygote(control)
    wire.send(control, {"op": "ready", "pid": os.getpid(), "version": sys.version.split()[0]})
    try:
        zygote.serve()
    finally:
        zygote.stop()


if __name__ == "__main__":
    main()
