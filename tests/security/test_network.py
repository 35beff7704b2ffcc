"""What functions reach outside, and what they must not: they reach the internet and nothing of the machine."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from internet import Internet
from support import RUNTIMES, Server, create, eventually, invoke

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only a server that is root can make a network"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="nft is missing"),
]

CALL = """
import errno, socket
def handler(event, context):
    answers = []
    for host, port in event:
        try:
            with socket.create_connection((host, port), 3) as there:
                answers.append(there.recv(100).decode() or "connected")
        except OSError as error:
            answers.append(errno.errorcode.get(error.errno, str(error)))
    return answers
"""
REFUSED = "ENETUNREACH"


@pytest.fixture(scope="module")
def internet() -> Iterator[Internet]:
    with Internet() as found:
        yield found


def machines_addresses() -> list[str]:
    shown = subprocess.run(["ip", "-j", "-4", "address"], capture_output=True, check=True).stdout
    found = [one["local"] for device in json.loads(shown) for one in device["addr_info"]]
    return [address for address in found if not address.startswith("127.")]


@pytest.mark.isolations("namespaces", "crun", "gvisor")
def test_functions_reach_the_internet_and_nothing_of_the_machine(
    server: Server, lambda_client: Any, name: str, internet: Internet
) -> None:
    create(lambda_client, name, CALL, Timeout=60)
    assert invoke(lambda_client, name, [[internet.address, internet.port]])[0] == [internet.near], (
        "by the machine's NAT"
    )
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        own = [[address, port] for address in machines_addresses()]
        assert [internet.near, port] in own
        assert set(invoke(lambda_client, name, own)[0]) == {REFUSED}
    metadata_and_private = ["169.254.169.254", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "198.18.0.1"]
    assert set(invoke(lambda_client, name, [[address, 80] for address in metadata_and_private])[0]) == {REFUSED}


def test_functions_do_not_reach_each_other(lambda_client: Any, name: str, internet: Internet) -> None:
    listening = f"""
import socket
def handler(event, context):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("{internet.address}", 9))
        own = probe.getsockname()[0]
    if event is None:
        return own
    with socket.create_server(("0.0.0.0", 7777)) as server, socket.create_connection(("{internet.address}", {internet.port})):
        server.settimeout(event)
        try:
            return server.accept()[1][0]
        except TimeoutError:
            return "nobody came"
"""
    create(lambda_client, name, listening, Timeout=60)
    create(lambda_client, name + "-b", CALL, Timeout=60)
    address = invoke(lambda_client, name)[0]
    assert address.startswith("198.18.")
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(invoke, lambda_client, name, 2)
        time.sleep(0.3)
        assert invoke(lambda_client, name + "-b", [[address, 7777]])[0] == [REFUSED]
        assert waiting.result()[0] == "nobody came"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    running: list[Server] = []

    def start(*arguments: str) -> Server:
        server = Server(tmp_path / "data", "--runtimes-dir", str(RUNTIMES), *arguments)
        running.append(server)
        return server

    yield start
    for server in running:
        if server.process.poll() is None:
            server.stop()


def test_what_is_allowed_is_reached_and_nothing_beside_it(serve: Any, internet: Internet) -> None:
    with socket.create_server((internet.near, 0)) as allowed, socket.create_server((internet.near, 0)) as other:
        ports = [listener.getsockname()[1] for listener in (allowed, other)]
        server = serve("--network", "internet", "--network-allowed", f"{internet.near}:{ports[0]}")
        client = server.client()
        create(client, "f", CALL.replace("there.recv(100).decode() or", ""), Timeout=30)
        assert invoke(client, "f", [[internet.near, port] for port in ports])[0] == ["connected", REFUSED]


def test_none_is_none(serve: Any, internet: Internet) -> None:
    server = serve("--network", "none")
    create(server.client(), "f", CALL)
    assert invoke(server.client(), "f", [[internet.address, internet.port]])[0] == [REFUSED]
    assert belongings(server) == ([], [])


def belongings(server: Server) -> tuple[list[str], list[str]]:
    """(devices, nft tables) of the machine that are this server's."""
    tag = hashlib.sha256(str(server.data_dir.resolve()).encode()).hexdigest()[:8]
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout.splitlines()
    devices = [name for _index, name in socket.if_nameindex() if tag in name]
    return devices, [table for table in tables if tag in table]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_nothing_of_the_network_outlives_the_server(serve: Any, internet: Internet, end: str) -> None:
    server = serve("--network", "internet")
    create(server.client(), "f", CALL)
    assert invoke(server.client(), "f", [[internet.address, internet.port]])[0] == [internet.near]
    devices, tables = belongings(server)
    assert (len(devices), len(tables)) == (1, 1)
    getattr(server, end)()
    assert eventually(lambda: belongings(server) == ([], []))


def test_a_lost_router_is_replaced(serve: Any, internet: Internet) -> None:
    server = serve("--network", "internet")
    client = server.client()
    create(client, "f", CALL)
    assert invoke(client, "f", [[internet.address, internet.port]])[0] == [internet.near]
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    (router,) = [pid for pid in children if "router.py" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(int(router), 9)

    def reached() -> bool:
        """By another environment: those that wait were connected to the router that is gone."""
        client.update_function_configuration(FunctionName="f", Description=str(time.time()))
        client.get_waiter("function_updated_v2").wait(FunctionName="f")
        return bool(invoke(client, "f", [[internet.address, internet.port]])[0] == [internet.near])

    assert eventually(reached)
