"""Containers end with their server, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from belongings import groups
from isolations import Isolation
from support import Server, create, eventually, invoke

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="only root makes containers")]
SLEEPER = "import subprocess\ndef handler(event, context):\n    subprocess.Popen(['sleep', event])\n    return event\n"


def commands() -> str:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text())
        except OSError:
            continue
    return "\n".join(found)


def processes(data_dir: Path) -> set[str]:
    """What is in the server's groups: of gVisor's processes the machine sees no command line."""
    found: set[str] = set()
    for group in groups(data_dir):
        with contextlib.suppress(OSError):
            found |= set((Path(group) / "cgroup.procs").read_text().split())
    return found


def keeper(server: Server) -> int:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    [found] = [int(pid) for pid in children if "keeper.py" in Path(f"/proc/{pid}/cmdline").read_text()]
    return found


@pytest.fixture
def containers(isolation: Isolation, tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """A server with a frozen environment that has a process of its own, and how that process can be recognised."""
    seconds = str(100_000 + os.getpid())
    server = isolation.serve(tmp_path / "data")
    client = server.client()
    create(client, "f", SLEEPER)
    assert invoke(client, "f", seconds)[0] == seconds
    assert eventually(lambda: frozen(server))
    yield server, seconds
    if server.process.poll() is None:
        server.kill()


def frozen(server: Server) -> bool:
    states = Path("/sys/fs/cgroup/freezer").glob(f"lambent-*-{server.process.pid}/*/freezer.state")
    return any(path.read_text() == "FROZEN\n" for path in states) or not Path("/sys/fs/cgroup/freezer").exists()


@pytest.mark.isolations("crun", "gvisor")
def test_a_stopped_server_leaves_nothing(containers: tuple[Server, str], tmp_path: Path) -> None:
    server, seconds = containers
    assert groups(server.data_dir)
    assert server.stop() == 0
    assert not groups(server.data_dir)
    assert seconds not in commands()
    assert list((tmp_path / "data" / "sandboxes" / "containers").iterdir()) in (
        [],
        [tmp_path / "data/sandboxes/containers/cgroup"],
    )
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


@pytest.mark.isolations("crun", "runc", "gvisor")
def test_a_killed_server_takes_its_frozen_containers_along(containers: tuple[Server, str]) -> None:
    server, seconds = containers
    assert processes(server.data_dir)
    server.kill()
    assert eventually(lambda: not processes(server.data_dir))
    assert seconds not in commands()


@pytest.mark.isolations("crun", "gvisor")
def test_the_next_start_ends_what_a_killed_keeper_left(
    containers: tuple[Server, str], isolation: Isolation, tmp_path: Path
) -> None:
    server, seconds = containers
    os.kill(keeper(server), signal.SIGKILL)
    server.kill()
    isolation.serve(tmp_path / "data").stop()
    assert eventually(lambda: seconds not in commands())
    assert not groups(server.data_dir)


@pytest.mark.isolations("crun")
def test_a_killed_keeper_is_replaced(containers: tuple[Server, str]) -> None:
    server, seconds = containers
    client: Any = server.client()
    os.kill(keeper(server), signal.SIGKILL)
    create(client, "g", "def handler(event, context):\n    return event\n")
    assert invoke(client, "g", 1)[0] == 1
    assert invoke(client, "f", seconds)[0] == seconds, "what was there goes on"
    assert server.stop() == 0


@pytest.mark.isolations("gvisor")
def test_tmp_survives_the_loss_of_a_container(isolation: Isolation, tmp_path: Path) -> None:
    """gVisor ends as a whole when the memory runs out."""
    server = isolation.serve(tmp_path / "data")
    client = server.client()
    code = (
        "def handler(event, context):\n"
        "    open('/tmp/kept', 'a').write('x')\n"
        "    return len(b'x' * (event << 20)) and open('/tmp/kept').read()\n"
    )
    create(client, "f", code, MemorySize=128, Timeout=20)
    assert invoke(client, "f", 1)[0] == "x"
    answer, response = invoke(client, "f", 400)
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorType"] == "Runtime.ExitError"
    assert invoke(client, "f", 1)[0] == "xxx"
    assert server.stop() == 0
