"""`lambent logs`: what a function wrote."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from lambent.cli import terminal
from lambent.cli.client import Client
from lambent.cli.options import Subparsers, add_client, add_command, client_of

_EXAMPLES = """
lambent logs hello
lambent logs hello --follow
lambent logs hello --json | jq -r .message
"""
_PAGE = 1000  # events
_PAUSE = 0.3  # seconds between two looks while following


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "logs", "print what a function wrote", _EXAMPLES)
    parser.add_argument("name", help="function name")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="one JSON object per event")
    add_client(parser)


def run(arguments: argparse.Namespace) -> int:
    client = Client(client_of(arguments))
    after = 0
    while True:
        page = client.logs(arguments.name, after, _PAGE)
        _print(page["events"], as_json=arguments.json)
        after = page["next"]
        if page["events"]:
            continue
        if not arguments.follow:
            if not after:
                where = f"{arguments.name} in {client.config.region}"
                print(f"nothing was logged by {where}", file=sys.stderr)
            return 0
        time.sleep(_PAUSE)


def _print(events: Iterable[Mapping[str, Any]], *, as_json: bool) -> None:
    for event in events:
        print(json.dumps(event, ensure_ascii=False) if as_json else _line(event), flush=True)


def _line(event: Mapping[str, Any]) -> str:
    moment = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
    stamp = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"{terminal.paint(stamp, 'dim')} {event['message'].rstrip()}"
