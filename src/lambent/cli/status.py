"""`lambent status`: what the server is doing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from lambent.cli import terminal
from lambent.cli.client import Client
from lambent.cli.options import Subparsers, add_client, add_command, client_of

_EXAMPLES = """
lambent status
lambent status --json | jq '.environments[] | select(.state == "busy")'
"""
_HEAD = ("ENVIRONMENT", "FUNCTION", "VERSION", "STATE", "INVOCATIONS", "MEMORY")
_SERVICES_HEAD = ("SERVICE", "MODE", "DATA")


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "status", "show the server and its execution environments", _EXAMPLES)
    parser.add_argument("--json", action="store_true", help="print the server's own answer")
    add_client(parser)


def run(arguments: argparse.Namespace) -> int:
    client = Client(client_of(arguments))
    status = client.status()
    if arguments.json:
        print(json.dumps(status, ensure_ascii=False))
        return 0
    print(f"Lambent {status['version']} at {client.config.endpoint}, process {status['pid']}")
    print(f"up {duration(status['uptime_seconds'])}, isolation {status['isolation']}")
    environments = status["environments"]
    print(f"{count(status['functions'], 'function')}, {count(len(environments), 'execution environment')}")
    if environments:
        print("\n" + terminal.table(_HEAD, [_row(environment) for environment in environments]))
    if services := status.get("services"):
        print("\n" + terminal.table(_SERVICES_HEAD, [_service(service) for service in services]))
    if note := status.get("embedded", {}).get("note"):
        print(f"\nembedded services: {note}")
    return 0


def _row(environment: Mapping[str, Any]) -> tuple[str, ...]:
    name = environment["function"].rpartition(":function:")[2].partition(":")[0]
    others = (str(environment[member]) for member in ("version", "state", "invocations"))
    return (environment["id"], name, *others, f"{environment['memory_mb']} MB")


def _service(service: Mapping[str, Any]) -> tuple[str, ...]:
    kept = {True: "durable, in ", False: "lost when it ends: ", None: ""}[service["durable"]]
    if service["mode"] == "none":
        kept = ""
    return (service["service"], service["mode"], f"{kept}{service['where']}")


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """ "3 h 25 min": the two largest units."""
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    shown = [f"{count} {unit}" for count, unit in parts if count][:2]
    return " ".join(shown) or "0 s"
