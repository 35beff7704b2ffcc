"""Functions from container images: pushed by skopeo, run in the same fences as those from zips."""

from __future__ import annotations

import http.client
import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import imagery
import programs
from isolations import ISOLATIONS, Isolation
from support import ROLE, Server, eventually, invoke, run, tail

CODE = """
import os, sys
def handler(event, context):
    if event and 'do' in event:
        return attempts[event['do']]()
    return {'argv': sys.argv[1:], 'cwd': os.getcwd(), 'env': dict(os.environ), 'root': sorted(os.listdir('/'))}
def read(path):
    try:
        return open(path).read()[:200]
    except OSError as error:
        return error.strerror
def write(path):
    try:
        open(path, 'w').write('x')
        return 'written'
    except OSError as error:
        return error.strerror
def mount():
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.mount(b'/', b'/tmp', None, 4096, None), ctypes.get_errno()
attempts = {
    'shadow': lambda: read('/etc/shadow'),
    'through init': lambda: read('/proc/1/root/etc/shadow'),
    'server': lambda: read('/.lambent/guest/wire.py'),
    'own code': lambda: write('/function/app.py'),
    'root': lambda: write('/x'),
    'tmp': lambda: write('/tmp/x'),
    'mount': mount,
    'processes': lambda: sorted(int(name) for name in os.listdir('/proc') if name.isdigit()),
    'user': lambda: (os.getuid() != 0, os.getgroups() == []),
}
other = lambda event, context: 'other'
"""
SETTINGS = {"Entrypoint": ["/usr/bin/python", "-m", "awslambdaric"], "Cmd": ["app.handler"], "WorkingDir": "/function"}


class Registry:
    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.host = urllib.parse.urlsplit(server.endpoint).netloc
        self.client = server.client("ecr")
        self._numbers = 0

    def push(self, repository: str, tag: str, layers: list[bytes], **config: Any) -> str:
        """The digest of an image that is now `repository`:`tag`."""
        self._numbers += 1
        place = self.directory / str(self._numbers)
        digest = imagery.layout(place, layers, **config)
        target = f"docker://{self.host}/{repository}:{tag}"
        run("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", f"oci:{place}:latest", target)
        return digest

    def uri(self, repository: str, tag: str) -> str:
        return f"{self.host}/{repository}:{tag}"


@pytest.fixture(scope="module")
def base() -> bytes:
    return imagery.python()


