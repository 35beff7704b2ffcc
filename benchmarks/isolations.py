"""Cold and warm invokes of a trivial Python function under each isolation that this machine allows, in one run.

    python benchmarks/isolations.py --cold 20

prints medians, and each as a multiple of what namespaces take. The isolations take turns, so that what else the machine
does strikes them alike.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys

import uvloop
import wire
from contenders import Lambent
from stand import CODE, RUNTIME, timed_invoke

from lambent.base import containers
from lambent.base.machine import OK

PAUSE = 0.3  # seconds before a cold start: what waits ready has been made again
WARM = 200


class Isolated(Lambent):
    def __init__(self, name: str, isolation: str, command: str) -> None:
        super().__init__()
        self.name = name
        self._arguments = ["--isolation", isolation, "--oci-runtime", command]

    def command(self) -> list[str]:
        return [*super().command(), *self._arguments]


ISOLATIONS = (  # name, and how a server is told of it
    ("namespaces", "namespaces", "auto"),
    ("crun", "oci", "crun"),
    ("runc", "oci", "runc"),
    ("gvisor", "gvisor", "auto"),
    ("process", "process", "auto"),
)


def present() -> list[tuple[str, str, str]]:
    return [
        (name, isolation, command)
        for name, isolation, command in ISOLATIONS
        if isolation not in containers.RUNTIMES or containers.check(isolation, command).status == OK
    ]


async def run(rounds: int) -> None:
    servers: list[Isolated] = []
    try:
        for described in present():
            servers.append(Isolated(*described))
            servers[-1].start()
            await servers[-1].listening()
        cold: dict[str, list[float]] = {server.name: [] for server in servers}
        warm: dict[str, list[float]] = {server.name: [] for server in servers}
        connections = [await wire.connect(server.port) for server in servers]
        for number in range(rounds):
            for server, connection in zip(servers, connections, strict=True):
                await wire.create(connection, f"f-{number}", RUNTIME, CODE)
                await asyncio.sleep(PAUSE)
                cold[server.name].append(await timed_invoke(connection, f"f-{number}"))
        for server, connection in zip(servers, connections, strict=True):
            warm[server.name] = [await timed_invoke(connection, "f-0") for _ in range(WARM)]
    finally:
        for server in servers:
            server.stop()
    print(f"{'isolation':<12}{'cold ms':>9}{'×':>7}{'warm ms':>9}{'×':>7}")
    floors = [statistics.median(times["namespaces"]) for times in (cold, warm)]
    for server in servers:
        medians = [statistics.median(times[server.name]) for times in (cold, warm)]
        cells = (f"{one * 1000:>9.2f}{one / floor:>7.1f}" for one, floor in zip(medians, floors, strict=True))
        print(f"{server.name:<12}{''.join(cells)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cold", type=int, default=20, help="cold starts under each (default 20)")
    uvloop.run(run(parser.parse_args().cold))
    return 0


if __name__ == "__main__":
    sys.exit(main())
