"""A sandbox inside that of a template, for one of its forks: namespaces of a user namespace of its own.

Its first process is an init that runs no user code. The user namespace is owned by the template's user, who has no
privilege anywhere else: so a fork of the template can be moved in from outside, and nothing more.
"""

from __future__ import annotations

import os
import random
import signal
import socket

import syscalls as sc
import wire

ALL = sc.CLONE_NEWUSER | sc.CLONE_NEWNS | sc.CLONE_NEWNET | sc.CLONE_NEWIPC | sc.CLONE_NEWUTS | sc.CLONE_NEWPID
_PR_SET_SECUREBITS = 28
_NO_SETUID_FIXUP = 4
_FIRST_PIDS = (300, 30000)


class Nested:
    """Our side of one that is being made."""

    def __init__(self, files, plan, uid, listen):
        """`uid` is the only user that there will be in it. `listen` opens a socket in its network."""
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        helper = sc.fork()
        if helper == 0:
            _be_helper(theirs, files, plan, listen)
        theirs.close()
        try:
            self._answer()
            for name in ("gid_map", "uid_map"):
                with open("/proc/{}/{}".format(helper, name), "w") as file:
                    file.write("{0} {0} 1".format(uid))
            wire.send(self.link, {})
            told, fds = {}, []
            for _ in range(2):  # the helper and the init speak at the same time
                message, received = self._answer()
                told.update(message)
                fds += received
        finally:
            os.waitpid(helper, 0)
        self.pid, self.output, self.groups = told["pid"], told["output"], told["groups"]
        self.listeners = fds

    def _answer(self):
        message, fds = wire.receive(self.link)
        if message is None or "error" in message:
            raise OSError("no sandbox for a fork: {}".format(message and message["error"]))
        return message, fds

    def seal(self):
        """Whoever was to move in has: no way in is left open."""
        wire.send(self.link, {})
        self._answer()
        self.link.close()


def _be_helper(link, files, plan, listen):
    """Make the namespaces and their first process, which goes on by itself."""
    try:
        sc.prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP)  # the user changes, what it may do does not
        os.setgroups([])
        os.setresgid(plan["uid"], plan["uid"], plan["uid"])
        os.setresuid(plan["uid"], plan["uid"], plan["uid"])
        sc.unshare(ALL)
        sc.prctl(sc.PR_SET_DUMPABLE, 1)  # so that its maps can be written
        wire.send(link, {})
        wire.receive(link)
        pid = sc.fork()
        if pid == 0:
            _be_init(link, files, plan, listen)
        wire.send(link, {"pid": pid})
    except BaseException as error:
        wire.send(link, {"error": repr(error)})
    finally:
        os._exit(0)


def _be_init(link, files, plan, listen):
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans end without a trace
        os.setsid()
        kept = (link.fileno(), files.channel, files.output, *files.groups)
        listeners = [listen(address) for address in plan["listeners"]]
        sc.mount("proc", "/proc", "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
        with open("/proc/sys/kernel/ns_last_pid", "w") as file:  # libraries tell a fork from its parent by its number
            file.write(str(random.SystemRandom().randint(*_FIRST_PIDS)))
        if files.tmp is not None:
            sc.move_mount(files.tmp, "/tmp")
        wire.send(link, {"output": files.output, "groups": files.groups}, listeners)
        first = 0
        for fd in sorted(kept):
            sc.close_range(first, fd - 1)
            first = fd + 1
        sc.close_range(first)
        if wire.receive(link)[0] is None:
            os._exit(1)
        sc.prctl(sc.PR_SET_DUMPABLE, 0)
        for fd in (files.output, *files.groups):
            os.close(fd)
        sc.drop_bounding_set()
        sc.drop_capabilities()
        sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
        wire.send(link, {})
        link.close()
        os.read(files.channel, 1)  # until the server is gone, or ends all of this
    except BaseException as error:
        wire.send(link, {"error": repr(error)})
    finally:
        os._exit(0)
