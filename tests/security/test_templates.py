"""Versions whose environments are forks of one initialised process: what a hostile init phase can make of that."""

from __future__ import annotations

from typing import Any

import pytest
from test_snapshots import RUNTIME, pytestmark  # noqa: F401

from support import Server, create, eventually, invoke

TAIL = "def handler(event, context):\n    import os\n    return [os.getpid(), ME, look()]\n"
HEAD = "import ctypes, mmap, os, socket, threading, time, uuid\nME = uuid.uuid4().hex\ndef look():\n    return None\n"


def publish(client: Any, name: str, code: str) -> None:
    snap_start = {"Runtime": RUNTIME, "SnapStart": {"ApplyOn": "PublishedVersions"}, "Timeout": 20}
    create(client, name, HEAD + code + TAIL, **snap_start)
    client.publish_version(FunctionName=name)
    version = {"FunctionName": name, "Qualifier": "1"}
    assert eventually(lambda: client.get_function_configuration(**version)["State"] == "Active", 30)


def crowd(client: Any, name: str) -> list[Any]:
    """Answers of environments that had to be there at the same time."""
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        return [answer for answer, _ in pool.map(lambda _: invoke(client, name, Qualifier="1"), range(3))]


SLOW = "def look():\n    time.sleep(0.7)\n"


def test_a_plain_function_is_initialised_once(lambda_client: Any, name: str) -> None:
    publish(lambda_client, name, SLOW)
    assert len({answer[1] for answer in crowd(lambda_client, name)}) == 1


@pytest.mark.parametrize(
    "unfit",
    [
        "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n",
        "CHILD = os.spawnv(os.P_NOWAIT, '/bin/sleep', ['sleep', '1000'])\n",
        "SOCKET = socket.socket()\n",
        "FILE = open('/tmp/shared', 'w+')\n",
        "SHARED = mmap.mmap(-1, 4096)\n",
        "os.fork = lambda: ctypes.CDLL(None).syscall(56, 0x11 | 0x100, 0, 0, 0, 0)\n",  # that shares its memory
        "os.fork = lambda: ctypes.CDLL(None).syscall(56, 0x11 | 0x400, 0, 0, 0, 0)\n",  # that shares its descriptors
    ],
    ids=["thread", "child", "socket", "file", "memory", "clone-vm", "clone-files"],
)
def test_what_a_fork_would_share_makes_the_version_one_without_forks(lambda_client: Any, name: str, unfit: str) -> None:
    publish(lambda_client, name, unfit + SLOW)
    assert len({answer[1] for answer in crowd(lambda_client, name)}) == 3


@pytest.mark.parametrize(
    "unfit",
    [
        "os.fork = lambda: os._exit(3)\n",
        "os.fork = lambda: ctypes.CDLL(None).vfork()\n",
        "os.fork = lambda: 0\n",
    ],
    ids=["exits", "vfork", "pretends"],
)
def test_what_does_not_fork_when_it_says_so_is_initialised_again(lambda_client: Any, name: str, unfit: str) -> None:
    publish(lambda_client, name, unfit)
    assert invoke(lambda_client, name, Qualifier="1")[0][1]


def test_an_environment_reaches_neither_its_template_nor_its_siblings(
    server: Server, lambda_client: Any, name: str
) -> None:
    code = """
open('/tmp/of-the-template', 'w').write('before')
SEEN = os.getpid()
def look():
    found = {'tmp': sorted(os.listdir('/tmp')), 'mine': os.stat('/tmp/of-the-template').st_uid == os.getuid()}
    with open('/tmp/of-the-template', 'a') as file:
        file.write('+')
    found['text'] = open('/tmp/of-the-template').read()
    links = ['/proc/self/fd/' + fd for fd in os.listdir('/proc/self/fd')]
    found['fds'] = sorted(os.readlink(link).split(':')[0] for link in links if os.path.lexists(link))
    found['status'] = [l for l in open('/proc/self/status') if l.startswith(('Cap', 'NoNew', 'Seccomp:', 'Groups'))]
    libc = ctypes.CDLL(None, use_errno=True)
    def tried(result):
        return ctypes.get_errno() if result < 0 else 0
    found['calls'] = [
        tried(libc.unshare(0x10000000)), tried(libc.setns(0, 0)), tried(libc.mount(b'x', b'/tmp', b'tmpfs', 0, None)),
        tried(libc.ptrace(0x4206, 1, 0, 0)), tried(libc.umount2(b'/tmp', 2)),
        tried(libc.umount2(b'/proc', 2)), tried(libc.setuid(0)),
    ]
    found['maps'] = [l for l in open('/proc/self/maps') if 'rwx' in l]
    for path in ('/proc/1/mem', '/proc/1/environ', '/proc/1/ns/user', '/proc/1/root/tmp'):
        try:
            os.readlink(path) if '/ns/' in path else os.listdir(path) if path.endswith('tmp') else open(path).close()
            found[path] = 'open'
        except OSError as error:
            found[path] = error.errno
    time.sleep(0.7)
    found['pids'] = len([p for p in os.listdir('/proc') if p.isdigit()])
    return found
"""
    publish(lambda_client, name, code)
    answers = crowd(lambda_client, name)
    assert all(isinstance(answer, list) for answer in answers), answers
    assert len({answer[1] for answer in answers}) == 1
    for _pid, _me, found in answers:
        assert (found["tmp"], found["mine"], found["text"]) == (["of-the-template"], True, "before+")
        assert set(found["fds"]) <= {"pipe", "socket", "/dev/null"}
        assert found["status"][-2:] == ["NoNewPrivs:\t1\n", "Seccomp:\t2\n"]
        assert [line.split()[1] for line in found["status"] if line.startswith("Cap")] == ["0" * 16] * 5
        assert found["calls"][:4] == [1, 1, 1, 1]
        assert found["calls"][4:] == [1, 1, 22]  # there is no root to become
        assert found["maps"] == []
        assert found["pids"] == 2
        assert {found[path] for path in found if path.startswith("/proc/1/")} <= {13, 1}


def test_a_fork_that_crashes_or_overstays_is_replaced_and_the_others_live(lambda_client: Any, name: str) -> None:
    code = "def look():\n    return None\ndef handler(event, context):\n    os._exit(1) if event else None\n    return ME\n#"
    publish(lambda_client, name, code)
    me = invoke(lambda_client, name, Qualifier="1")[0]
    for _ in range(3):
        assert "FunctionError" in invoke(lambda_client, name, {"crash": True}, Qualifier="1")[1]
        assert invoke(lambda_client, name, Qualifier="1")[0] == me
