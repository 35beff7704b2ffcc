"""The servers that are compared, each started on a free loopback port with a directory of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import wire

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RUNTIMES = Path(sys.prefix) / "runtimes"  # what `scripts/bootstrap test` has installed
PEER_ENVIRONMENT = ROOT / "build/venv-bench"
PEER_REQUIREMENTS = ROOT / "requirements/bench.txt"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Contender:
    """One server. `command` and `environment` say how it starts."""

    name = ""
    runs = True  # whether its functions can be invoked
    deploys = True  # whether it has a control plane; otherwise it answers every request as the function

    def __init__(self) -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="lambent-bench-"))
        self.log = self.directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def start(self) -> float:
        """Start the process; `time.perf_counter()` when it was started."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "LAMBENT_"))}
        with open(self.log, "wb") as log:
            begin = time.perf_counter()
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=kept | self.environment(),
                cwd=self.directory,
                start_new_session=True,
            )
        return begin

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else -1

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def listening(self) -> None:
        """Wait until the port is open. RuntimeError with the end of its log when the process is gone."""
        while self.alive:
            try:
                _reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.002)
                continue
            writer.close()
            return
        raise RuntimeError(f"{self.name} did not start:\n{self.log.read_text()[-2000:]}")

    def memory(self) -> int:
        """Bytes: the proportional set size of the server and every process it started."""
        return sum(proportional(pid) for pid in tree(self._process.pid)) if self._process else 0

    def own_memory(self) -> int:
        """Bytes: the same of the server alone. What waits for functions comes and goes with demand."""
        return proportional(self._process.pid) if self._process else 0

    def stop(self) -> None:
        """End the server and what it left running, and take its directory away."""
        if self._process is not None:
            family = tree(self._process.pid)
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            for pid in family:
                if Path(f"/proc/{pid}/root").exists() and parent_of(pid) == 1:
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)


class Lambent(Contender):
    name = "lambent"

    def command(self) -> list[str]:
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--data-dir", str(self.directory / "data")]
        return [sys.executable, "-m", "lambent", "serve", *where]

    def environment(self) -> dict[str, str]:
        return {
            "LAMBENT_MAX_ENVIRONMENTS": "500",  # the burst wants all of its environments at once
            "LAMBENT_RUNTIMES_DIR": str(RUNTIMES),
        }


class Ministack(Contender):
    name = "ministack"

    def command(self) -> list[str]:
        return [str(PEER_ENVIRONMENT / "bin/ministack")]

    def environment(self) -> dict[str, str]:
        return {
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "LAMBDA_EXECUTOR": "local",
            "LOG_LEVEL": "WARNING",
            "TMPDIR": str(self.directory),
            "PATH": f"{PEER_ENVIRONMENT / 'bin'}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        }


class Moto(Contender):
    """Its functions need Docker to run, so only its control plane is measured."""

    name = "moto"
    runs = False

    def command(self) -> list[str]:
        return [str(PEER_ENVIRONMENT / "bin/moto_server"), "-H", "127.0.0.1", "-p", str(self.port)]

    def environment(self) -> dict[str, str]:
        return {"MOTO_ACCOUNT_ID": "000000000000"}

    async def listening(self) -> None:
        await super().listening()
        connection = await wire.connect(self.port)
        await connection.call(wire.role_request())  # it wants the role of a function to exist
        connection.close()


class Floor(Contender):
    """A program of `floors/` that takes a port."""

    deploys = False
    program = ""

    def command(self) -> list[str]:
        return [sys.executable, str(HERE / "floors" / self.program), str(self.port)]


class BareClient(Floor):
    name = "awslambdaric"
    program = "awslambdaric_processes.py"


class Socket(Floor):
    name = "socket"
    program = "canned.py"


class Fork(Floor):
    name = "fork"
    program = "forks.py"


CONTENDERS: dict[str, type[Contender]] = {
    kind.name: kind for kind in (Lambent, Ministack, Moto, BareClient, Socket, Fork)
}


def install_peers() -> None:
    """Put the peers into an environment of their own, hashes checked."""
    if (PEER_ENVIRONMENT / "bin/ministack").exists() and (PEER_ENVIRONMENT / "bin/moto_server").exists():
        return
    print("installing ministack and moto into build/venv-bench …", file=sys.stderr, flush=True)
    subprocess.run([sys._base_executable, "-m", "venv", str(PEER_ENVIRONMENT)], check=True)  # type: ignore[attr-defined]
    install = [str(PEER_ENVIRONMENT / "bin/pip"), "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*install, "--require-hashes", "-r", str(PEER_REQUIREMENTS)], check=True)


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def tree(root: int) -> list[int]:
    """`root` and all its descendants."""
    children = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            children[parent_of(int(entry.name))].append(int(entry.name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children[pid]
    return found


def proportional(pid: int) -> int:
    """Bytes of memory of one process, what it shares counted by its share. 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
