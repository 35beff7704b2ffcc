"""`lambent runtimes`: what functions can run on here, and how to have more."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lambent.cli import terminal
from lambent.cli.archives import NoImage
from lambent.cli.base_images import base_image
from lambent.cli.client import Client, Unreachable
from lambent.cli.options import Subparsers, add_client, add_command, add_settings, client_of, settings_of
from lambent.engine.runtimes import FetchError, Installation, Missing, Runtime, Runtimes, components

_EXAMPLES = """
lambent runtimes
lambent runtimes install nodejs22.x java21
lambent runtimes install python3.13 --image ./python313.tar     its own root: an OCI layout, or from `docker save`
lambent runtimes remove nodejs22.x
lambent runtimes --json | jq -r '.runtimes[] | select(.available) | .name'
"""
_ACTIONS = ("list", "install", "remove")


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "runtimes", "list, install and remove what functions run on", _EXAMPLES)
    parser.add_argument("action", nargs="?", choices=_ACTIONS, default="list", help="what to do; list if not given")
    parser.add_argument("names", nargs="*", metavar="RUNTIME", help="which to install or remove: nodejs22.x, java21, …")
    parser.add_argument("--image", type=Path, metavar="FILE", help="install a container image as the runtime")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser, "data_dir", "runtimes_dir")
    add_client(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "list":
        return _list(arguments)
    if not arguments.names:
        terminal.complain(f"which runtimes? lambent runtimes {arguments.action} nodejs22.x, for example")
        return 2
    if unknown := [name for name in arguments.names if name not in Runtimes.names]:
        terminal.complain(f"unknown: {', '.join(unknown)}. Lambent knows {', '.join(Runtimes.names)}")
        return 2
    directory = settings_of(arguments).runtimes
    if arguments.image is not None:
        return _install_image(arguments, directory)
    change = _install if arguments.action == "install" else _remove
    try:
        done = [change(name, directory) for name in arguments.names]
    except FetchError as error:
        terminal.complain(str(error))
        return 1
    if arguments.json:
        print(json.dumps({"directory": str(directory), "runtimes": done}))
    return 0 if all(row["available"] is (arguments.action == "install") or row["kept"] for row in done) else 1


def _list(arguments: argparse.Namespace) -> int:
    try:
        rows = Client(client_of(arguments)).runtimes()["runtimes"]
    except Unreachable:
        terminal.remark("no server answers: this is what one would find on this machine")
        rows = [asdict(row) for row in Runtimes(settings_of(arguments).runtimes).rows()]
    if arguments.json:
        print(json.dumps({"runtimes": rows}, ensure_ascii=False))
        return 0
    _show(rows)
    return 0


def _show(rows: Sequence[dict[str, Any]]) -> None:
    shown = [
        (row["name"], "ready" if row["available"] else "absent", row["source"] or "-", row["detail"] or "")
        for row in rows
    ]
    print(terminal.table(("RUNTIME", "STATE", "SOURCE", "DETAIL"), shown))
    for row in rows:
        if not row["available"] and row["install"]:
            print(f"to add {row['name']}: {row['install']}", file=sys.stderr)


def _install(name: str, directory: Path) -> dict[str, Any]:
    """Bring what is missing of one runtime: its interpreter only where this machine has none."""
    installation = Installation(directory, terminal.remark)
    found = Runtimes(directory).find(name)
    changed = []
    if isinstance(found, Missing):
        if not found.lacking:
            raise FetchError(f"{name}: {found.reason}, and no package registry has it. {found.remedy or ''}".rstrip())
        if absent := [component.summary for component in found.lacking if not component.available]:
            raise FetchError(f"no package registry has {', '.join(absent)} for this machine")
        changed = [component.summary for component in found.lacking if installation.install(component)]
    found = Runtimes(directory).find(name)
    available = isinstance(found, Runtime)
    if isinstance(found, Runtime):
        _prepare(installation, found)
    terminal.remark(f"{name} is ready: {found.source}" if isinstance(found, Runtime) else f"{name}: {found.reason}")
    return {"name": name, "available": available, "kept": False, "changed": changed}


def _install_image(arguments: argparse.Namespace, directory: Path) -> int:
    if arguments.action != "install" or len(arguments.names) != 1:
        terminal.complain("an image is for one runtime: lambent runtimes install python3.13 --image FILE")
        return 2
    (name,) = arguments.names
    try:
        with base_image(arguments.image) as image:
            Installation(directory, terminal.remark).install_image(name, image)
    except (NoImage, FetchError) as error:
        terminal.complain(str(error))
        return 1
    found = Runtimes(directory).find(name)
    available = isinstance(found, Runtime)
    terminal.remark(f"{name} is ready: {found.source}" if isinstance(found, Runtime) else f"{name}: {found.reason}")
    if arguments.json:
        row = {"name": name, "available": available, "kept": False, "changed": [str(arguments.image)]}
        print(json.dumps({"directory": str(directory), "runtimes": [row]}))
    return 0 if available else 1


def _prepare(installation: Installation, runtime: Runtime) -> None:
    """A runtime works without it: where it fails, the reason is all that is left."""
    try:
        installation.prepare(runtime)
    except FetchError as error:
        terminal.remark(str(error))


def _remove(name: str, directory: Path) -> dict[str, Any]:
    """Take away what was installed for one runtime and no other one needs."""
    installation = Installation(directory)
    parts = components(name)
    others = [components(other) for other in Runtimes(directory).available]
    needed = {component.name for other in others if other != parts for component in other}  # java17.al2023 is java17
    removed = [
        component.summary for component in parts if component.name not in needed and installation.remove(component.name)
    ]
    installation.remove(f"{name.removesuffix('.al2023')}-archive")
    if installation.remove_image(name):
        removed.append(f"the image of {name}")
    found = Runtimes(directory).find(name)
    kept = isinstance(found, Runtime)  # it is this machine's own
    if kept and isinstance(found, Runtime):
        terminal.remark(f"{name} is still here, from this machine: {found.source}")
    else:
        terminal.remark(f"{name} is gone" if removed else f"{name} was not installed")
    return {"name": name, "available": kept, "kept": kept, "changed": removed}
