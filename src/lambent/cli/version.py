"""`lambent version`."""

from __future__ import annotations

import argparse
import json
import platform

from lambent import __version__
from lambent.cli.options import Subparsers, add_command

_EXAMPLES = """
lambent version
lambent version --json
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "version", "print the version of Lambent, Python and the kernel", _EXAMPLES)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    known = {
        "lambent": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
    }
    if arguments.json:
        print(json.dumps(known))
    else:
        print(f"lambent {__version__} (Python {known['python']}, Linux {known['kernel']}, {known['machine']})")
    return 0
