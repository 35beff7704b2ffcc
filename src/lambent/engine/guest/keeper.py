"""Keeps the containers of one server: everything about them that must not be seen on the machine, or outlive it.

Started as `python -I -S keeper.py CONTROL_FD`, with a plan (JSON) as the first message on that socket. In a mount
namespace of its own it lays out the runtimes' roots, the functions' `/opt` and `/tmp`, makes network namespaces and
runs the OCI runtime's command. It ends with the server, and what it keeps ends with it.
"""

import json
import os
import select
import shutil
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import environment
import launcher
import syscalls as sc
import wire

PR_SET_CHILD_SUBREAPER = 36


class Sandbox:
    def __init__(self, directory):
        self.directory = directory  # the bundle, and the mount points of what lies in it
        self.network = None
        self.freezer = None
        self.pidfd = None
        self.mounts = []

    def drop(self, name):
        """Close the descriptor kept as `name`."""
        fd = getattr(self, name)
        if fd is not None:
            setattr(self, name, None)
            os.close(fd)


class Keeper:
    def __init__(self, control, plan):
        self.control = control
        self.plan = plan
        self.sandboxes = {}  # name -> Sandbox
        self.running = {}  # pid of a command of the OCI runtime -> what to do with its exit status
        self.network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def serve(self):
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(reader, select.POLLIN)
        while True:
            for fd, _event in poll.poll():
                if fd == reader:
                    self.reap(reader)
                else:
                    message, fds = wire.receive(self.control)
                    if message is None:
                        return
                    self.obey(message, fds)

    def obey(self, message, fds):
        try:
            getattr(self, "on_" + message["op"])(message, fds)
        except OSError as error:
            self.fail(message, error)
        finally:
            for fd in fds:
                os.close(fd)

    def answer(self, message, fds=(), **fields):
        wire.send(self.control, {"op": "answer", "id": message["id"], **fields}, fds)

    def fail(self, message, reason):
        failed = {"op": "failed", "order": message["op"], "id": message["id"], "reason": str(reason)}
        wire.send(self.control, failed)

    def reap(self, reader):
        try:
            os.read(reader, 512)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            done = self.running.pop(pid, None)  # anything else is the orphan of a container
            if done is not None:
                done(os.waitstatus_to_exitcode(status))

    def run(self, arguments, done, stdin=None, output=None):
        """Start the OCI runtime's command; `done` gets its exit status."""
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        command = [*self.plan["command"], *arguments]
        places = [(stdin, 0), (output, 1), (output, 2)]
        actions = [(os.POSIX_SPAWN_DUP2, null if fd is None else fd, place) for fd, place in places]
        environment_of = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        pid = os.posix_spawn(command[0], command, environment_of, file_actions=actions, setsigdef=[signal.SIGINT])
        os.close(null)
        self.running[pid] = done

    # What the server asks for

    def on_root(self, message, fds):
        """Lay out the root that all containers of one runtime share."""
        root = message["plan"]["root"]
        os.makedirs(root, exist_ok=True)
        launcher.lay_out(message["plan"])
        os.chmod(root + "/.lambent", 0o700)  # for the containers' inits; functions are other users
        sc.mount(None, root, None, sc.MS_REMOUNT | sc.MS_BIND | sc.MS_RDONLY | sc.MS_NOSUID | sc.MS_NODEV)
        self.answer(message)

    def on_open(self, message, fds):
        """A network namespace for a sandbox to come, with the server's sockets in it."""
        sandbox = Sandbox(os.path.join(self.plan["directory"], message["sandbox"]))
        sc.unshare(sc.CLONE_NEWNET)
        try:
            listeners = [environment.listen(address) for address in message["listeners"]]
            sandbox.network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            sc.setns(self.network, sc.CLONE_NEWNET)
        os.makedirs(sandbox.directory, mode=0o700)
        self.sandboxes[message["sandbox"]] = sandbox
        network = "/proc/{}/fd/{}".format(os.getpid(), sandbox.network)
        self.answer(message, listeners, network=network, directory=sandbox.directory)
        for listener in listeners:
            os.close(listener)

    def on_fill(self, message, fds):
        """Put what a function brings into its bundle: detached mounts, or a tmpfs where none is for `tmp`.

        `trees` are those that no mount comes for: directories, the upmost first.
        """
        sandbox = self.sandboxes[message["sandbox"]]
        given = dict(zip(message["mounts"], fds))  # noqa: B905
        for name, layers in message["trees"].items():
            target = os.path.join(sandbox.directory, name)
            os.makedirs(target)
            if len(layers) == 1:
                sc.bind(layers[0], target)
            else:
                options = "lowerdir={},userxattr".format(":".join(layers))
                sc.mount("layers", target, "overlay", sc.MS_RDONLY | sc.MS_NOSUID | sc.MS_NODEV, options)
            sandbox.mounts.append(target)
        for name in sorted({"tmp", *given}):
            target = os.path.join(sandbox.directory, name)
            os.makedirs(target)
            if name in given:
                sc.move_mount(given[name], target)
            else:
                options = "mode=1777,size={}".format(message["tmp_size"])
                sc.mount("tmp", target, "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, options)
            sandbox.mounts.append(target)
        with open(os.path.join(sandbox.directory, "config.json"), "w") as file:
            json.dump(message["config"], file)
        self.answer(message)

    def on_socket(self, message, fds):
        """An unconnected TCP socket of a sandbox's network."""
        sc.setns(self.sandboxes[message["sandbox"]].network, sc.CLONE_NEWNET)
        try:
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        finally:
            sc.setns(self.network, sc.CLONE_NEWNET)
        with made:
            self.answer(message, [made.fileno()])

    def on_run(self, message, fds):
        """Have the container made and started. Answers with its pid and pidfd once its init runs."""
        name = message["sandbox"]
        sandbox = self.sandboxes[name]
        pid_file = os.path.join(sandbox.directory, "pid")

        def done(status):
            if status != 0:
                self.fail(message, "{} left with status {}".format(self.plan["command"][0], status))
                return
            try:
                with open(pid_file) as file:
                    pid = int(file.read())
                sandbox.drop("pidfd")
                sandbox.pidfd = sc.pidfd_open(pid)
            except (OSError, ValueError) as error:
                self.fail(message, "the container ended at once: {}".format(error))
                return
            self.answer(message, [sandbox.pidfd], pid=pid)

        arguments = ["run", "--detach", "--bundle", sandbox.directory, "--pid-file", pid_file, name]
        self.run(arguments, done, fds[0], fds[1])

    def on_guard(self, message, fds):
        """Keep the way to thaw a container, for the day that the server is gone."""
        sandbox = self.sandboxes[message["sandbox"]]
        sandbox.drop("freezer")
        sandbox.freezer = os.dup(fds[0])
        self.answer(message)

    def on_delete(self, message, fds):
        """Let the OCI runtime forget a container. Answers when it has."""
        self.run(["delete", "--force", message["sandbox"]], lambda status: self.answer(message))

    def on_close(self, message, fds):
        """Give back all that belongs to a sandbox. Its container is deleted."""
        sandbox = self.sandboxes.pop(message["sandbox"], None)
        if sandbox is not None:
            self.close(sandbox)
        self.answer(message)

    def close(self, sandbox):
        for name in ("network", "freezer", "pidfd"):
            sandbox.drop(name)
        for target in sandbox.mounts:
            sc.umount(target)
        shutil.rmtree(sandbox.directory, ignore_errors=True)

    def stop(self):
        """The server is gone: nothing of it may live on, not even what it had frozen."""
        for sandbox in self.sandboxes.values():
            try:
                if sandbox.pidfd is not None:
                    signal.pidfd_send_signal(sandbox.pidfd, signal.SIGKILL)
                if sandbox.freezer is not None:
                    os.write(sandbox.freezer, b"THAWED")
            except OSError:
                pass  # it has ended by itself


def show_only(hierarchies, stage):
    """Let /sys/fs/cgroup hold these cgroup v1 hierarchies and no more: crun takes no mixture of v1 and v2, and
    nobody would clear groups in a hierarchy that the server does not use."""
    os.makedirs(stage, exist_ok=True)
    sc.mount("cgroups", stage, "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, "mode=0755")
    for path in hierarchies:
        target = os.path.join(stage, os.path.basename(path))
        os.makedirs(target)
        sc.mount(path, target, None, sc.MS_BIND)
    sc.umount("/sys/fs/cgroup")
    sc.mount(stage, "/sys/fs/cgroup", None, sc.MS_MOVE)


def main():
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    plan, _fds = wire.receive(control)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if plan["user_namespace"]:
        launcher.enter_user_namespace()
        sc.unshare(sc.CLONE_NEWNET)  # a network that is this namespace's own can be come back to
    sc.unshare(sc.CLONE_NEWNS)
    sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)
    sc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    os.umask(0o022)
    if plan["user_namespace"]:
        sc.mount("none", "/sys/fs/cgroup", "tmpfs", sc.MS_NOSUID | sc.MS_NODEV)  # no groups, of whatever version
    elif plan["hierarchies"]:
        show_only(plan["hierarchies"], os.path.join(plan["directory"], "cgroup"))
    keeper = Keeper(control, plan)
    wire.send(control, {"op": "ready", "pid": os.getpid()})
    try:
        keeper.serve()
    finally:
        keeper.stop()


if __name__ == "__main__":
    main()