@pytest.fixture(scope="module")
def registry(server: Server, base: bytes, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    found = Registry(server, tmp_path_factory.mktemp("images"))
    found.client.create_repository(repositoryName="functions")
    code = imagery.files({"function/app.py": CODE})
    found.push("functions", "python", [base, code], Env=["COLOUR=red", "PATH=/usr/bin:/bin"], **SETTINGS)
    return found


def make(client: Any, name: str, uri: str, **settings: Any) -> None:
    settings = {"MemorySize": 256, "Timeout": 10} | settings
    client.create_function(FunctionName=name, PackageType="Image", Code={"ImageUri": uri}, Role=ROLE, **settings)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def change(client: Any, name: str, **overrides: Any) -> None:
    client.update_function_configuration(FunctionName=name, ImageConfig=overrides)
    client.get_waiter("function_updated_v2").wait(FunctionName=name)


@pytest.mark.isolations("namespaces", "crun", "gvisor")
def test_a_python_image(registry: Registry, lambda_client: Any, name: str) -> None:
    make(lambda_client, name, registry.uri("functions", "python"), Environment={"Variables": {"MINE": "1"}})
    answer, _response = invoke(lambda_client, name)
    assert (answer["argv"], answer["cwd"]) == (["app.handler"], "/function")
    environment = answer["env"]
    assert (environment["COLOUR"], environment["MINE"], environment["PATH"]) == ("red", "1", "/usr/bin:/bin")
    assert (environment["_HANDLER"], environment["AWS_LAMBDA_FUNCTION_NAME"]) == ("app.handler", name)
    assert {"function", "proc", "tmp", "dev"} <= set(answer["root"])
    assert not {"var", ".trees", ".image"} & set(answer["root"])


def test_what_the_function_overrides(registry: Registry, lambda_client: Any, name: str) -> None:
    make(lambda_client, name, registry.uri("functions", "python"), ImageConfig={"Command": ["app.other"]})
    assert invoke(lambda_client, name)[0] == "other"
    shell = ["/bin/sh", "-c", "cd /function && exec python -m awslambdaric app.handler"]
    change(lambda_client, name, EntryPoint=shell, WorkingDirectory="/tmp")
    assert invoke(lambda_client, name)[0]["cwd"] == "/function"
    change(lambda_client, name)
    assert invoke(lambda_client, name)[0]["argv"] == ["app.handler"]


@pytest.mark.parametrize(
    ("overrides", "kind", "message"),
    [
        ({"EntryPoint": ["/nowhere"]}, "Runtime.InvalidEntrypoint", "fork/exec /nowhere: no such file or directory"),
        (
            {"EntryPoint": ["nowhere"]},
            "Runtime.InvalidEntrypoint",
            'exec: "nowhere": executable file not found in $PATH',
        ),
        ({"WorkingDirectory": "/nowhere"}, "Runtime.InvalidWorkingDir", "chdir /nowhere: no such file or directory"),
    ],
)
def test_what_cannot_start(
    registry: Registry, lambda_client: Any, name: str, overrides: Any, kind: str, message: str
) -> None:
    make(lambda_client, name, registry.uri("functions", "python"), ImageConfig=overrides)
    answer, response = invoke(lambda_client, name)
    request_id = response["ResponseMetadata"]["RequestId"]
    assert answer == {"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {message}"}


def test_an_image_without_a_runtime_client_says_what_is_missing(
    registry: Registry, lambda_client: Any, name: str
) -> None:
    make(
        lambda_client, name, registry.uri("functions", "python"), ImageConfig={"EntryPoint": ["/bin/sh", "-c", "true"]}
    )
    answer, response = invoke(lambda_client, name, LogType="Tail")
    assert answer["errorType"] == "Runtime.ExitError"
    assert "It must hold a runtime interface client" in tail(response)


@pytest.mark.isolations("namespaces", "crun", "gvisor")
def test_a_static_program_alone(registry: Registry, lambda_client: Any, name: str) -> None:
    registry.push("functions", "go", [imagery.files({"bootstrap": programs.go()})], Entrypoint=["/bootstrap"])
    make(lambda_client, name, registry.uri("functions", "go"))
    assert invoke(lambda_client, name, {"text": "ü"})[0] == {"got": "ü"}


def test_a_tag_that_moves_changes_nothing_until_the_code_is_updated(
    registry: Registry, lambda_client: Any, name: str, base: bytes
) -> None:
    def push(answer: str) -> str:
        code = imagery.files({"function/app.py": f"handler = lambda event, context: {answer!r}"})
        return registry.push("functions", "moving", [base, code], **SETTINGS)

    first = push("first")
    make(lambda_client, name, registry.uri("functions", "moving"))
    second = push("second")
    assert invoke(lambda_client, name)[0] == "first"
    lambda_client.update_function_configuration(FunctionName=name, Description="a new environment")
    lambda_client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert invoke(lambda_client, name)[0] == "first"
    assert lambda_client.get_function(FunctionName=name)["Code"]["ResolvedImageUri"].endswith(first)
    lambda_client.update_function_code(FunctionName=name, ImageUri=registry.uri("functions", "moving"))
    lambda_client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert invoke(lambda_client, name)[0] == "second"
    assert lambda_client.get_function(FunctionName=name)["Code"]["ResolvedImageUri"].endswith(second)


def test_a_function_goes_on_without_its_image_in_the_registry(
    registry: Registry, lambda_client: Any, name: str, base: bytes
) -> None:
    registry.client.create_repository(repositoryName="gone")
    code = imagery.files({"function/app.py": "handler = lambda event, context: 'still here'"})
    registry.push("gone", "v1", [base, code], **SETTINGS)
    make(lambda_client, name, registry.uri("gone", "v1"))
    registry.client.delete_repository(repositoryName="gone", force=True)
    assert invoke(lambda_client, name)[0] == "still here"
    lambda_client.update_function_configuration(FunctionName=name, Description="a new environment")
    lambda_client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert invoke(lambda_client, name)[0] == "still here"


def test_layers_are_unpacked_once_and_go_with_the_last_function(base: bytes, tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    registry, client = Registry(server, tmp_path / "images"), server.client()
    registry.client.create_repository(repositoryName="shared")
    trees = tmp_path / "data/trees"
    for number in range(3):
        code = imagery.files({"function/app.py": f"handler = lambda event, context: {number}"})
        registry.push("shared", f"v{number}", [base, code], **SETTINGS)
        make(client, f"f{number}", registry.uri("shared", f"v{number}"))
        assert invoke(client, f"f{number}")[0] == number
    assert len([path for path in trees.iterdir() if len(path.name) == 64]) == 4  # the base once
    for number in range(3):
        client.delete_function(FunctionName=f"f{number}")
    assert eventually(lambda: not [path for path in trees.iterdir() if len(path.name) == 64])
    server.stop()


def test_a_kill_while_an_image_is_unpacked_is_made_up_for(base: bytes, tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    registry = Registry(server, tmp_path / "images")
    registry.client.create_repository(repositoryName="killed")
    code = imagery.files({"function/app.py": "handler = lambda event, context: 'whole'"})
    registry.push("killed", "v1", [base, code], **SETTINGS)
    uri = registry.uri("killed", "v1")
    server.client().create_function(FunctionName="f", PackageType="Image", Code={"ImageUri": uri}, Role=ROLE)
    server.kill()
    server = Server(tmp_path / "data")
    client = server.client()
    client.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1})
    assert invoke(client, "f")[0] == "whole"
    assert not list((tmp_path / "data/trees").glob(".new-*"))
    server.stop()


def test_without_isolation_an_image_is_refused(base: bytes, tmp_path: Path) -> None:
    server = ISOLATIONS["process"].serve(tmp_path / "data")
    registry = Registry(server, tmp_path / "images")
    registry.client.create_repository(repositoryName="refused")
    registry.push("refused", "v1", [base], **SETTINGS)
    client, code = server.client(), {"ImageUri": registry.uri("refused", "v1")}
    client.create_function(FunctionName="f", PackageType="Image", Code=code, Role=ROLE)
    shown = eventually(
        lambda: (found := client.get_function_configuration(FunctionName="f"))["State"] != "Pending" and found
    )
    assert (shown["State"], shown["StateReasonCode"]) == ("Failed", "InvalidImage")
    assert "not with --isolation process" in shown["StateReason"]
    server.stop()


@pytest.fixture(scope="module")
def caged(registry: Registry, server: Server) -> Iterator[Any]:
    client = server.client()
    make(client, "caged", registry.uri("functions", "python"))
    yield lambda what: invoke(client, "caged", {"do": what})[0]
    client.delete_function(FunctionName="caged")


@pytest.mark.isolations("namespaces", "crun", "gvisor")
@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("shadow", "No such file or directory"),
        ("through init", "Permission denied"),
        ("server", "No such file or directory"),
        ("own code", "Read-only file system"),
        ("root", "Read-only file system"),
        ("tmp", "written"),
        ("mount", [-1, 1]),
        ("user", [True, True]),
    ],
)
def test_the_fences_are_those_of_every_function(caged: Any, isolation: Isolation, what: str, answer: Any) -> None:
    if os.geteuid() != 0 and what == "user":
        pytest.skip("without root there is one user")
    found = caged(what)
    # A container's init has a place that is closed to the function; gVisor asks for permission first.
    assert found == answer or (isolation.name not in ("namespaces", "unprivileged") and found == "Permission denied")


