"""Measures Lambent beside a peer and bare floors in one run and prints one table. `make bench` runs it.

Every contender runs alone, one after the other, on this machine, with the same client and the same function:

  lambent       the server
  ministack     a peer
  moto          a peer whose functions need Docker: its control plane only
  awslambdaric  AWS's Python runtime client in plain processes behind a minimal Runtime API: no isolation, no API
  fork          a Python process that forks for every invoke: what a cold start costs at the least
  socket        a Python process that answers each request with the same bytes: what client and sockets cost

Nothing is asserted: read the ratios, not the absolute figures, and say which machine they come from.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import contenders
import rows
import uvloop
from contenders import CONTENDERS, Contender
from stand import RUNTIME, Stand
from table import Figures, show


async def measure(contender: Contender, options: argparse.Namespace) -> Figures:
    begin = contender.start()
    try:
        stand = Stand(contender, options, begin)
        await contender.listening()
        for name in options.rows:
            if contender.name in rows.ROWS[name].CONTENDERS:
                print(f"  {name} …", file=sys.stderr, flush=True)
                await rows.ROWS[name].measure(stand)
    finally:
        contender.stop()
    return stand.figures


def machine() -> str:
    cpu = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    return f"{cpu}, {cores} cores, Linux {platform.release()}, Python {platform.python_version()}"


def chosen(known: Collection[str]) -> Callable[[str], list[str]]:
    """A type for arguments like `warm,cold`."""

    def parse(text: str) -> list[str]:
        names = [name for name in known if name in text.split(",")]
        if unknown := set(text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there are {', '.join(known)}")
        return names

    return parse


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=chosen(CONTENDERS), default=list(CONTENDERS), help="contenders: lambent,socket")
    parser.add_argument("--rows", type=chosen(rows.ROWS), default=list(rows.ROWS), help="files of rows/: warm,cold")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each warm load (default 5)")
    parser.add_argument("--cold", type=int, default=40, help="fresh functions for cold starts (default 40)")
    parser.add_argument("--burst", type=int, default=200, help="first invokes of one function at once (default 200)")
    parser.add_argument("--functions", type=int, default=1000, help="functions made and listed (default 1000)")
    parser.add_argument("--listed", type=int, default=10_000, help="functions of the long list (default 10000)")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds before a cold start (default 0.1)")
    parser.add_argument("--settle", type=float, default=2.0, help="seconds before memory is read (default 2)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures there")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if {"ministack", "moto"} & set(options.only):
        contenders.install_peers()
    results = {}
    for name in options.only:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        results[name] = uvloop.run(measure(CONTENDERS[name](), options))
    print(machine())
    print(f"function: {RUNTIME}, 128 MB, answers a small object; client: raw HTTP/1.1, keep-alive, or boto3\n")
    print(show(results))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
