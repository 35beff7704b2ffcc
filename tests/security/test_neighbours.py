"""A hung or hostile function cannot keep others from their work: they answer within their own short timeouts."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import Server, create, invoke

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="without root processes and CPU are not bounded")

HOGS = {
    "cpu": """
import os, threading
def handler(event, context):
    for _ in range(3):
        if os.fork() == 0:
            while True:
                pass
    while True:
        pass
""",
    "memory": """
def handler(event, context):
    hoard = []
    while True:
        hoard.append(bytearray(b'x' * (1 << 20)))
""",
    "pids": """
import os, time
def handler(event, context):
    while True:
        try:
            if os.fork() == 0:
                time.sleep(100)
        except OSError:
            time.sleep(0.01)
""",
    "disk": """
def handler(event, context):
    while True:
        with open('/tmp/fill', 'wb') as file:
            try:
                for _ in range(64):
                    file.write(b'x' * (1 << 20))
                    file.flush()
            except OSError:
                pass
""",
    "descriptors": """
import socket, time
def handler(event, context):
    held = []
    while True:
        try:
            held.append(socket.create_connection(('127.0.0.1', 9001)))
        except OSError:
            time.sleep(0.01)
""",
    "output": """
def handler(event, context):
    while True:
        print('x' * 10000)
""",
    "hang": """
import signal, time
def handler(event, context):
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    time.sleep(1000)
""",
}
VICTIM = "import os\ndef handler(event, context):\n    open('/tmp/mine', 'w').write('x' * 1000)\n    return [event, os.getpid()]\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("neighbours") / "data")
    yield server
    server.stop()


@pytest.mark.parametrize("kind", HOGS)
def test_others_answer_beside_it(server: Server, kind: str, tmp_path: Path) -> None:
    client = server.client(max_pool_connections=4)
    create(client, f"hog-{kind}", HOGS[kind], Timeout=2, MemorySize=512)
    create(client, f"warm-{kind}", VICTIM, Timeout=2)
    create(client, f"cold-{kind}", VICTIM, Timeout=2)
    assert invoke(client, f"warm-{kind}", -1)[0][0] == -1
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        hogs = [threads.submit(invoke, client, f"hog-{kind}") for _ in range(2)]
        answers: list[Any] = []
        while not all(hog.done() for hog in hogs):
            answer, response = invoke(client, f"warm-{kind}", len(answers))
            assert "FunctionError" not in response, answer
            answers.append(answer[0])
            if len(answers) == 5:
                answer, response = invoke(client, f"cold-{kind}", "cold")
                assert "FunctionError" not in response, answer
                assert answer[0] == "cold"
    assert answers == list(range(len(answers)))
    for hog in hogs:
        assert hog.result()[1]["FunctionError"] == "Unhandled"
    assert invoke(client, f"warm-{kind}", "after")[0][0] == "after"
    client.delete_function(FunctionName=f"hog-{kind}")
