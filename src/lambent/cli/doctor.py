"""`lambent doctor`: what this machine can and cannot do, and how to mend it. Needs no server."""

from __future__ import annotations

import argparse
import importlib.util
import json
import socket
from collections.abc import Sequence
from dataclasses import asdict, replace
from urllib.parse import urlsplit

from lambent import config
from lambent.base import containers, machine
from lambent.base.machine import ABSENT, MISSING, OK, WEAK, Check
from lambent.cli import terminal
from lambent.cli.client import Client, Refused, Unreachable
from lambent.cli.options import Subparsers, add_command, add_settings, settings_of
from lambent.engine.runtimes import Runtimes

_EXAMPLES = """
lambent doctor
sudo lambent doctor
lambent doctor --port 4567 --data-dir ./state
lambent doctor --json | jq -r '.checks[] | select(.status != "ok") | .remedy'
"""
_COLOURS = {OK: "green", WEAK: "yellow", MISSING: "red", ABSENT: "dim"}
_UPSTREAM_SECONDS = 2.0
_LANGUAGES = ("nodejs", "java", "ruby", "provided", "dotnet")


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "doctor", "check what this machine can do and how to mend it", _EXAMPLES)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser, "data_dir", "runtimes_dir", "host", "port", "isolation", "oci_runtime", "services", "region")


def run(arguments: argparse.Namespace) -> int:
    """0 when `lambent serve` can start, 1 when something that it needs is missing."""
    checks = examine(settings_of(arguments))
    blocked = any(check.status == MISSING for check in checks)
    if arguments.json:
        print(json.dumps({"can_serve": not blocked, "checks": [asdict(check) for check in checks]}))
    else:
        _report(checks, blocked=blocked)
    return 1 if blocked else 0


def examine(settings: config.Config) -> list[Check]:
    """Every check, for a server with these settings."""
    fences = [_without_isolation(check, settings.isolation) for check in machine.sandbox_checks()]
    return [
        *fences,
        *containers.checks(settings.isolation, settings.oci_runtime),
        machine.memory(),
        machine.data_directory(settings.data_dir),
        machine.pythons(),
        machine.runtime_client(),
        *_languages(settings),
        *_services(settings),
        _port(settings),
    ]


def _languages(settings: config.Config) -> list[Check]:
    """For each language but Python, which has its own check: the runtimes that are here, or how to have one."""
    rows = Runtimes(settings.runtimes, settings.install_command).rows()
    checks = []
    for language in _LANGUAGES:
        own = [row for row in rows if row.name.startswith(language)]
        if here := [f"{row.name} ({row.source})" for row in own if row.available]:
            checks.append(Check(language, OK, ", ".join(here)))
        else:
            newest = next((row for row in reversed(own) if row.install), own[-1])
            checks.append(Check(language, ABSENT, newest.detail, newest.install))
    return checks


def _services(settings: config.Config) -> list[Check]:
    """The services that are not Lambent's own: whether moto is here, and who answers at the upstreams."""
    default = settings.services.get("default", {"mode": "embedded"})["mode"]
    if importlib.util.find_spec("moto") is not None:
        embedded = Check("embedded services", OK, "moto: in memory, started at the first call, lost when it ends")
    else:
        status = ABSENT if default == "none" else WEAK
        embedded = Check("embedded services", status, "moto is not installed", "pip install 'lambent[embedded]'")
    upstreams = [(name, choice["url"]) for name, choice in settings.services.items() if choice["mode"] == "upstream"]
    return [embedded, *(_upstream(name, url, settings.region) for name, url in upstreams)]


def _upstream(service: str, url: str, region: str) -> Check:
    parts = urlsplit(url.replace("{region}", region))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), _UPSTREAM_SECONDS):
            return Check(service, OK, f"upstream {url} answers")
    except OSError as error:
        return Check(service, WEAK, f"upstream {url}: {error}", f"start it, or change services.{service}")


def _without_isolation(check: Check, isolation: str) -> Check:
    """Isolation `process` serves without these: for the others it is the last remedy."""
    if check.status != MISSING or check.name not in ("namespaces", "seccomp"):
        return check
    if isolation == "process":
        return replace(check, status=WEAK)
    return replace(check, remedy=f"{check.remedy}; or, with no isolation at all: lambent serve --isolation process")


def _port(settings: config.Config) -> Check:
    check = machine.port(settings.host, settings.port)
    if check.status == OK or settings.port == 0:
        return check
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    endpoint = f"http://{host}:{settings.port}"
    try:
        status = Client(config.load_client(endpoint=endpoint)).status()
    except (Unreachable, Refused):
        return check
    return Check("port", OK, f"Lambent {status.get('version')} already serves at {endpoint}")


def _report(checks: Sequence[Check], *, blocked: bool) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        status = terminal.paint(check.status.ljust(len(MISSING)), _COLOURS[check.status])
        print(f"{status}  {check.name.ljust(width)}  {check.detail}")
        if check.status != OK and check.remedy:
            advice = "to add it" if check.status == ABSENT else "to mend it"
            print(f"{'':{len(MISSING) + width + 4}}{advice}: {check.remedy}")
    weak = sum(check.status == WEAK for check in checks)
    if blocked:
        print("\n`lambent serve` cannot start here until what is missing has been mended.")
    elif weak:
        print("\n`lambent serve` works here, with the weaker promises named above.")
    else:
        print("\n`lambent serve` works here with every promise.")
