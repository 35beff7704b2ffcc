"""`lambent explain`: why somebody may, or may not, do something."""

from __future__ import annotations

import argparse
import json
from datetime import datetime

from lambent.cli import terminal
from lambent.cli.client import Client
from lambent.cli.options import Subparsers, add_client, add_command, client_of

_EXAMPLES = """
lambent explain                                      the last calls that were denied, and why
lambent explain --principal arn:aws:iam::000000000000:user/alice --action lambda:InvokeFunction \\
  --resource arn:aws:lambda:us-east-1:000000000000:function:hello
"""
_HEAD = ("WHEN", "WHO", "WHY")


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "explain", "say why a call was, or would be, allowed or denied", _EXAMPLES)
    parser.add_argument("--principal", metavar="ARN", help="a user, a role or a session")
    parser.add_argument("--action", metavar="ACTION", help="such as lambda:InvokeFunction")
    parser.add_argument("--resource", metavar="ARN", default="*", help="what it acts on (*)")
    parser.add_argument("--json", action="store_true", help="print the server's own answer")
    add_client(parser)


def run(arguments: argparse.Namespace) -> int:
    if (arguments.principal is None) != (arguments.action is None):
        terminal.complain("--principal and --action belong together")
        return 2
    client = Client(client_of(arguments))
    if arguments.principal is None:
        answer = client.denials()
        if arguments.json:
            print(json.dumps(answer, ensure_ascii=False))
        elif not answer["denials"]:
            print("nothing has been denied")
        else:
            print(terminal.table(_HEAD, [_row(one) for one in answer["denials"]]))
        return 0
    answer = client.explain(arguments.principal, arguments.action, arguments.resource)
    if arguments.json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        word = "allowed" if answer["allowed"] else "denied"
        print(f"{terminal.paint(word, 'green' if answer['allowed'] else 'red')}: {answer['because']}")
    return 0 if answer["allowed"] else 1


def _row(denial: dict[str, str]) -> tuple[str, ...]:
    when = datetime.fromtimestamp(float(denial["time"])).strftime("%H:%M:%S")
    return when, denial["principal"], denial["because"]
