"""Hostile functions: everything they try is refused, and the server goes on serving."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from belongings import groups
from isolations import Isolation
from support import Server, create, eventually, invoke

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the full wall needs root; see docs/isolation.md"),
    pytest.mark.isolations("namespaces", "crun", "gvisor"),  # runc is given the bundle that crun is given
]

SECRET = "host-secret-2f4c"


def attempt(client: Any, name: str, body: str, **settings: Any) -> Any:
    """Run `body` (which sets `answer`) inside a function and give back what it found."""
    indented = "\n".join("    " + line for line in body.strip("\n").splitlines())
    code = f"import os, sys, ctypes, errno, socket, json\ndef handler(event, context):\n    answer = None\n{indented}\n    return answer\n"
    create(client, name, code, Timeout=10, **settings)
    answer, response = invoke(client, name, {"data_dir": "x"})
    assert "FunctionError" not in response, answer
    return answer


READ = """
def read(path):
    try:
        with open(path, 'rb') as file:
            return 'read: ' + repr(file.read(200))
    except OSError as error:
        return errno.errorcode[error.errno]
def names(path):
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        return errno.errorcode[error.errno]
"""


def test_host_files_are_not_there(
    lambda_client: Any, name: str, server: Server, isolation: Isolation, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o644)
    body = (
        READ
        + f"""
answer = {{
    'shadow': read('/etc/shadow'),
    'root': names('/root'),
    'home': names('/home'),
    'data': names({str(server.data_dir)!r}),
    'secret': read({str(secret)!r}),
    'through init': read('/proc/1/root' + {str(secret)!r}),
    'trees': names('/.trees'),
    'cwd of init': names('/proc/1/cwd'),
    'sys': names('/sys'),
    'run': names('/run'),
}}
"""
    )
    found = attempt(lambda_client, name, body)
    assert SECRET not in json.dumps(found)
    assert found["shadow"] == "ENOENT"
    assert found["root"] in ([], "EACCES")
    assert found["home"] == []
    assert found["data"] == "ENOENT"
    assert found["secret"] == "ENOENT"
    assert found["through init"] in ("EACCES", "ENOENT", "EPERM")
    assert found["trees"] in ("ENOENT", [], "EACCES")
    assert found["cwd of init"] in ("EACCES", "EPERM")
    if isolation.name != "gvisor":  # which makes a /sys up
        assert found["sys"] in ("ENOENT", [])
    assert found["run"] == []


def test_root_file_system_is_read_only(lambda_client: Any, name: str) -> None:
    body = """
answer = {}
for path in ('/', '/etc', '/usr', '/usr/bin', '/var/task', '/var/runtime', '/var/lang', '/opt', '/dev', '/root', '/home', '/mnt', '/var/tmp', '/run'):
    try:
        open(path + '/planted', 'w').close()
        answer[path] = 'written'
    except OSError as error:
        answer[path] = errno.errorcode[error.errno]
open('/tmp/fine', 'w').close()
"""
    found = attempt(lambda_client, name, body)
    assert set(found.values()) <= {"EROFS", "EACCES"}, found


def test_only_its_own_processes_are_visible(lambda_client: Any, name: str, server: Server) -> None:
    body = f"""
pids = sorted(int(entry) for entry in os.listdir('/proc') if entry.isdigit())
commands = []
for pid in pids:
    try:
        commands.append(open(f'/proc/{{pid}}/cmdline').read())
    except OSError:
        commands.append('')
def kill(pid):
    try:
        os.kill(pid, 9)
        return 'killed'
    except OSError as error:
        return errno.errorcode[error.errno]
