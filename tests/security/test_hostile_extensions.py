"""Hostile extensions: they can do what their function can, and no more; the server goes on serving."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support import Server, create, eventually, invoke, zip_executables

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the full wall needs root; see docs/isolation.md")

# What every one of them begins with: an extension that registers, and a way to leave word for the function.
HEAD = """#!/usr/bin/env python3
import ctypes, errno, http.client, json, os, signal, socket, subprocess, sys, threading, time
def call(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])
    named = {name.replace('_', '-'): value for name, value in headers.items()}
    connection.request(method, path, None if body is None else json.dumps(body), named)
    answer = connection.getresponse()
    return answer.headers, answer.read()
def register(*events):
    name = os.path.basename(sys.argv[0])
    headers, _body = call('POST', '/2020-01-01/extension/register', {'events': events}, Lambda_Extension_Name=name)
    return headers['Lambda-Extension-Identifier']
def following(identifier):
    return json.loads(call('GET', '/2020-01-01/extension/event/next', Lambda_Extension_Identifier=identifier)[1])
def leave(word):
    with open('/tmp/word', 'w') as file:
        file.write(json.dumps(word))
"""
READER = """
import json, os
def handler(event, context):
    if event:
        for _ in range(event['lines']):
            print('x' * 1000)
    return json.load(open('/tmp/word')) if os.path.exists('/tmp/word') else None
"""


def deploy(client: Any, name: str, body: str, *extensions: str, **settings: Any) -> None:
    files = {f"extensions/{extension}": HEAD + body for extension in extensions or ("hostile",)}
    layer = client.publish_layer_version(LayerName=name, Content={"ZipFile": zip_executables(files)})
    create(client, name, READER, **({"Timeout": 10, "Layers": [layer["LayerVersionArn"]]} | settings))


def test_it_reaches_nothing_that_its_function_does_not(
    lambda_client: Any, name: str, server: Server, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("host-secret")
    secret.chmod(0o644)
    body = f"""
def attempt(action, *arguments):
    try:
        return repr(action(*arguments))[:80]
    except OSError as error:
        return errno.errorcode[error.errno]
libc = ctypes.CDLL(None, use_errno=True)
def system(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), '')
    return 'done'
def connect(address):
    with socket.socket() as sock:
        sock.settimeout(1)
        sock.connect(address)
    return 'connected'
identifier = register('INVOKE')
leave({{
    'secret': attempt(open, {str(secret)!r}),
    'data': attempt(os.listdir, {str(server.data_dir)!r}),
    'shadow': attempt(open, '/etc/shadow'),
    'trees': attempt(os.listdir, '/.trees'),
    'through init': attempt(os.listdir, '/proc/1/root'),
    'memory of init': attempt(open, '/proc/1/mem', 'rb'),
    'kill init': attempt(os.kill, 1, signal.SIGKILL),
    'root': attempt(os.setuid, 0),
    'own code': attempt(open, '/opt/extensions/hostile', 'w'),
    'function code': attempt(open, '/var/task/function.py', 'w'),
    'new namespaces': attempt(system, 272, 0x10000000),
    'trace': attempt(system, 101, 16, os.getppid(), 0, 0),
    'server': attempt(connect, ('127.0.0.1', {server.endpoint.rsplit(":", 1)[1]})),
    'processes': sorted(int(pid) for pid in os.listdir('/proc') if pid.isdigit())[0],
}})
while True:
    following(identifier)
"""
    deploy(lambda_client, name, body)
    found, response = invoke(lambda_client, name)
    assert "FunctionError" not in response, found
    assert found == {
        "secret": "ENOENT",
        "data": "ENOENT",
        "shadow": "ENOENT",
        "trees": "ENOENT",
        "through init": "EACCES",
        "memory of init": "EACCES",
        "kill init": "EPERM",
        "root": "EPERM",
        "own code": "EROFS",
        "function code": "EROFS",
        "new namespaces": "EPERM",
        "trace": "EPERM",
        "server": "ECONNREFUSED",
        "processes": 1,
    }


def test_its_memory_and_processes_are_the_functions(server: Server, lambda_client: Any, name: str) -> None:
    body = """
identifier = register('INVOKE')
following(identifier)
blocks = [bytearray(b'x' * (1 << 20)) for _ in range(600)]
leave('all of it')
following(identifier)
"""
    deploy(lambda_client, f"{name}-memory", body)
    answer, response = invoke(lambda_client, f"{name}-memory", LogType="Tail")
    assert response.get("FunctionError") == "Unhandled" or answer is None
    answer, response = invoke(lambda_client, f"{name}-memory", LogType="Tail")
    assert answer != "all of it"
    body = """
identifier = register()
count = 0
try:
    while count < 3000:
        pid = os.fork()
        if pid == 0:
            time.sleep(3600)
        count += 1
