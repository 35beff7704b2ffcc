"""The external extensions of one environment: every file in /opt/extensions is a program that runs beside the runtime.

Each is a process of its own behind the same fences as the runtime, with an output of its own.
"""

import json
import os
import resource
import signal

import syscalls as sc

DIRECTORY = "/opt/extensions"
LIMIT = 10  # Lambda's


class Extensions:
    def __init__(self, join_groups, give_up_privileges):
        """What turns a fresh process into one that a function may control: its limits first, then its fences."""
        self.join_groups = join_groups
        self.give_up_privileges = give_up_privileges
        self.names = {}  # pid -> name

    def launch(self, environment, data_limit):
        """Start all there are, side by side: ([what became of each], [the read end of each one's output])."""
        names = self.find()
        if len(names) > LIMIT:
            why = {"error": "TooManyExtensions", "message": "ErrTooManyExtensions"}
            return [dict(why, name=name) for name in names[: LIMIT + 1]], []
        started = [self.fork(name, environment, data_limit) for name in names]
        return [dict(read_all(reporter), name=name) for name, reporter, _output in started], [
            output for _name, _reporter, output in started if output is not None
        ]

    def find(self):
        try:
            entries = [entry.name for entry in os.scandir(DIRECTORY) if not entry.is_dir(follow_symlinks=False)]
        except OSError:
            return []
        return sorted(entries)

    def fork(self, name, environment, data_limit):
        output, writer = self.open_output()
        reporter, report = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            self.become(name, writer, report, environment, data_limit)
        os.close(writer)
        os.close(report)
        self.names[pid] = name
        return printable(name), reporter, output

    def open_output(self):
        """(the server's end, the extension's): where an extension writes to."""
        output, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(output, False)
        return output, writer

    def become(self, name, output, report, environment, data_limit):
        """Execute the extension; `report` closes when that has worked, or tells why it has not. Never returns."""
        path = DIRECTORY + "/" + name
        try:
            self.join_groups()
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            for fd in (1, 2):
                os.dup2(output, fd)
            if report != 3:
                os.dup2(report, 3, inheritable=False)
            sc.close_range(4)
            self.give_up_privileges()
            if data_limit:
                resource.setrlimit(resource.RLIMIT_DATA, (data_limit, data_limit))
            os.chdir("/")
            os.execve(path, [path], environment)
        except BaseException as error:
            kind = "PermissionDenied" if isinstance(error, PermissionError) else "UnknownError"
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            text = "fork/exec {}: {}".format(printable(path), reason)
            os.write(3, json.dumps({"error": kind, "message": text}).encode())
        finally:
            os._exit(1)

    def signal(self, name, number):
        """Send a signal to the extension and what it has started in its process group."""
        for pid, known in self.names.items():
            if printable(known) == name:
                try:
                    os.killpg(pid, number)
                except ProcessLookupError:
                    pass

    def forget(self):
        """All have been killed and waited for."""
        self.names = {}

    def exited(self, pid):
        """The name of the extension that was this process, if it was one."""
        name = self.names.pop(pid, None)
        return None if name is None else printable(name)


def printable(name):
    """A file name that is not UTF-8 must not break what carries it."""
    return os.fsencode(name).decode("utf-8", "replace")


def read_all(fd):
    """What a starting process has reported: nothing once it is executing."""
    with os.fdopen(fd, "rb") as pipe:
        text = pipe.read(4096)
    return json.loads(text) if text else {"error": "", "message": ""}