answer = {{'pids': pids, 'commands': commands, 'server': kill({server.process.pid}), 'init': kill(1), 'parent': os.getppid()}}
"""
    found = attempt(lambda_client, name, body)
    assert len(found["pids"]) == 2
    assert found["server"] == "ESRCH"
    assert found["init"] == "EPERM"
    assert found["parent"] in (0, 1)  # 0: outside, as for what was forked from a template
    assert not any("serve" in command for command in found["commands"])
    assert server.process.poll() is None


@pytest.mark.parametrize(
    "call",
    [
        "libc.ptrace(16, 1, 0, 0)",
        "libc.ptrace(0, 0, 0, 0)",
        "libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, b'')",
        "libc.umount2(b'/proc', 2)",
        "libc.unshare(0x10000000)",
        "libc.unshare(0x00020000)",
        "libc.unshare(0x40000000)",
        "libc.setns(0, 0)",
        "libc.chroot(b'/tmp')",
        "libc.setuid(0)",
        "libc.setgid(0)",
        "libc.sethostname(b'x', 1)",
        "libc.reboot(0)",
        "libc.syscall(321, 0, 0, 0)",  # bpf
        "libc.syscall(246, 0, 0, 0, 0)",  # kexec_load
        "libc.syscall(250, 0, 0, 0, 0, 0)",  # keyctl
        "libc.syscall(304, 0, 0, 0)",  # open_by_handle_at
        "libc.syscall(310, 1, 0, 0, 0, 0, 0)",  # process_vm_readv
        "libc.syscall(428, -100, b'/', 1)",  # open_tree
        "libc.syscall(430, b'tmpfs', 0)",  # fsopen
        "libc.syscall(425, 1, 0)",  # io_uring_setup
        "libc.syscall(298, 0, 0, 0, 0, 0)",  # perf_event_open
        "libc.syscall(438, 0, 0, 0)",  # pidfd_getfd
        "libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)",  # clone into a user namespace
        "libc.syscall(0x40000000 + 101, 0, 1, 0, 0)",  # the x32 way to ptrace
    ],
)
def test_system_call_is_refused(lambda_client: Any, refusals: str, call: str) -> None:
    answer, response = invoke(lambda_client, refusals, call)
    assert "FunctionError" not in response, answer
    assert answer in ("EPERM", "ENOSYS", "EACCES"), f"{call}: {answer}"


@pytest.fixture(scope="module")
def refusals(server: Server) -> str:
    code = (
        "import ctypes, errno, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def handler(event, context):\n"
        "    ctypes.set_errno(0)\n"
        "    result = eval(event)\n"
        "    return errno.errorcode[ctypes.get_errno()] if result == -1 else f'allowed: {result}'\n"
    )
    create(server.client(), "refusals", code)
    return "refusals"


def test_raw_sockets_and_odd_families_are_refused(lambda_client: Any, name: str) -> None:
    body = """
answer = {}
for label, family, kind, protocol in (('raw', 2, 3, 1), ('packet', 17, 3, 0), ('vsock', 40, 1, 0), ('bluetooth', 31, 3, 0), ('alg', 38, 5, 0)):
    try:
        socket.socket(family, kind, protocol)
        answer[label] = 'opened'
    except OSError as error:
        answer[label] = errno.errorcode[error.errno]
"""
    assert set(attempt(lambda_client, name, body).values()) <= {
        "EPERM",
        "EACCES",
        "EAFNOSUPPORT",
        "EPROTONOSUPPORT",
    }


def test_host_network_is_out_of_reach(lambda_client: Any, name: str, server: Server) -> None:
    port = int(server.endpoint.rsplit(":", 1)[1])
    body = f"""
answer = {{}}
for host, port in (('127.0.0.1', {port}), ('10.0.0.1', 80), ('169.254.169.254', 80)):
    try:
        socket.create_connection((host, port), 1).close()
        answer[host] = 'connected'
    except OSError as error:
        answer[host] = errno.errorcode.get(error.errno, str(error))
"""
    found = attempt(lambda_client, name, body)
    assert found == {"127.0.0.1": "ECONNREFUSED", "10.0.0.1": "ENETUNREACH", "169.254.169.254": "ENETUNREACH"}


def test_privileges_are_gone(lambda_client: Any, name: str, isolation: Isolation) -> None:
    body = """
