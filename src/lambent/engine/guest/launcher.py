"""Builds a runtime's root, pivots into it and becomes that runtime's zygote.

Started once per runtime as `python -I -S launcher.py CONTROL_FD`, with a plan (JSON) as the first message on that
socket. What the plan does not name does not exist for the functions that will run here.
"""

import os
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import syscalls as sc
import wire

DEVICES = ("null", "zero", "full", "random", "urandom")


def enter_user_namespace():
    """Become root of an own user namespace that maps just ourselves (for a server without root)."""
    uid, gid = os.getuid(), os.getgid()
    sc.unshare(sc.CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", "0 {} 1".format(uid)),
        ("gid_map", "0 {} 1".format(gid)),
    ):
        with open("/proc/self/" + name, "w") as file:
            file.write(text)


def enter_process_namespace():
    """Without root, only a process namespace of our own can be left and come back to: its first process goes on."""
    sc.unshare(sc.CLONE_NEWPID)
    pid = os.fork()
    if pid:
        _pid, status = os.waitpid(pid, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    sc.prctl(sc.PR_SET_PDEATHSIG, 9)


def touch(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a"):
        pass


def place(root, source, target):
    """Bind `source` read-only at `target` under `root`; a symbolic link is made again, what is absent is left out."""
    inside = root + target
    if os.path.islink(source):
        os.makedirs(os.path.dirname(inside), exist_ok=True)
        os.symlink(os.readlink(source), inside)
        return
    if not os.path.exists(source):
        return
    if os.path.isdir(source):
        os.makedirs(inside, exist_ok=True)
    else:
        touch(inside)
    sc.bind(source, inside)


def make_devices(root):
    os.makedirs(root + "/dev", exist_ok=True)
    for name in DEVICES:
        touch(root + "/dev/" + name)
        sc.bind("/dev/" + name, root + "/dev/" + name, sc.MS_NOSUID | sc.MS_NOEXEC)
    for name, target in (
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
    ):
        os.symlink(target, root + "/dev/" + name)
    os.symlink("/proc/self/fd/2", root + "/dev/stderr")


def lay_out(plan):
    """The read-only part of a runtime's root, at `plan["root"]`: what every function of that runtime sees."""
    root = plan["root"]
    sc.mount("lambent", root, "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, "mode=0755,size=64m")
    for directory in plan["directories"]:
        os.makedirs(root + directory, exist_ok=True)
    for source, target in plan["binds"]:
        place(root, source, target)
    for target, text in plan["files"].items():
        touch(root + target)
        with open(root + target, "w") as file:
            file.write(text)
        if text.startswith("#!"):
            os.chmod(root + target, 0o755)


def build(plan):
    root = plan["root"]
    sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)
    lay_out(plan)
    make_devices(root)
    if plan["user_namespace"]:
        sc.mount("proc", root + "/proc", "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
    else:
        sc.mount("/proc", root + "/proc", None, sc.MS_BIND | sc.MS_REC)
    if plan["trees"]:
        os.makedirs(root + "/.trees", mode=0o700, exist_ok=True)
        sc.bind(plan["trees"], root + "/.trees")
    os.makedirs(root + "/.old")


def pivot(root):
    os.chdir(root)
    sc.pivot_root(".", ".old")
    os.chdir("/")
    sc.umount("/.old")
    os.rmdir("/.old")
    sc.mount(None, "/", None, sc.MS_REMOUNT | sc.MS_BIND | sc.MS_RDONLY | sc.MS_NOSUID | sc.MS_NODEV)


def main():
    control = socket.socket(fileno=int(sys.argv[1]))
    plan, _fds = wire.receive(control)
    if plan["user_namespace"]:
        enter_user_namespace()
        enter_process_namespace()
    # The zygote enters those of each environment and comes back: without root only to what belongs to its own user.
    sc.unshare(sc.CLONE_NEWNS | sc.CLONE_NEWIPC | sc.CLONE_NEWUTS | sc.CLONE_NEWNET)
    sc.sethostname("169.254.0.1")
    os.umask(0o022)
    build(plan)
    pivot(plan["root"])
    os.set_inheritable(control.fileno(), True)
    command = [*plan["command"], str(control.fileno()), *plan["preloaded"]]
    os.execve(command[0], command, plan["environment"])


if __name__ == "__main__":
    main()
