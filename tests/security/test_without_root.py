"""A server without root, and a machine that allows no sandbox at all."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from isolations import ISOLATIONS
from support import Server, clean_environment, create, invoke, zip_executables, zip_files

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="these tests give root up themselves")

NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = ["setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups"]
WITHOUT_CAPABILITIES = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]


def works(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, env=clean_environment()).returncode == 0


def nobodys(tmp_path: Path) -> Path:
    """A data directory of nobody's, where nobody may come to it."""
    if not works(*AS_NOBODY, sys.executable, "-c", "import lambent.app"):
        pytest.skip("the user nobody cannot read this checkout")
    if not works(*AS_NOBODY, "unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "true"):
        pytest.skip("this machine gives users no namespaces")
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == 0 and parent.parent != parent and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o001)
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, NOBODY.pw_uid, NOBODY.pw_gid)
    return data


def test_extensions_have_the_same_fences_without_root(tmp_path: Path) -> None:
    server = Server(nobodys(tmp_path), prefix=AS_NOBODY)
    client = server.client()
    watcher = (Path(__file__).parent.parent / "functions" / "extensions" / "watcher.py").read_text()
    content = {"ZipFile": zip_executables({"extensions/watcher": watcher})}
    layer = client.publish_layer_version(LayerName="l", Content=content)["LayerVersionArn"]
    code = "import os\ndef handler(event, context):\n    return [os.getuid(), open('/tmp/watcher.jsonl').read()]\n"
    create(client, "f", code, Layers=[layer])
    (uid, text), _response = invoke(client, "f")
    notes = dict(json.loads(line) for line in text.splitlines())
    assert notes["registered"][0] == 200
    assert notes["environment"]["uid"] == uid
    status = dict(line.split(":\t", 1) for line in notes["status"].splitlines() if ":\t" in line)
    assert [status[name] for name in ("Seccomp", "NoNewPrivs", "CapEff", "CapBnd")] == ["2", "1", "0" * 16, "0" * 16]
    assert server.stop() == 0


@pytest.mark.parametrize("isolation", ["unprivileged", "rootless"])  # namespaces, and crun's containers
def test_functions_are_isolated_without_root_too(tmp_path: Path, isolation: str) -> None:
    if why := ISOLATIONS[isolation].missing():
        pytest.skip(why)
    data = nobodys(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("host-secret")
    secret.chmod(0o644)
    server = Server(data, *ISOLATIONS[isolation].arguments, prefix=AS_NOBODY)
    client = server.client()
    code = f"""
import ctypes, os, pwd, socket
libc = ctypes.CDLL(None, use_errno=True)
def tried(action):
    try:
        return repr(action())
    except OSError as error:
        return error.errno
def handler(event, context):
    open('/tmp/mine', 'w').write('x')
    return {{
        'user': pwd.getpwuid(os.getuid()).pw_name,
        'secret': tried(lambda: open({str(secret)!r}).read()),
        'data': tried(lambda: os.listdir({str(data)!r})),
        'trees': tried(lambda: os.listdir('/.trees')),
        'init': [tried(lambda: os.kill(1, 9)), tried(lambda: open('/proc/1/mem', 'rb').read(1))],
        'layers': sorted(os.listdir('/opt/python')),
        'layer': tried(lambda: open('/opt/python/planted', 'w')),
        'pids': len([name for name in os.listdir('/proc') if name.isdigit()]),
        'device': tried(lambda: open('/dev/planted', 'w')),
        'write': tried(lambda: open('/var/task/planted', 'w')),
        'mount': libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, b''),
        'user namespace': libc.unshare(0x10000000),
        'ptrace': libc.ptrace(16, 1, 0, 0),
        'raw': tried(lambda: socket.socket(2, 3, 1)),
        'capabilities': [line.split()[1] for line in open('/proc/self/status') if line.startswith('Cap')],
    }}
"""
    layers = [
        client.publish_layer_version(LayerName=letter, Content={"ZipFile": zip_files({f"python/{letter}.py": ""})})
        for letter in "ab"
    ]
    create(client, "probe", code, Layers=[layer["LayerVersionArn"] for layer in layers])
    found, response = invoke(client, "probe")
    assert "FunctionError" not in response, found
    init_kill, init_memory = found.pop("init")
    assert init_kill in ("None", 1)  # a signal to process 1 of one's own namespace is ignored
    assert init_memory == 13
    assert set(found.pop("capabilities")) == {"0000000000000000"}
    assert found == {
        "user": "sbx_user1051",
        "secret": 2,
        "data": 2,
        "trees": found["trees"],
        "layers": ["a.py", "b.py"],
        "layer": 30,
        "pids": 2,
        "device": 30,
        "write": 30,
        "mount": -1,
        "user namespace": -1,
        "ptrace": -1,
        "raw": 1,
    }
    assert found["trees"] in ("[]", 13, 2)
    assert invoke(client, "probe")[0]["pids"] == 2, "the environment has survived the signal to its init"
    assert server.stop() == 0
    assert "weak: memory is bounded per process only" in data.with_suffix(".log").read_text()


def test_memory_is_bounded_per_process_without_cgroups(tmp_path: Path) -> None:
    server = Server(nobodys(tmp_path), prefix=AS_NOBODY)
    client = server.client()
    create(client, "hog", "def handler(event, context):\n    return len(bytearray(event << 20))\n", MemorySize=256)
    assert invoke(client, "hog", 50)[0] == 50 << 20
    answer: Any = invoke(client, "hog", 400)[0]
    assert answer["errorType"] == "MemoryError"
    assert server.stop() == 0


def test_a_machine_without_sandboxes_is_refused_unless_isolation_is_given_up(tmp_path: Path) -> None:
    serve = [sys.executable, "-m", "lambent", "serve", "--port", "0", "--data-dir", str(tmp_path / "data")]
    refused = subprocess.run(
        [*WITHOUT_CAPABILITIES, *serve], capture_output=True, text=True, timeout=60, env=clean_environment()
    )
    assert refused.returncode == 1
    assert "this machine allows no sandbox" in refused.stderr
    assert "--isolation process" in refused.stderr
    assert "Traceback" not in refused.stderr
    server = Server(tmp_path / "data", "--isolation", "process", prefix=WITHOUT_CAPABILITIES)
    client = server.client()
    create(client, "plain", "def handler(event, context):\n    return event\n")
    assert invoke(client, "plain", {"a": 1})[0] == {"a": 1}
    assert server.stop() == 0
    assert "weak: functions are not isolated" in (tmp_path / "data.log").read_text()
