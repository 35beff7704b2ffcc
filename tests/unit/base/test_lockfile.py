from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from lambent.base.lockfile import DirectoryInUse, DirectoryLock

_HOLDER = """
import sys, time
from pathlib import Path
from lambent.base.lockfile import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path):
    lock = DirectoryLock(tmp_path)
    with pytest.raises(DirectoryInUse, match=str(os.getpid())) as caught:
        DirectoryLock(tmp_path)
    assert str(tmp_path) in str(caught.value)
    lock.release()
    lock.release()
    DirectoryLock(tmp_path).release()


def test_other_directories_are_free(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    locks = [DirectoryLock(tmp_path / "a"), DirectoryLock(tmp_path / "b")]
    for lock in locks:
        lock.release()


def test_a_killed_holder_holds_nothing(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(DirectoryInUse, match=str(holder.pid)):
        DirectoryLock(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    DirectoryLock(tmp_path).release()


def test_a_child_that_execs_does_not_keep_it(tmp_path):
    lock = DirectoryLock(tmp_path)
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    lock.release()
    DirectoryLock(tmp_path).release()
    child.kill()
    child.wait()