def test_it_sees_its_own_processes_only(caged: Any) -> None:
    assert len(caged("processes")) <= 3


ENTRYPOINT_SCRIPT = """#!/bin/sh
# As in AWS's base images.
if [ $# -ne 1 ]; then echo "entrypoint requires the handler name to be the first argument" 1>&2; exit 142; fi
export _HANDLER="$1"
RUNTIME_ENTRYPOINT=/var/runtime/bootstrap
if [ -z "${AWS_LAMBDA_RUNTIME_API}" ]; then
  exec /usr/local/bin/aws-lambda-rie $RUNTIME_ENTRYPOINT
else
  exec $RUNTIME_ENTRYPOINT
fi
"""
BOOTSTRAP = "#!/bin/sh\ncd $LAMBDA_TASK_ROOT && exec /usr/bin/python -m awslambdaric $_HANDLER\n"


def test_an_image_as_those_of_aws_are(registry: Registry, lambda_client: Any, name: str, base: bytes) -> None:
    """An entry point that chooses between AWS's platform and the emulator beside it, which is not needed here."""
    contents = {
        "lambda-entrypoint.sh": ENTRYPOINT_SCRIPT,
        "var/runtime/bootstrap": BOOTSTRAP,
        "usr/local/bin/aws-lambda-rie": "#!/bin/sh\nexit 9\n",
        "var/task/app.py": "import os\nhandler = lambda event, context: [os.environ['_HANDLER'], os.getcwd()]",
    }
    settings = {
        "Entrypoint": ["/lambda-entrypoint.sh"],
        "Cmd": ["app.handler"],
        "WorkingDir": "/var/task",
        "Env": ["LAMBDA_TASK_ROOT=/var/task", "PYTHONPATH=/function", "PATH=/usr/bin:/bin"],
    }
    registry.push("functions", "aws-like", [base, imagery.files(contents)], **settings)
    make(lambda_client, name, registry.uri("functions", "aws-like"))
    assert invoke(lambda_client, name)[0] == ["app.handler", "/var/task"]


