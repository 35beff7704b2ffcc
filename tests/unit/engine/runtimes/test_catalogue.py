from __future__ import annotations

from pathlib import Path

import pytest

from lambent.control import runtimes as control
from lambent.engine.runtimes import Missing, Runtime, Runtimes, components, java, node
from lambent.engine.runtimes.packages import NPM, Component


def fake_node(directory: Path, version: str) -> Path:
    place = directory / f"node-{version.split('.')[0]}" / "bin/node"
    place.parent.mkdir(parents=True)
    place.write_text(f"#!/bin/sh\necho v{version}\n")
    place.chmod(0o755)
    return place


def with_client(directory: Path, version: int) -> None:
    (directory / f"node-client-{version}").mkdir()
    (directory / f"node-client-{version}" / "index.mjs").write_text("")


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is in Lambent's own directory is there."""
    monkeypatch.setattr(node, "_MACHINE", ())
    monkeypatch.setattr(node, "_VERSIONS", ())


def test_every_runtime_is_one_that_lambda_knows() -> None:
    assert set(Runtimes.names) <= set(control.SUPPORTED)


def test_a_runtime_appears_and_goes_without_a_new_start(tmp_path: Path) -> None:
    runtimes = Runtimes(tmp_path, "lambent runtimes install --runtimes-dir x")
    absent = runtimes.find("nodejs22.x")
    assert isinstance(absent, Missing)
    assert absent.remedy == "lambent runtimes install --runtimes-dir x nodejs22.x"
    assert [component.name for component in absent.lacking] == ["node-22", "node-client-3"]

    place = fake_node(tmp_path, "22.1.0")
    half = runtimes.find("nodejs22.x")
    assert isinstance(half, Missing)
    assert [component.name for component in half.lacking] == ["node-client-3"]

    with_client(tmp_path, 3)
    found = runtimes.find("nodejs22.x")
    assert isinstance(found, Runtime)
    assert (found.version, found.build, found.source) == ("22.1.0", "nodejs:22.v1", place)
    assert runtimes.find("nodejs22.x") is found

    place.unlink()
    place.parent.rmdir()
    place.parent.parent.rmdir()
    assert isinstance(runtimes.find("nodejs22.x"), Missing)


def test_a_runtime_that_was_installed_anew_is_another(tmp_path: Path) -> None:
    runtimes = Runtimes(tmp_path)
    fake_node(tmp_path, "22.1.0")
    with_client(tmp_path, 3)
    first = runtimes.find("nodejs22.x")
    (tmp_path / "node-22").rename(tmp_path / "old")
    fake_node(tmp_path, "22.2.0")
    second = runtimes.find("nodejs22.x")
    assert isinstance(first, Runtime)
    assert isinstance(second, Runtime)
    assert (first.version, second.version) == ("22.1.0", "22.2.0")


def test_an_interpreter_of_another_version_is_passed_over(tmp_path: Path) -> None:
    fake_node(tmp_path, "24.1.0").parent.parent.rename(tmp_path / "node-22")
    with_client(tmp_path, 3)
    assert isinstance(Runtimes(tmp_path).find("nodejs22.x"), Missing)


def test_an_unknown_runtime_is_missing() -> None:
    assert Runtimes().find("cobol1") == Missing("cobol1", "Lambent does not run cobol1 yet", None)
    assert components("cobol1") == ()


def test_os_only_runtimes_are_always_there() -> None:
    found = Runtimes().find("provided.al2023")
    assert isinstance(found, Runtime)
    assert found.fresh_start({"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap"}) == ("/var/task/bootstrap:/opt/bootstrap",)
    assert "AWS_EXECUTION_ENV" not in found.variables


def all_components() -> list[Component]:
    return [NPM, *(component for name in Runtimes.names for component in components(name))]


def test_both_names_of_a_java_are_one() -> None:
    assert components("java17.al2023") == components("java17")
    assert java.archive_name("java17.al2023") == java.archive_name("java17") == "java17-archive"


def test_packages_are_pinned_for_both_machines() -> None:
    for component in all_components():
        for package in component.packages:
            for machine in ("x86_64", "aarch64"):
                if package.name(machine) is not None:
                    assert package.digest(machine).startswith(("sha512-", "sha256:"))


def test_one_directory_is_one_component() -> None:
    found = all_components()
    assert len({component.name for component in found}) == len(set(map(id, found)))
