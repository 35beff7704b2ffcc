"""The `lambent` command.

Exit status: 0 done; 1 the function, the server or a check said no; 2 wrong usage or settings; 3 no server
answers; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol

from lambent import __version__
from lambent.cli import admin, doctor, explain, image, invoke, logs, runtimes, serve, status, terminal, version
from lambent.cli.client import Refused, Unreachable
from lambent.cli.options import Subparsers
from lambent.config import ConfigError


class Command(Protocol):
    """A module of this package that is one command."""

    def add_parser(self, subparsers: Subparsers) -> None: ...
    def run(self, arguments: argparse.Namespace) -> int: ...


COMMANDS: dict[str, Command] = {
    "serve": serve,
    "doctor": doctor,
    "runtimes": runtimes,
    "invoke": invoke,
    "image": image,
    "logs": logs,
    "status": status,
    "explain": explain,
    "admin": admin,
    "version": version,
}

_EPILOG = """examples:
  lambent doctor                       what this machine can do
  lambent serve                        start the server
  lambent invoke hello --tail          run a function, with its log
  lambent COMMAND --help               more, with examples

Colour appears on terminals only; NO_COLOR=1 turns it off.
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lambent",
        description="AWS Lambda on your own machines.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lambent {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS.values():
        command.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; `arguments` default to the process's own. Returns the exit status."""
    chosen = build_parser().parse_args(arguments)
    try:
        return COMMANDS[chosen.command].run(chosen)
    except ConfigError as error:
        terminal.complain(str(error))
        return 2
    except Refused as error:
        terminal.complain(str(error))
        return 1
    except Unreachable as error:
        terminal.complain(str(error))
        return 3
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `lambent logs | head`: nobody reads on
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
