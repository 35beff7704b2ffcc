"""Whatever dies, and however: nothing of it stays on the machine. Counted, and only what is this server's."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from belongings import descriptors, family, groups, loop_devices
from lambent.engine.drivers import cgroups
from support import Server, create, eventually, invoke

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="counts cgroups and loop devices, which root has")

BUSY = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"
DAEMON = (
    "import subprocess\ndef handler(event, context):\n    subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data")
    yield server
    server.stop()


@pytest.fixture
def lean_server(tmp_path: Path) -> Iterator[Server]:
    """Nothing waits ready, so that what there is can be counted: how much waits depends on recent demand."""
    server = Server(tmp_path / "data", "--stems", "0")
    yield server
    server.stop()


def populate(server: Server) -> Any:
    """Environments of every kind: idle and frozen, with a daemon, with a disk of its own size, at work, waiting."""
    client = server.client(max_pool_connections=8)
    create(client, "idle", BUSY)
    create(client, "daemon", DAEMON)
    create(client, "disk", BUSY, EphemeralStorage={"Size": 600})
    create(client, "busy", BUSY, Timeout=60)
    for name in ("idle", "daemon", "disk"):
        invoke(client, name, 0)
    threads = concurrent.futures.ThreadPoolExecutor(1)
    threads.submit(invoke, client, "busy", 2)
    assert eventually(lambda: len(family(server.process.pid)) >= 9)
    threads.shutdown(wait=False)
    return client


def zygotes(server: Server) -> list[int]:
    listed = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [int(pid) for pid in listed if "zygote.py" in Path(f"/proc/{pid}/cmdline").read_text()]


def test_a_clean_stop_leaves_nothing(server: Server) -> None:
    populate(server)
    processes = family(server.process.pid)
    assert groups(server.data_dir)
    assert loop_devices(server.data_dir)
    server.stop()
    assert not [process for process in processes if process.alive]
    assert not groups(server.data_dir)
    assert eventually(lambda: not loop_devices(server.data_dir))


@pytest.mark.parametrize("victims", ["server", "zygote and server"])
def test_after_a_kill_and_the_next_start_nothing_is_left(server: Server, victims: str, tmp_path: Path) -> None:
    populate(server)
    processes = family(server.process.pid)
    if "zygote" in victims:
        server.process.send_signal(signal.SIGSTOP)  # it shall not see it happen
        for pid in zygotes(server):
            os.kill(pid, signal.SIGKILL)
    server.kill()
    if "zygote" not in victims:  # else frozen processes wait for somebody to thaw them: the next start does
        assert eventually(lambda: not [process for process in processes if process.alive])
    successor = Server(tmp_path / "data")
    try:
        assert eventually(lambda: not [process for process in processes if process.alive])
        assert invoke(successor.client(), "idle", 0)[0] == 0
    finally:
        assert successor.stop() == 0
    assert not groups(server.data_dir)
    assert eventually(lambda: not loop_devices(server.data_dir))


def test_what_ends_while_the_server_runs_leaves_it_nothing_to_hold(lean_server: Server) -> None:
    """Functions that crash, sandboxes and zygotes that are killed, versions that are replaced: over and over."""
    server, client = lean_server, lean_server.client()
    create(client, "crash", "import os\ndef handler(event, context):\n    os._exit(1)\n")
    create(client, "f", BUSY)

    def round_of_ends() -> None:
        assert invoke(client, "crash")[1]["FunctionError"] == "Unhandled"
        assert invoke(client, "f", 0)[0] == 0
        for pid in zygotes(server):
            for process in family(pid):
                with contextlib.suppress(ProcessLookupError):  # its parent may have gone first
                    os.kill(process.pid, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: "FunctionError" not in invoke(client, "f", 0)[1])
        client.update_function_configuration(
            FunctionName="f", Environment={"Variables": {"ROUND": os.urandom(4).hex()}}
        )
        client.get_waiter("function_updated_v2").wait(FunctionName="f")
        assert invoke(client, "f", 0)[0] == 0

    def settled() -> tuple[int, int, int]:
        return descriptors(server.process.pid), len(groups(server.data_dir)), len(loop_devices(server.data_dir))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:  # the database opens its readers when they are first needed
        list(pool.map(lambda _turn: server.client().list_functions(), range(24)))
    round_of_ends()
    round_of_ends()
    counts: list[tuple[int, int, int]] = []
    assert eventually(lambda: counts.append(settled()) or (len(counts) > 25 and len(set(counts[-20:])) == 1), 30)
    for _ in range(3):
        round_of_ends()
    before = counts[-1]

    def no_more_than_before() -> bool:
        return all(now <= then + 1 for now, then in zip(settled(), before, strict=True))

    assert eventually(no_more_than_before, 30), (before, settled())


def test_servers_that_start_together_clear_the_same_dead_one(tmp_path: Path) -> None:
    """Each clears what dead servers left, whoever's they were: none may stumble over what another has just removed."""
    probe = cgroups.detect("together")
    if probe.version != "v1":
        pytest.skip("this machine has no cgroup v1 that may be written")
    mounts = probe._mounts  # type: ignore[attr-defined]
    gone = subprocess.Popen(["true"])
    gone.wait()
    for _round in range(10):
        for mount in mounts.values():
            for child in range(20):
                (mount / f"lambent-dead-{gone.pid}" / f"e{child}").mkdir(parents=True)
        starting = [cgroups.V1Groups(f"together{number}", mounts) for number in range(4)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda groups: groups.start(), starting))
        for groups_of_one in starting:
            groups_of_one.stop()
        assert not [mount for mount in mounts.values() if (mount / f"lambent-dead-{gone.pid}").exists()]
