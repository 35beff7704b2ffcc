"""The probes as `machine` runs them, and what they say where something is withheld."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lambent.base import machine, probes

SCRIPT = Path(probes.__file__)
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def run(*arguments: str, shell: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(SCRIPT), *arguments]
    if shell:
        command = ["/bin/sh", "-c", f'{shell}; exec "$@"', "sh", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_filter_bites():
    assert run("seccomp").returncode == 0


def test_the_kernel_has_the_calls():
    assert run("kernel").returncode == 0


@root_only
def test_namespaces_as_root():
    result = run("namespaces")
    assert (result.returncode, result.stdout) == (0, "")


@root_only
def test_without_the_capability_the_reason_is_one_line():
    setpriv = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]
    command = [*setpriv, sys.executable, "-I", "-S", str(SCRIPT), "namespaces"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stdout == "unshare mount, pid, network, ipc and uts namespaces: Operation not permitted\n"
    assert result.stderr == ""


def test_a_program_that_is_no_mkfs_is_named():
    result = run("disk", "/nowhere/mkfs.ext4")
    assert result.returncode == 1
    assert "/nowhere/mkfs.ext4" in result.stdout


@root_only
def test_a_freezer_that_freezes_nothing_is_found_out(tmp_path):
    switch = tmp_path / "freezer.state"
    result = run("freezer", str(switch), "FROZEN", "THAWED", str(tmp_path / "cgroup.procs"))
    assert (result.returncode, result.stdout) == (1, "the freezer did not stop a process\n")
    assert switch.read_text() == "THAWED"


@root_only
def test_trying_leaves_no_mount_and_no_loop_device():
    before = Path("/proc/self/mounts").read_text()
    machine.disk()
    machine.overlay()
    assert Path("/proc/self/mounts").read_text() == before
