"""What a hostile function finds behind the door to AWS's API, and on its network beside it."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from support import Server, create, invoke

FENCED = ("namespaces", "unprivileged", "crun", "runc", "gvisor")
SCAN = """
import socket
def handler(event, context):
    found = []
    for port in event:
        with socket.socket() as sock:
            sock.settimeout(1)
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                found.append(port)
    return found
"""
KNOCK = """
import http.client
def handler(event, context):
    answers = []
    for method, target, headers in event:
        there = http.client.HTTPConnection("127.0.0.1", 4566, timeout=10)
        there.request(method, target, headers=headers)
        answer = there.getresponse()
        answers.append([answer.status, answer.read().decode("latin-1")[:200]])
        there.close()
    return answers
"""
OWN = [
    "/_lambent/status",
    "/_lambent/health",
    "/_lambent/runtimes",
    "/_lambent/logs/f",
    "/_lambent/",
    "//_lambent/status",
]


@pytest.mark.isolations(*FENCED)
def test_of_all_ports_only_two_are_there(server: Server, lambda_client: Any, name: str) -> None:
    public = int(server.endpoint.rsplit(":", 1)[1])
    with socket.create_server(("0.0.0.0", 0)) as machines:
        create(lambda_client, name, SCAN, Timeout=60)
        wanted = [machines.getsockname()[1], public, 22, 80, 443, *range(4500, 4600), *range(8990, 9010)]
        assert invoke(lambda_client, name, wanted)[0] == [4566, 9001]


@pytest.mark.isolations(*FENCED)
def test_the_servers_own_pages_are_not_there(lambda_client: Any, name: str) -> None:
    create(lambda_client, name, KNOCK, Timeout=30)
    asked = [("GET", path, {}) for path in OWN]
    asked += [
        ("GET", "http://127.0.0.1:4566/_lambent/status", {}),
        ("GET", "/status", {"Host": "_lambent.s3.amazonaws.com"}),
    ]
    asked += [("POST", "/_lambent/status", {}), ("GET", "/%5Flambent/status", {}), ("GET", "/x/../_lambent/status", {})]
    for (status, body), request in zip(invoke(lambda_client, name, asked)[0], asked, strict=True):
        assert status >= 400, request
        assert not {"environments", "runtimes", "events"} & set(body.split('"')), request


def test_bodies_that_a_function_leaves_half_sent_do_not_fill_the_server(lambda_client: Any, name: str) -> None:
    code = """
import socket
def handler(event, context):
    socks, answers = [], []
    for _ in range(event):
        sock = socket.create_connection(("127.0.0.1", 4566))
        sock.sendall(b"POST /2015-03-31/functions HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nContent-Length: 60000000\\r\\n\\r\\n")
        socks.append(sock)
    for sock in socks[2:]:
        answers.append(sock.recv(100).split(b" ")[1].decode())
    return sorted(set(answers))
"""
    create(lambda_client, name, code, Timeout=30)
    assert invoke(lambda_client, name, 10)[0] == ["503"]