status = dict(line.split(':\\t', 1) for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)
answer = {key: status.get(key, '0').split() for key in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp', 'Uid', 'Groups')}
"""
    found = attempt(lambda_client, name, body)
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(found[kind][0], 16) == 0
    if isolation.name != "gvisor":  # it shows neither; no program there has a set-user-id bit that it honours
        assert found["NoNewPrivs"] == ["1"]
    assert found["Seccomp"] == ["2"]
    assert "0" not in found["Uid"]
    assert found["Groups"] == []


def test_nothing_is_inherited(lambda_client: Any, name: str, isolation: Isolation) -> None:
    """No descriptor of the server, no variable of its environment."""
    body = """
answer = {'fds': {}, 'environment': dict(os.environ)}
for fd in os.listdir('/proc/self/fd'):
    try:
        answer['fds'][fd] = os.readlink('/proc/self/fd/' + fd)
    except FileNotFoundError:
        pass  # the one that listed the directory
"""
    found = attempt(lambda_client, name, body)
    kinds = {target.split(":")[0] for fd, target in found["fds"].items() if int(fd) > 2}
    # gVisor calls the pipe of the function's output "host".
    assert kinds <= ({"socket", "pipe", "host"} if isolation.name == "gvisor" else {"socket", "pipe"}), found["fds"]
    assert not {variable for variable in found["environment"] if variable.startswith("LAMBENT")}


def test_another_function_is_invisible(lambda_client: Any, name: str, isolation: Isolation) -> None:
    victim = f"{name[:50]}-victim"
    code = (
        "import ctypes\nSECRET = 'victim-memory-81aa'\n"
        "def handler(event, context):\n"
        "    open('/tmp/secret', 'w').write('victim-file-77bb')\n    return len(SECRET)\n"
    )
    create(lambda_client, victim, code)
    invoke(lambda_client, victim)
    body = (
        READ
        + """
answer = {'tmp': names('/tmp'), 'memory': [], 'ipc': names('/dev/shm')}
for pid in [entry for entry in os.listdir('/proc') if entry.isdigit()]:
    for part in ('mem', 'environ', 'maps'):
        found = read(f'/proc/{pid}/{part}')
        if 'victim' in found:
            answer['memory'].append(found)
answer['init memory'] = read('/proc/1/mem')
answer['init environment'] = read('/proc/1/environ')
answer['init maps'] = read('/proc/1/maps')
"""
    )
    found = attempt(lambda_client, name, body)
    assert found["tmp"] == []
    assert found["memory"] == []
    assert found["init memory"] == "EACCES"
    if isolation.name == "gvisor":  # its /proc shows this to everybody; it holds search paths only
        assert "AWS" not in found["init environment"]
    else:
        assert found["init environment"] == "EACCES"
    if isolation.name != "gvisor":
        assert found["init maps"] in ("EACCES", "EPERM")


def test_fork_bomb_is_bounded(lambda_client: Any, name: str, isolation: Isolation) -> None:
    code = (
        "import os, time\n"
        "def handler(event, context):\n"
        "    count = 0\n"
        "    try:\n"
        "        while True:\n"
        "            if os.fork() == 0:\n"
        "                time.sleep(60)\n"
        "                os._exit(0)\n"
        "            count += 1\n"
        "    except OSError as error:\n"
        "        return {'count': count, 'error': error.errno}\n"
    )
    create(lambda_client, name, code, Timeout=60, MemorySize=1024)
    answer, _response = invoke(lambda_client, name)
    if isolation.name == "gvisor":  # it ends when the machine gives it no more threads
        assert answer["errorType"] == "Runtime.ExitError"
    else:
        assert answer["error"] == 11  # EAGAIN
        assert answer["count"] <= 1024
    lambda_client.delete_function(FunctionName=name)
    create(lambda_client, f"{name[:50]}-next", "def handler(event, context):\n    return 'served'\n")
    assert invoke(lambda_client, f"{name[:50]}-next")[0] == "served"


def test_memory_hog_is_killed_at_its_limit(lambda_client: Any, name: str) -> None:
    code = (
        "def handler(event, context):\n"
        "    hoard = []\n"
        "    while event:\n"
        "        hoard.append(bytearray(b'x' * (1 << 20)))\n"
        "    return 'alive'\n"
    )
    create(lambda_client, name, code, Timeout=30, MemorySize=128)
    answer, response = invoke(lambda_client, name, True, LogType="Tail")
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorType"] == "Runtime.ExitError"
    assert answer["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert invoke(lambda_client, name, False)[0] == "alive"


def test_tmp_is_bounded_and_does_not_count_as_memory(lambda_client: Any, name: str) -> None:
    code = (
        "import os\n"
        "def handler(event, context):\n"
        "    written = 0\n"
        "    try:\n"
        "        with open('/tmp/fill', 'wb') as file:\n"
        "            while True:\n"
        "                written += file.write(b'x' * (4 << 20))\n"
        "    except OSError as error:\n"
        "        size = os.stat('/tmp/fill').st_size\n"
        "        os.unlink('/tmp/fill')\n"
        "        return {'errno': error.errno, 'size': size >> 20}\n"
    )
    create(lambda_client, name, code, Timeout=60, MemorySize=256)
    answer, _response = invoke(lambda_client, name)
    assert answer["errno"] == 28  # ENOSPC
    assert 500 <= answer["size"] <= 540


def test_nothing_is_left_behind(isolation: Isolation, tmp_path: Path) -> None:
    """After hostile functions and a clean stop: no process, no mount, no cgroup, no loop device of ours."""
    server = isolation.serve(tmp_path / "data")
    client = server.client()
    create(
        client,
        "daemon",
        "import subprocess\ndef handler(e, c):\n    subprocess.Popen(['sleep', '1000'], start_new_session=True)\n",
    )
    invoke(client, "daemon")
    assert groups(server.data_dir)
    assert server.stop() == 0
    assert eventually(lambda: not [line for line in commands() if "sleep\x001000" in line])
    assert str(server.data_dir) not in Path("/proc/self/mounts").read_text()
    assert not groups(server.data_dir)


@pytest.mark.isolations("namespaces", "crun")  # of gVisor's processes the machine sees no command line
def test_a_killed_server_takes_its_functions_with_it(isolation: Isolation, tmp_path: Path) -> None:
    server = isolation.serve(tmp_path / "data")
    client = server.client()
    create(
        client,
        "lingers",
        "import subprocess\ndef handler(e, c):\n    subprocess.Popen(['sleep', '1001'], start_new_session=True)\n",
    )
    invoke(client, "lingers")
    assert eventually(lambda: [line for line in commands() if "sleep\x001001" in line])
    server.kill()
    assert eventually(lambda: not [line for line in commands() if "sleep\x001001" in line])


def commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text())
        except OSError:
            continue
    return found
