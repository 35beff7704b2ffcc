"""`lambent runtimes`: what functions can run on here."""

from __future__ import annotations

import argparse
import json
import sys

from lambent.cli import terminal
from lambent.cli.client import Client
from lambent.cli.options import Subparsers, add_client, add_command, client_of

_EXAMPLES = """
lambent runtimes
lambent runtimes --json | jq -r '.runtimes[] | select(.available) | .name'
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "runtimes", "list the runtimes that this server has", _EXAMPLES)
    parser.add_argument("--json", action="store_true", help="print the server's own answer")
    add_client(parser)


def run(arguments: argparse.Namespace) -> int:
    answer = Client(client_of(arguments)).runtimes()
    if arguments.json:
        print(json.dumps(answer, ensure_ascii=False))
        return 0
    rows = []
    for runtime in answer["runtimes"]:
        state = "ready" if runtime["available"] else "absent"
        rows.append((runtime["name"], state, runtime["source"] or "-", runtime["detail"] or ""))
    print(terminal.table(("RUNTIME", "STATE", "SOURCE", "DETAIL"), rows))
    for runtime in answer["runtimes"]:
        if not runtime["available"] and runtime["install"]:
            print(f"to add {runtime['name']}: {runtime['install']}", file=sys.stderr)
    return 0