def test_a_kill_while_a_layer_is_pushed_leaves_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    host = urllib.parse.urlsplit(server.endpoint).netloc
    server.client("ecr").create_repository(repositoryName="half")
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request("POST", "/v2/half/blobs/uploads/")
    place = connection.getresponse()
    place.read()
    connection.request("PATCH", place.headers["Location"], b"x" * (4 << 20))
    assert connection.getresponse().status == 202
    assert list((tmp_path / "data/registry").iterdir())
    server.kill()
    connection.close()
    server = Server(tmp_path / "data")
    assert list((tmp_path / "data/registry").iterdir()) == []
    assert server.client("ecr").list_images(repositoryName="half")["imageIds"] == []
    server.stop()


def test_a_kill_while_a_function_and_its_image_are_deleted_is_made_up_for(base: bytes, tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    registry, client = Registry(server, tmp_path / "images"), server.client()
    registry.client.create_repository(repositoryName="killed")
    code = imagery.files({"function/app.py": "handler = lambda event, context: 'whole'"})
    registry.push("killed", "v1", [base, code], **SETTINGS)
    make(client, "f", registry.uri("killed", "v1"))
    client.delete_function(FunctionName="f")
    registry.client.delete_repository(repositoryName="killed", force=True)
    server.kill()  # what is on the disk goes behind the answers
    server = Server(tmp_path / "data")
    assert server.client().list_functions()["Functions"] == []

    def left() -> list[Path]:
        kept = [*(tmp_path / "data/trees").iterdir(), *(tmp_path / "data/registry").iterdir()]
        return [path for path in kept if len(path.name) == 64 or path.name.startswith(".new-")]

    assert eventually(lambda: not left()), left()
    server.stop()
