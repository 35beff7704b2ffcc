from __future__ import annotations

import os
from pathlib import Path

import pytest

from lambent.base import containers
from lambent.base.machine import MISSING, OK


def script(path: Path, text: str) -> Path:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def test_a_path_is_taken_as_it_is_and_a_name_is_looked_up(tmp_path: Path) -> None:
    command = script(tmp_path / "mine", "")
    assert containers.find("oci", str(command)) == command
    assert containers.find("oci", "sh") is not None
    assert containers.find("oci", "no-such-runtime") is None


def test_one_that_is_missing_is_named_with_the_way_to_get_it() -> None:
    check = containers.check("gvisor", "no-such-runtime")
    assert check.status == MISSING
    assert "no-such-runtime, which is not installed" in check.detail
    assert check.remedy == "sudo apt-get install runsc"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes containers")
def test_one_that_fails_says_why(tmp_path: Path) -> None:
    broken = script(tmp_path / "broken", "echo 'first words' >&2; echo 'no such platform' >&2; exit 3\n")
    check = containers.check("oci", str(broken))
    assert (check.status, check.detail) == (MISSING, f"{broken} cannot make a container here: no such platform")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes containers")
def test_one_that_works_is_asked_to_run_a_container(tmp_path: Path) -> None:
    script(tmp_path / "works", f"echo $* > {tmp_path}/asked\n")
    assert containers.check("gvisor", str(tmp_path / "works")).status == OK
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("--network=host --root ")
    assert " run --bundle " in asked


def test_without_root_only_crun_will_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(containers, "try_out", lambda *arguments: None)
    runc, crun = script(tmp_path / "runc", ""), script(tmp_path / "crun", "")
    assert containers.check("oci", str(crun)).status == OK
    refused = containers.check("oci", str(runc))
    assert (refused.status, refused.remedy) == (MISSING, "start Lambent as root, or use --isolation namespaces")
    assert "only for root" in refused.detail
    assert containers.options("oci") == ("--cgroup-manager=disabled",)


def test_those_that_nobody_asked_for_block_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = script(tmp_path / "broken", "exit 3\n")
    monkeypatch.setattr(containers, "find", lambda isolation, wanted="auto": broken)
    found = containers.checks("namespaces")
    assert [check.name for check in found] == ["oci", "gvisor"]
    assert {check.status for check in found} == {OK}
    assert "only --isolation gvisor needs it" in found[1].detail
    assert containers.checks("oci")[0].status == MISSING
