"""`lambent serve`: the server itself."""

from __future__ import annotations

import argparse
import asyncio
import logging
import resource
import signal
import sys

from lambent.cli import terminal
from lambent.cli.options import Subparsers, add_command, add_settings, settings_of
from lambent.config import Config

_EXAMPLES = """
lambent serve
lambent serve --port 4600 --data-dir ./state
lambent serve --isolation process      where this machine allows no sandbox
"""


def add_parser(subparsers: Subparsers) -> None:
    add_settings(add_command(subparsers, "serve", "start the server and keep it running", _EXAMPLES))


def run(arguments: argparse.Namespace) -> int:
    config = settings_of(arguments)
    logging.basicConfig(
        level=config.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # some ten descriptors for each environment
    import uvloop  # only the server needs it and what follows

    return uvloop.run(_serve(config))


async def _serve(config: Config) -> int:
    from lambent.app import App, StartError

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    app = App(config)
    try:
        endpoint = await app.start()
        for weakness in app.weaknesses:
            print(f"{terminal.paint('weak:', 'yellow', sys.stderr)} {weakness}", file=sys.stderr)
        print(f"Lambent is ready on {endpoint} (isolation: {app.isolation}, data: {config.data_dir})", flush=True)
        await stop.wait()
    except StartError as error:
        terminal.complain(str(error))
        return 1
    finally:  # also when nobody reads what is printed
        await app.stop()
    return 0
