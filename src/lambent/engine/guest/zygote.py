"""The zygote of one runtime: forks execution environments that are ready before their function is known.

Runs inside the runtime's root, with no user code and no secret: for Python on the runtime's own interpreter with its
client loaded (`zygote.py FD python_runtime`), for others on the server's interpreter, which no function gets to see.
For each `spawn` it forks an init (process 1 of an own process namespace), which fences itself in, then forks the
process that will become the runtime and lets it wait for its function. See `environment.py` for the init.
"""

import gc
import importlib
import os
import resource
import signal
import socket
import sys

# -S keeps site-packages away. What a function may see lies in /var/runtime, the rest beside this file.
sys.path[:0] = ["/var/runtime", os.path.dirname(os.path.abspath(__file__))]

import environment  # noqa: E402
import syscalls as sc  # noqa: E402
import wire  # noqa: E402

# A pid namespace is for children only; the others this process enters itself, and comes home from.
NAMESPACES = (
    ("pid", sc.CLONE_NEWPID),
    ("mnt", sc.CLONE_NEWNS),
    ("ipc", sc.CLONE_NEWIPC),
    ("uts", sc.CLONE_NEWUTS),
    ("net", sc.CLONE_NEWNET),
)
LAZY = ("encodings.ascii", "encodings.idna", "encodings.latin_1", "linecache")  # else loaded when needed: too late
EVERY = sc.CLONE_NEWPID | sc.CLONE_NEWNS | sc.CLONE_NEWIPC | sc.CLONE_NEWUTS | sc.CLONE_NEWNET


class Zygote:
    def __init__(self, control):
        self.control = control
        self.homes = [(os.open("/proc/self/ns/" + name, os.O_RDONLY | os.O_CLOEXEC), kind) for name, kind in NAMESPACES]
        self.plan = {}  # what all environments of this runtime have in common
        self.freezers = {}  # pid of an init -> descriptor that thaws what it started
        environment.set_oom_score("-1000")  # inherited by inits: the function dies first when memory runs out
        sc.prctl(sc.PR_SET_DUMPABLE, 0)

    def serve(self):
        while True:
            message, fds = wire.receive(self.control)
            if message is None:
                return
            if message["op"] == "spawn":
                self.spawn(message, fds)
            elif message["op"] == "plan":
                self.take(message)
            elif message["op"] == "guard":
                self.freezers[message["pid"]] = fds[0]
            elif message["op"] == "reaped":
                self.forget(message["pid"])

    def take(self, plan):
        """What all environments of this runtime have in common."""
        plan["seccomp"] = bytes.fromhex(plan["seccomp"])
        # In a user namespace, whoever made it, a new /proc takes an old one to be there until it is mounted.
        plan["old_proc"] = plan["user_namespace"] or not initial_user_namespace()
        # An unmount makes the kernel wait for every processor: once here, not in each environment.
        for path in [*plan["hidden"], *([] if plan["old_proc"] else ["/proc"])]:
            sc.umount(path)
        self.plan = plan

    def spawn(self, message, fds):
        """Answer with the pidfd of a new init and the sockets that listen in its network namespace, or why not."""
        files = environment.Files(message["files"], fds)
        answer, sent = {"op": "failed", "order": "fork", "id": message["id"]}, []
        try:
            pid, sent = self.fork(files, message["plan"])
            answer = {"op": "spawned", "id": message["id"], "pid": pid}
            if files.freezer is not None:
                self.freezers[pid] = os.dup(files.freezer)
        except OSError as error:  # no more namespaces, processes or memory: those that are there live on
            answer["reason"] = str(error)
        wire.send(self.control, answer, sent)
        for fd in (*sent, *fds):
            os.close(fd)

    def fork(self, files, plan):
        """(pid, [pidfd, *listeners]) of an init in new namespaces.

        What can be done here is done here: a fork copies every page of memory that it is the first to write to.
        """
        sc.unshare(EVERY)
        try:
            listeners = [environment.listen(address) for address in self.plan["listeners"]]
            pid = sc.fork()
            if pid == 0:
                self.become_init(files, {**self.plan, **plan})
        finally:
            for home, kind in self.homes:
                sc.setns(home, kind)
        return pid, [sc.pidfd_open(pid), *listeners]

    def become_init(self, files, plan):
        status = 1
        try:
            environment.Init(files, plan).run()
            status = 0
        except BaseException as error:  # the server must learn why, whatever it was
            report(1, "sandbox: {}: {}\n".format(type(error).__name__, error))
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


def initial_user_namespace():
    with open("/proc/self/uid_map") as file:
        return file.read().split() == ["0", "0", "4294967295"]


def raise_limit():
    """A descriptor for each environment: as many as we may have."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


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
    for name in LAZY:
        importlib.import_module(name)
    for name in sys.argv[2:]:
        importlib.import_module(name).preload()
    raise_limit()
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
