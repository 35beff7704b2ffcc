from __future__ import annotations

from pathlib import Path

import pytest

from lambent.engine.runtimes.runtime import Runtime, Start


def make(start: Start, *, wrappable: bool = True) -> Runtime:
    return Runtime(
        "some1",
        "1.2.3",
        "some:1.v2",
        Path("/usr/bin/some"),
        start,
        lambda environment: ("/var/lang/bin/some", environment.get("SIZE", "-")),
        variables={"SOME_PATH": "/opt/some", "LD_LIBRARY_PATH": "/lib64"},
        start_up=("SOME_",),
        wrappable=wrappable,
    )


@pytest.mark.parametrize("start", [Start.FORK, Start.STEM])
def test_what_waits_takes_an_ordinary_function(start: Start) -> None:
    environment = {"MINE": "1", "SOME_PATH": "/opt/some", "LD_LIBRARY_PATH": "/lib64"}
    assert make(start).fresh_start(environment) is None


@pytest.mark.parametrize("name", ["SOME_OPTION", "SOME_PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "GLIBC_TUNABLES"])
def test_variables_that_are_read_at_the_start_need_one(name: str) -> None:
    assert make(Start.STEM).fresh_start({name: "else", "SIZE": "7"}) == ("/var/lang/bin/some", "7")


def test_nothing_waits_for_a_program() -> None:
    assert make(Start.EXEC).fresh_start({}) == ("/var/lang/bin/some", "-")


def test_a_wrapper_gets_the_command_line() -> None:
    environment = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap"}
    assert make(Start.FORK).fresh_start(environment) == ("/opt/wrap", "/var/lang/bin/some", "-")
    assert make(Start.FORK, wrappable=False).fresh_start(environment) is None
    assert make(Start.FORK).fresh_start({"AWS_LAMBDA_EXEC_WRAPPER": ""}) is None
