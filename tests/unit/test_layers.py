"""Who may import whom: the table of `docs/design.md`, held against every import in `src/lambent`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
PACKAGE = SOURCE / "lambent"

ANYTHING = ("lambent",)
ROOMS = {
    "base": ("lambent.base",),
    "wire": ("lambent.wire", "lambent.base"),
    "control": ("lambent.control", "lambent.wire", "lambent.base"),
    "engine": (
        "lambent.engine",
        "lambent.base",
        "lambent.control.records",
        "lambent.control.store",
        "lambent.wire.errors",
        "lambent.wire.arn",
        "lambent.wire.operations",
    ),
    "sources": (
        "lambent.sources",
        "lambent.base",
        "lambent.wire",
        "lambent.control.records",
        "lambent.control.store",
        "lambent.engine.invoker",
        "lambent.engine.invocation",
    ),
    "services": ("lambent.services", "lambent.wire", "lambent.base"),
    "neighbours": ("lambent.neighbours", "lambent.wire", "lambent.base"),
    "embedded": ("lambent.embedded",),
    "cli": ("lambent.cli", "lambent.config", "lambent.base"),
    "config": (),
    "app": ANYTHING,
    "endpoints": ("lambent.base", "lambent.wire", "lambent.control", "lambent.engine", "lambent.neighbours"),
    "testing": ANYTHING,
    "__main__": ("lambent.cli",),
    "__init__": (),
}
EXCEPTIONS = {
    "cli/admin.py": (*ROOMS["cli"], "lambent.app"),
    "cli/serve.py": (*ROOMS["cli"], "lambent.app"),
    "cli/runtimes.py": (*ROOMS["cli"], "lambent.engine.runtimes"),
    "cli/base_images.py": (*ROOMS["cli"], "lambent.engine.runtimes"),
    "cli/doctor.py": (*ROOMS["cli"], "lambent.engine.runtimes"),
}
BOTOCORE = {"wire", "cli"}  # the service models are wire's; cli signs what it sends
ASIDE = "engine/guest/"  # scripts that run inside the sandbox and find each other by their bare names


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_module(name: str) -> bool:
    path = SOURCE / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def imports(path: Path) -> Iterator[str]:
    """The dotted name of every module that `path` imports, wherever in the file."""
    package = ".".join(path.relative_to(SOURCE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if base.startswith("lambent") and is_module(inner) else base


def allowed(path: Path) -> tuple[str, ...]:
    return EXCEPTIONS.get(name_of(path), ROOMS[room_of(path)])


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_room_imports_only_what_the_table_allows(path):
    forbidden = [
        name
        for name in imports(path)
        if name.partition(".")[0] == "lambent"
        and name != "lambent"
        and not any(name == door or name.startswith(door + ".") for door in allowed(path))
    ]
    assert forbidden == [], f"{name_of(path)} may import {allowed(path)}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_aws_models_belong_to_wire(path):
    roots = {name.partition(".")[0] for name in imports(path)}
    if room_of(path) == "embedded":
        return
    assert "boto3" not in roots
    assert "moto" not in roots
    if room_of(path) not in BOTOCORE:
        assert "botocore" not in roots


@pytest.mark.parametrize("path", [path for path in modules() if ASIDE in name_of(path)], ids=name_of)
def test_what_runs_in_the_sandbox_does_not_reach_out(path):
    """The server imports some of these files too, so `lambent.engine.guest` may name itself."""
    reached = [
        name for name in imports(path) if name.startswith("lambent") and ASIDE[:-1] not in name.replace(".", "/")
    ]
    assert reached == []


def test_every_room_stands_in_the_table():
    assert {room_of(path) for path in modules()} <= set(ROOMS)


def test_the_reader_of_imports_sees_all_kinds(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "SOURCE", tmp_path)
    folder = tmp_path / "lambent/engine"
    folder.mkdir(parents=True)
    for name in ("pool", "lease"):
        (folder / f"{name}.py").write_text("")
    (folder / "probe.py").write_text(
        "import os, lambent.app\n"
        "from lambent import engine\n"
        "from lambent.engine import pool\n"
        "from . import lease\n"
        "from ..wire import gateway\n"
        "def inside():\n"
        "    from lambent.control.service import Service\n"
    )
    assert sorted(imports(folder / "probe.py")) == [
        "lambent.app",
        "lambent.control.service",
        "lambent.engine",
        "lambent.engine.lease",
        "lambent.engine.pool",
        "lambent.wire",
        "os",
    ]
