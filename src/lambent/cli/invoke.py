"""`lambent invoke`: run a function and print what it answered."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from pathlib import Path

from lambent.cli import terminal
from lambent.cli.client import Answer, Client
from lambent.cli.options import Subparsers, add_client, add_command, client_of
from lambent.config import ConfigError

_EXAMPLES = """
lambent invoke hello
lambent invoke hello --payload '{"name": "Ada"}' --tail
lambent invoke hello --payload @event.json --qualifier live
echo '{"name": "Ada"}' | lambent invoke hello --payload -
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "invoke", "run a function and print its answer", _EXAMPLES)
    parser.add_argument("name", help="function name or ARN")
    parser.add_argument("--payload", metavar="JSON", default="", help="the event: JSON, @FILE, or - for standard input")
    parser.add_argument("--qualifier", metavar="Q", help="version or alias")
    parser.add_argument("--tail", action="store_true", help="print the end of the log to standard error")
    parser.add_argument("--json", action="store_true", help="print payload, status and log as one JSON object")
    add_client(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 when the function answered, 1 when it failed."""
    client = Client(client_of(arguments))
    payload = _payload(arguments.payload)
    tail = arguments.tail or arguments.json
    answer = client.invoke(arguments.name, payload, qualifier=arguments.qualifier, tail=tail)
    log = base64.b64decode(answer.headers.get("x-amz-log-result", "")).decode(errors="replace")
    failure = answer.headers.get("x-amz-function-error")
    if arguments.json:
        print(json.dumps(_described(answer, failure, log), ensure_ascii=False))
        return 1 if failure else 0
    if log and arguments.tail:
        print(terminal.paint(log.rstrip("\n"), "dim", sys.stderr), file=sys.stderr, flush=True)
    sys.stdout.buffer.write(answer.body if answer.body.endswith(b"\n") else answer.body + b"\n")
    sys.stdout.flush()
    if failure:
        terminal.complain(f"the function failed ({failure}). Its log: lambent logs {arguments.name}")
        return 1
    return 0


def _payload(given: str) -> bytes:
    if given == "-":
        return sys.stdin.buffer.read()
    if given.startswith("@"):
        try:
            return Path(given[1:]).read_bytes()
        except OSError as error:
            raise ConfigError(f"cannot read the payload from {given[1:]}: {error.strerror}") from None
    return given.encode()


def _described(answer: Answer, failure: str | None, log: str) -> dict[str, object]:
    text = answer.body.decode(errors="replace")
    try:
        payload = json.loads(text) if text else None
    except ValueError:
        payload = text
    return {
        "status_code": answer.status,
        "executed_version": answer.headers.get("x-amz-executed-version"),
        "function_error": failure,
        "payload": payload,
        "log": log,
    }