except OSError as error:
    leave([errno.errorcode[error.errno], count < 1100])
following(identifier)
"""
    deploy(lambda_client, f"{name}-forks", body, MemorySize=2048)
    assert invoke(lambda_client, f"{name}-forks")[0] == ["EAGAIN", True]
    create(lambda_client, f"{name}-other", "def handler(event, context):\n    return event\n")
    assert invoke(lambda_client, f"{name}-other", 1)[0] == 1


def resident(server: Server) -> int:
    """MiB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) // 1024


LOG_BACKLOG = 64  # MiB that may wait for the disk: the log of the function itself is slower than its printing
DEAF = """
listener = socket.create_server(('127.0.0.1', 0), backlog=128)
port = listener.getsockname()[1]
identifier = register()
destination = {'protocol': 'TCP', 'port': port} if PROTOCOL == 'TCP' else {
    'protocol': 'HTTP', 'URI': 'http://sandbox.localdomain:%d' % port}
wish = {'schemaVersion': '2022-12-13', 'types': ['platform', 'function', 'extension'], 'destination': destination,
    'buffering': {'maxBytes': 1048576, 'maxItems': 10000, 'timeoutMs': 25}}
call('PUT', '/2022-07-01/telemetry', wish, Lambda_Extension_Identifier=identifier)
following(identifier)
"""


@pytest.mark.parametrize("protocol", ["TCP", "HTTP"])
def test_who_subscribes_and_never_reads_does_not_fill_the_server(tmp_path: Path, protocol: str) -> None:
    server = Server(tmp_path / "data")
    client = server.client()
    deaf = DEAF.replace("PROTOCOL", repr(protocol))
    deploy(client, "f", deaf, *(f"deaf-{number}" for number in range(10)), MemorySize=1024)
    assert invoke(client, "f")[0] is None
    before = resident(server)
    for _ in range(8):
        assert invoke(client, "f", {"lines": 10_000})[0] is None
    assert resident(server) - before < 70 + LOG_BACKLOG, "80 MB were printed, for ten subscribers each"
    assert server.stop() == 0


def test_who_ignores_the_end_is_ended(tmp_path: Path) -> None:
    """It ignores SIGTERM and the SHUTDOWN event, and has left a daemon behind that does so too."""
    mark = f"lambent-test-{os.urandom(4).hex()}"
    body = f"""
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)', {mark!r}], start_new_session=True)
identifier = register('INVOKE', 'SHUTDOWN')
while True:
    if following(identifier)['eventType'] == 'SHUTDOWN':
        time.sleep(3600)
"""
    server = Server(tmp_path / "data", "--idle-timeout", "1")
    client = server.client()

    def left() -> bool:
        return subprocess.run(["pgrep", "-f", mark], capture_output=True).returncode == 0

    deploy(client, "f", body)
    invoke(client, "f")
    assert left()
    assert eventually(lambda: not left(), 20)
    invoke(client, "f")
    assert server.stop() == 0
    assert not left()


def test_anything_may_be_said_to_the_apis(lambda_client: Any, name: str) -> None:
    """Raw bytes, wrong verbs, floods of registrations and parked requests end in refusals; the function goes on."""
    body = """
refused = 0
for head in (b'\\\\xff\\\\xfe garbage', b'GET / HTTP/1.1\\\\r\\\\n' + b'A: b\\\\r\\\\n' * 20000,
        b'POST /2020-01-01/extension/register HTTP/1.1\\\\r\\\\nContent-Length: 99999999999\\\\r\\\\n\\\\r\\\\n',
        b'PUT /2022-07-01/telemetry HTTP/1.1\\\\r\\\\nTransfer-Encoding: chunked\\\\r\\\\n\\\\r\\\\nzzz\\\\r\\\\n'):
    with socket.create_connection(('127.0.0.1', 9001)) as sock:
        try:
            sock.sendall(head + b'\\\\r\\\\n\\\\r\\\\n')
            refused += b' 4' in sock.recv(4096)
        except ConnectionError:
            refused += 1
ids = []
for number in range(50):
    headers, text = call('POST', '/2020-01-01/extension/register', {'events': []}, Lambda_Extension_Name='x%d' % number)
    ids.append(headers.get('Lambda-Extension-Identifier'))
identifier = register('INVOKE')
for one in ids:
    if one:
        threading.Thread(target=following, args=(one,), daemon=True).start()
leave([refused, sum(1 for one in ids if one)])
while True:
    following(identifier)
"""
    deploy(lambda_client, name, body.replace("\\\\", "\\"), MemorySize=512)
    assert invoke(lambda_client, name)[0] == [4, 9]
    assert invoke(lambda_client, name)[0] == [4, 9]
