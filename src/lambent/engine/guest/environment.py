"""The init of one execution environment: process 1 of its namespaces, the parent of the runtime.

It outlives the runtime: after a crash or a timeout the server asks for a fresh runtime process, and `/tmp` is still
there. It holds capabilities inside its namespaces only until the function's mounts are in place, runs no user code,
and speaks to nobody but the server.
"""

import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import traceback

import executable
import extensions
import image
import layout
import syscalls as sc
import template
import wire

SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP = 1


class Files:
    """The descriptors that came with an order to spawn, by what they are for."""

    def __init__(self, names, fds):
        pairs = list(zip(names, fds))  # noqa: B905  Python 3.9 has no strict
        named = dict(pairs)
        self.channel = named["channel"]  # to the server
        self.output = named["output"]  # what the runtime prints goes there
        self.tmp = named.get("tmp")  # a detached mount
        self.freezer = named.get("freezer")
        self.groups = [fd for name, fd in pairs if name == "group"]  # whoever writes "0" joins the group


class Init:
    def __init__(self, files, plan):
        self.files = files
        self.channel = None
        self.plan = plan
        self.starter = None  # our end of the pipe that the waiting runtime process reads its assignment from
        self.runtime = None  # its pid
        self.report = None  # where it says why it could not become its program
        self.assignment = None
        self.extensions = extensions.Extensions(lambda: join(files.groups), lambda: give_up_privileges(plan))
        self.template = None  # what the runtime has become, if it is one
        self.forks = set()  # their pids

    def run(self):
        self.fence()
        self.wake_reader, wake_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        self.fork_runtime(self.plan["waiting"])
        wire.send(self.channel, {"op": "fenced"})
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        poll.register(self.wake_reader, select.POLLIN)
        while True:
            for fd, _event in poll.poll():
                if fd == self.wake_reader:
                    self.reap()
                elif not self.obey():
                    return

    def fence(self):
        """See only what belongs to this environment: the namespaces are new, what they were copied from is not."""
        self.place_files()
        self.channel = socket.socket(fileno=self.files.channel)
        os.setsid()
        flags = sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC
        if self.plan["old_proc"]:
            sc.mount("proc", "/.proc", "proc", flags)
            sc.umount("/proc")
            sc.mount("/.proc", "/proc", None, sc.MS_MOVE)
        else:
            sc.mount("proc", "/proc", "proc", flags)
        if self.files.tmp is not None:
            sc.move_mount(self.files.tmp, "/tmp")
            os.close(self.files.tmp)

    def place_files(self):
        """Nothing of the zygote stays open here but what came for this environment."""
        files = self.files
        os.dup2(files.output, 1)
        os.dup2(files.output, 2)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        first = 3
        for fd in sorted(fd for fd in (files.channel, files.tmp, *files.groups) if fd is not None):
            sc.close_range(first, fd - 1)
            first = fd + 1
        sc.close_range(first)

    def obey(self):
        """One order of the server; False when it is gone."""
        message, fds = wire.receive(self.channel)
        if message is None:
            return False
        order = message["op"]
        answer, gifts = {"op": "done", "order": order}, []
        if order == "assign":
            self.assignment = message
            self.attach(message, fds)
            answer["extensions"], gifts = self.begin()
        elif order == "restart":
            self.stop_runtime()
            self.fork_runtime(None if self.assignment["fresh"] else self.plan["waiting"])
            answer["extensions"], gifts = self.begin()
        elif order == "start":
            self.start()
        elif order == "socket":
            gifts = [socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC).detach()]
        elif order == "stop":
            self.stop_runtime()
        elif order == "signal":  # SIGSTOP and SIGCONT, where there is no freezer
            try:
                os.kill(-1, message["signal"])
            except ProcessLookupError:
                pass
        elif order == "terminate":
            self.terminate(message["signal"], message["extension"])
        elif order in ("trace", "hold", "fork", "retire"):
            gifts = self.obey_as_template(order, message, fds, answer)
        wire.send(self.channel, answer, gifts)
        for fd in gifts:
            os.close(fd)
        return True

    def obey_as_template(self, order, message, fds, answer):
        """What concerns the runtime as a template; `answer` gets the reason of a failure. Returns descriptors."""
        try:
            if order == "trace":
                self.template = template.Template(self.runtime, self.plan, 1)
            elif order == "hold":
                answer["problem"] = self.template.hold()
            elif order == "retire":
                self.runtime = None
                self.template.end()
            else:
                files = Files(message["files"], fds)
                pid, init, listeners = self.template.fork(files, message["uid"], listen)
                self.forks.add(pid)
                answer["pid"] = pid
                return [sc.pidfd_open(init), *listeners]
        except Exception as error:  # whatever the runtime has made of itself, its init lives on
            answer["error"] = str(error) or repr(error)
        finally:
            for fd in fds:
                os.close(fd)
        return []

    def begin(self):
        """Start the external extensions. Without any, start the runtime, which else waits for them to register."""
        wanted = self.assignment["extensions"]
        found, outputs = ([], []) if wanted is None else self.extensions.launch(**wanted)
        if not found:
            self.start()
        return found, outputs

    def terminate(self, number, extension):
        """A signal for one extension, or for the runtime."""
        if extension is not None:
            self.extensions.signal(extension, number)
        elif self.runtime is not None:
            os.kill(self.runtime, number)  # there until it has been waited for

    def attach(self, message, fds):
        """Put the function's code, layers and /tmp in place: mounts that came along, else from where all trees are."""
        mounts = dict(zip(message["mounts"], fds))  # noqa: B905
        self.make_places([target for target in mounts if target.startswith("/mnt/")])
        for target, fd in mounts.items():
            sc.move_mount(fd, target)
            os.close(fd)
        taken = {"/mnt" if target.startswith("/mnt/") else target for target in mounts} - {layout.IMAGE}
        if message["image"] and layout.IMAGE not in mounts:
            image.mount(message["image"], self.plan["user_namespace"])
        if message["code"] and "/var/task" not in mounts:
            taken |= self.attach_trees(message["code"], message["layers"])
        if message["image"]:
            image.enter(taken if message["tmp_size"] is not None else taken | {"/tmp"})
        if message["tmp_size"] is not None:
            options = "mode=1777,size={}".format(message["tmp_size"])
            sc.mount("tmp", "/tmp", "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, options)

    def make_places(self, targets):
        """Directories to mount on; the root itself is read-only."""
        if not targets:
            return
        flags = sc.MS_NOSUID | sc.MS_NODEV
        sc.mount("mnt", "/mnt", "tmpfs", flags, "mode=0755,size=64k")
        for target in targets:
            os.mkdir(target)
        sc.mount(None, "/mnt", None, sc.MS_REMOUNT | sc.MS_BIND | sc.MS_RDONLY | flags)

    def attach_trees(self, code, layers):
        """Mount them from where all trees are, read-only as those are; the layers, lowest first, as one /opt."""
        sc.mount("/.trees/" + code, "/var/task", None, sc.MS_BIND)
        upmost_first = list(dict.fromkeys(reversed(layers)))  # no overlay takes the same content twice
        if len(upmost_first) == 1:
            sc.mount("/.trees/" + upmost_first[0], "/opt", None, sc.MS_BIND)
        elif upmost_first:
            options = "lowerdir=" + ":".join("/.trees/" + layer for layer in upmost_first)
            if self.plan["user_namespace"]:
                options += ",userxattr"
            sc.mount("layers", "/opt", "overlay", sc.MS_RDONLY | sc.MS_NOSUID | sc.MS_NODEV, options)
        sc.umount("/.trees")
        return {"/var/task", "/opt"} if upmost_first else {"/var/task"}

    def fork_runtime(self, waiting):
        """A new process that waits for the function; `waiting` is the command it waits as, None for as it is."""
        self.close_report()
        reader, self.starter = os.pipe2(os.O_CLOEXEC)
        self.report, reporter = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        pid = os.fork()
        if pid == 0:
            become_runtime(reader, reporter, self.files.groups, self.plan, waiting)
        self.runtime = pid
        os.close(reader)
        os.close(reporter)

    def start(self):
        if self.assignment["fresh"] and self.plan["waiting"]:  # what waits has started without this environment
            self.drop_waiting()
            os.close(self.starter)
            self.fork_runtime(None)
        limit = self.assignment["data_limit"]
        if limit and self.plan["waiting"]:  # a started program does not limit itself
            limit += self.plan["reserved"]
            resource.prlimit(self.runtime, resource.RLIMIT_DATA, (limit, limit))
        try:
            with os.fdopen(self.starter, "wb") as pipe:
                pipe.write(self.assignment["start"].encode())
        except BrokenPipeError:
            pass  # it ended while it waited; its exit is reported
        self.starter = None

    def drop_waiting(self):
        """Kill the runtime that waits, and nothing else: extensions may be at work already."""
        pid, self.runtime = self.runtime, None
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def close_report(self):
        """What the runtime reported, if it did."""
        if self.report is None:
            return None
        try:
            text = os.read(self.report, 4096)
        except BlockingIOError:
            text = b""
        os.close(self.report)
        self.report = None
        return json.loads(text) if text else None

    def stop_runtime(self):
        """Kill all but ourselves. The exits are ordered, so they are not reported."""
        self.runtime = None
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass
        while True:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
        self.extensions.forget()

    def reap(self):
        try:
            os.read(self.wake_reader, 512)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.forks:
                self.forks.discard(pid)
                peak, code = usage.ru_maxrss * 1024, os.waitstatus_to_exitcode(status)
                wire.send(self.channel, {"op": "fork_exited", "pid": pid, "code": code, "peak": peak})
                continue
            extension = self.extensions.exited(pid)
            if pid != self.runtime and extension is None:
                continue
            failure = None
            if pid == self.runtime:
                self.runtime = None
                failure = self.close_report()
            code, peak = os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024
            message = {"op": "exited", "extension": extension, "code": code, "peak": peak, "failure": failure}
            wire.send(self.channel, message)


def listen(address):
    """A listening socket in the network namespace of this thread, whose loopback is brought up for it."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    request = fcntl.ioctl(listener, SIOCGIFFLAGS, struct.pack("16sh22x", b"lo", 0))
    flags = struct.unpack("16sh22x", request)[1]
    fcntl.ioctl(listener, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(tuple(address))
    listener.listen(128)
    return listener.detach()


def set_oom_score(score):
    fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    try:
        os.write(fd, score.encode())
    except OSError:
        pass  # lowering it takes CAP_SYS_RESOURCE, which a container's root may lack
    finally:
        os.close(fd)


def join(groups):
    """Join the control groups oneself: a single thread that moves itself is what the kernel need not wait for."""
    for group in groups:
        os.write(group, b"0")


def become_runtime(reader, reporter, groups, plan, waiting):
    """Give up every privilege, wait for the function, become its runtime. Never returns.

    The init stays outside the groups, so that no limit and no freezing of the function touches it.
    """
    status = 1
    try:
        join(groups)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        place_descriptors(reader, reporter)
        give_up_privileges(plan)
        if waiting:
            executable.wait_as(waiting, plan["waiting_environment"])
        with os.fdopen(3, "rb") as pipe:
            if "python_runtime" in sys.modules and not select.select([pipe], [], [], 0)[0]:
                sys.modules["python_runtime"].rehearse()
            text = pipe.read()
        if text:
            status = run(json.loads(text), plan["reserved"])
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else (0 if leave.code is None else 1)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status & 0xFF)


def place_descriptors(reader, reporter):
    """The assignment on 3, the report on 4, and nothing else of ours."""
    reader, reporter = (fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (reader, reporter))
    os.dup2(reader, 3)
    os.dup2(reporter, executable.REPORT_FD, inheritable=False)
    sc.close_range(5)


def run(start, reserved):
    """The exit status of the function's runtime, if it ever ends in this process."""
    if start.get("data_limit"):
        limit = start["data_limit"] + reserved
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    if start["command"]:
        executable.become(start["command"], start["environment"], start["directory"])
    os.close(executable.REPORT_FD)
    import python_runtime  # loaded long ago, by the zygote

    return python_runtime.run(start)


def give_up_privileges(plan):
    for name, limits in plan["rlimits"].items():
        resource.setrlimit(getattr(resource, name), tuple(limits))
    set_oom_score("500")
    try:
        os.sched_setscheduler(
            0, os.SCHED_BATCH, os.sched_param(0)
        )  # woken by an event, it does not push the server aside
    except OSError:
        pass  # gVisor has no such policy
    if plan["user_namespace"]:
        # Without root there is one user id; a second namespace makes it look like any other.
        sc.unshare(sc.CLONE_NEWUSER)
        for name, text in (("setgroups", "deny"), ("uid_map", plan["uid_map"]), ("gid_map", plan["uid_map"])):
            with open("/proc/self/" + name, "w") as file:
                file.write(text)
        sc.drop_bounding_set()
    else:
        sc.drop_bounding_set()
        os.setgroups([])
        os.setresgid(plan["uid"], plan["uid"], plan["uid"])
        os.setresuid(plan["uid"], plan["uid"], plan["uid"])
    sc.drop_capabilities()
    sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
    sc.prctl(sc.PR_SET_DUMPABLE, 1)
    sc.load_seccomp(plan["seccomp"])
