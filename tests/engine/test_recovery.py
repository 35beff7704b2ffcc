"""What breaks beneath a function does not reach the next invocation."""

from __future__ import annotations

import concurrent.futures
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from support import Server, create, eventually, invoke

ECHO = "def handler(event, context):\n    return event\n"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="finds processes as root sees them")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # it has just ended
        return ""


def zygotes(server: Server) -> list[int]:
    return [pid for pid in children(server.process.pid) if "/.lambent/guest/zygote.py" in command(pid)]


@pytest.fixture
def own_server(tmp_path: Path) -> Any:
    server = Server(tmp_path / "data")
    yield server
    assert server.stop() == 0


def test_a_killed_zygote_is_replaced(own_server: Server) -> None:
    client = own_server.client(max_pool_connections=10)
    create(client, "f", ECHO)
    assert invoke(client, "f", 1)[0] == 1
    [zygote] = zygotes(own_server)
    os.kill(zygote, signal.SIGKILL)
    assert eventually(lambda: zygotes(own_server) != [zygote])
    create(client, "g", "import time\ndef handler(event, context):\n    time.sleep(0.2)\n    return event\n")
    with concurrent.futures.ThreadPoolExecutor(6) as threads:
        assert list(threads.map(lambda number: invoke(client, "g", number)[0], range(6))) == list(range(6))
    assert invoke(client, "f", 2)[0] == 2


def test_a_lost_sandbox_is_replaced(own_server: Server) -> None:
    """The init of an environment is killed from outside, as the kernel may do it when the machine runs out of memory."""
    client = own_server.client()
    code = "import os\ndef handler(event, context):\n    open('/tmp/here', 'a').write('x')\n    return os.stat('/tmp/here').st_size\n"
    create(client, "f", code)
    assert [invoke(client, "f")[0] for _ in range(2)] == [1, 2]
    [zygote] = zygotes(own_server)
    for init in children(zygote):
        os.kill(init, signal.SIGKILL)
    # A frozen sandbox dies when it is thawed: at most the one invocation that thaws it, or follows at once, is lost.
    counted = [invoke(client, "f") for _ in range(6)]
    assert sum("FunctionError" in response for _answer, response in counted) <= 1, counted
    assert counted[-1][0] < 2 + 6, "a fresh environment counts from the start"


def test_a_sandbox_that_is_lost_at_work_fails_the_invocation_only(own_server: Server) -> None:
    client = own_server.client(max_pool_connections=4)
    create(
        client, "f", "import time\ndef handler(event, context):\n    time.sleep(event)\n    return 'done'\n", Timeout=20
    )
    assert invoke(client, "f", 0)[0] == "done"
    [zygote] = zygotes(own_server)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        running = threads.submit(invoke, client, "f", 15)
        assert eventually(lambda: "busy" in str(status(own_server)))
        for init in children(zygote):
            os.kill(init, signal.SIGKILL)
        answer, response = running.result(10)
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorType"] == "Runtime.ExitError"
    assert invoke(client, "f", 0)[0] == "done"


def status(server: Server) -> Any:
    import json
    import urllib.request

    with urllib.request.urlopen(f"{server.endpoint}/_lambent/status") as response:
        return json.loads(response.read())
