"""A runtime that has initialised its function and stands still inside its call of fork(): others are made from it.

It is hostile code without privileges, and stays so. It never runs again: for each fork its call, and nothing else, is
let happen. Each fork is moved into a sandbox of its own before its first instruction: into the user namespace prepared
for it, where it gives up all that it got by entering. What moves it comes from here, through ptrace; see
docs/snap-start.md for why that is safe.
"""

from __future__ import annotations

import os
import stat
import struct

import nested
import syscalls as sc
import tracee as tr
from tracee import Lost

_PLAIN_FORK = 0x1200011  # CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID, SIGCHLD: what fork() of the C library asks for
_CLONE_PARENT = 0x8000  # we hear of its end, and the template leaves no zombie
_HARMLESS_DEVICES = {os.makedev(1, minor) for minor in (3, 5, 7, 8, 9)}  # null, zero, full, random, urandom
_NO_CAPABILITIES = struct.pack("=Ii", 0x20080522, 0) + bytes(24)


class Template:
    def __init__(self, pid, plan, output):
        """`output` is what the runtime prints to."""
        self.plan = plan
        self._pid = pid
        self._output = os.fstat(output)
        self._tracee = tr.Tracee.seize(pid)
        self._call = None

    def hold(self):
        """Wait until it is about to fork: why it cannot be forked, None when it can and stands still from here on."""
        registers = self._tracee.next_call()
        while registers.orig_rax != tr.CLONE:
            registers = self._tracee.next_call()
        self._instruction = registers.rip - 2
        self._outputs, problem = [], None
        try:
            self._check(registers)
        except (Lost, OSError) as error:
            problem = str(error)
        if problem is None:
            # What it waits to be let do from now on; the C library's own arguments stay.
            self._call = registers.calling(
                self._instruction, tr.CLONE, _PLAIN_FORK | _CLONE_PARENT, 0, 0, registers.r10, registers.r8
            )
            return None
        registers.orig_rax = (1 << 64) - 1  # no such call: it goes on as it was
        self._tracee.release(registers)
        return problem

    def _check(self, registers):
        """Whether a fork would be whole, and share nothing but memory that is copied when it is written to."""
        if registers.rdi != _PLAIN_FORK or registers.rsi or not self._tracee.stands_at_call(self._instruction):
            raise Lost("it does not fork as the C library does")
        if len(os.listdir("/proc/{}/task".format(self._pid))) > 1:
            raise Lost("it has threads")
        if {name for name in os.listdir("/proc") if name.isdigit()} > {"1", str(self._pid)}:
            raise Lost("it has started other processes")
        for name in os.listdir("/proc/{}/fd".format(self._pid)):
            self._check_open(int(name))
        with open("/proc/{}/smaps".format(self._pid)) as file:
            for line in file:
                if line.startswith("VmFlags:") and {"sh", "mw"} <= set(line.split()):
                    raise Lost("it has memory that forks would share")

    def _check_open(self, fd):
        found = os.stat("/proc/{}/fd/{}".format(self._pid, fd))
        if (found.st_dev, found.st_ino) == (self._output.st_dev, self._output.st_ino):
            self._outputs.append(fd)
        elif not stat.S_ISCHR(found.st_mode) or found.st_rdev not in _HARMLESS_DEVICES:
            raise Lost("it has an open file, pipe or socket ({})".format(fd))

    def fork(self, files, uid, listen):
        """(pid of the new runtime, pid of its init, its listening sockets) of a new sandbox."""
        place = nested.Nested(files, self.plan, uid, listen)
        first = second = None
        try:
            first = self._fork()
            start = first.registers  # as fork() returns in a child
            area = first.run(self._way_in(first, start, place, uid), self._instruction, start)
            second = first.fork(start.calling(self._instruction, tr.CLONE, *self._arguments))
            second.options(tr.LAST_OPTIONS)
            second.forget(area, self._instruction, start)
            place.seal()
            second.release(start)
        except BaseException:
            if second is not None:
                second.kill()
            os.kill(place.pid, 9)
            for fd in place.listeners:
                os.close(fd)
            raise
        finally:
            if first is not None:
                first.kill()
        return second.pid, place.pid, place.listeners

    @property
    def _arguments(self):
        call = self._call
        return call.rdi, call.rsi, call.rdx, call.r10, call.r8

    def _fork(self):
        """A child of the template, from before its first instruction on; the template stands as it stood."""
        template = self._tracee
        waiting = template.registers
        waiting.rdi = self._call.rdi
        template.registers = waiting
        template.options(tr.UNFILTERED)
        try:
            child = template.forked()
        finally:
            template.options(tr.OPTIONS)
        template.next_stop()
        template.registers = self._call
        template.next_stop()
        return child

    def _way_in(self, child, start, place, uid):
        """What a fork has to do to be in its sandbox and without privileges."""

        def now(*call):
            return child.call(start.calling(self._instruction, *call))

        init = now(tr.PIDFD_OPEN, place.pid, 0)
        groups = [now(tr.PIDFD_GETFD, init, fd, 0) for fd in place.groups]
        output = now(tr.PIDFD_GETFD, init, place.output, 0)
        calls = tr.Calls()
        myself = calls.data(b"0")
        for fd in groups:
            calls.add(tr.WRITE, fd, myself, 1)
        for fd in self._outputs:
            calls.add(tr.DUP3, output, fd, 0 if fd < 3 else os.O_CLOEXEC)
        calls.add(tr.SETNS, init, nested.ALL)
        for fd in (init, output, *groups):
            calls.add(tr.CLOSE, fd)
        calls.add(tr.SETRESGID, uid, uid, uid)
        calls.add(tr.SETRESUID, uid, uid, uid)
        for capability in range(last_capability() + 1):
            calls.add(tr.PRCTL, sc.PR_CAPBSET_DROP, capability)
        header = calls.data(_NO_CAPABILITIES[:8])
        calls.add(tr.CAPSET, header, calls.data(_NO_CAPABILITIES[8:]))
        calls.add(tr.PRCTL, sc.PR_SET_DUMPABLE, 1)
        calls.add(tr.SETSID)
        return calls

    def end(self):
        self._tracee.kill()


def last_capability():
    with open("/proc/sys/kernel/cap_last_cap") as file:
        return int(file.read())
