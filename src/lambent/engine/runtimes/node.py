"""The Node.js runtimes: AWS's own client on each Node.js that this machine or Lambent's own directory has."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from lambent.engine.runtimes.packages import NODE_CLIENTS, NODES, Component
from lambent.engine.runtimes.runtime import LIBRARIES, SEARCH, Missing, Runtime, Start

NAMES = tuple(f"nodejs{major}.x" for major in NODES)

_GUEST = Path(__file__).parent.parent / "guest" / "node"
_LAST_WITH_CALLBACKS = 22  # AWS's client 4 is for what came after
_FIRST_WITH_LARGE_CODE_RANGE = 24  # its V8 sets 512 MiB aside for machine code
_START_UP = (
    *("NODE_", "UV_", "SSL_CERT_", "OPENSSL_", "LC_", "ICU_"),
    *("AWS_LAMBDA_RUNTIME_VERBOSE", "AWS_LAMBDA_NODEJS_", "AWS_LAMBDA_BENCHMARK_MODE"),  # its client's own
)
_MACHINE = (Path("/usr/bin/node"), Path("/usr/local/bin/node"))
_VERSIONS = (  # directory, pattern
    (Path("~/.nvm/versions/node"), "v{}.*/bin/node"),
    (Path("/opt"), "node*{}*/bin/node"),
)
_FLAGS = ("--expose-gc", "--max-http-header-size=81920")


def major_of(name: str) -> int:
    return int(name.removeprefix("nodejs").removesuffix(".x"))


def client_of(major: int) -> int:
    """The major version of AWS's client."""
    return 3 if major <= _LAST_WITH_CALLBACKS else 4


def components(name: str) -> tuple[Component, ...]:
    major = major_of(name)
    return NODES[major], NODE_CLIENTS[client_of(major)]


def find(name: str, directory: Path) -> Runtime | Missing:
    """The runtime called `name` ("nodejs22.x"), or why it is not here. `directory` holds what Lambent installed.

    Starts Node.js: blocks.
    """
    major = major_of(name)
    for place in _places(major, directory):
        version = _version(place)
        if version is None or int(version.split(".")[0]) != major:
            continue
        client = directory / f"node-client-{client_of(major)}" / "index.mjs"
        if not client.is_file():
            reason = f"Node.js {version} is here ({place}), AWS's runtime client for it is not"
            return Missing(name, reason, None, components(name)[1:])
        return _runtime(name, major, version, place, client)
    return Missing(name, f"no Node.js {major} was found on this machine", None, components(name))


def _places(major: int, directory: Path) -> Iterator[Path]:
    """Where a Node.js of this version may be, the best first."""
    yield directory / f"node-{major}" / "bin/node"
    yield from _MACHINE
    for versions, pattern in _VERSIONS:
        try:
            yield from sorted(versions.expanduser().glob(pattern.format(major)), reverse=True)
        except (OSError, RuntimeError):
            continue  # somebody else's, or no home


def _version(node: Path) -> str | None:
    try:
        result = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.fullmatch(r"v(\d+\.\d+\.\d+)", result.stdout.strip())
    return match[1] if match else None


def _runtime(name: str, major: int, version: str, node: Path, client: Path) -> Runtime:
    node = node.resolve()
    executable = f"/var/lang/bin/{node.name}"

    def command(environment: Mapping[str, str]) -> tuple[str, ...]:
        return (executable, *_FLAGS, *_heap(environment), "/var/runtime/bootstrap.mjs")

    return Runtime(
        name,
        version,
        build=f"nodejs:{major}.v{version.split('.')[1]}",
        source=node,
        start=Start.STEM,
        command=command,
        binds=(
            (node.parent.parent, "/var/lang"),
            (client, "/var/runtime/index.mjs"),
            (_GUEST / "bootstrap.mjs", "/var/runtime/bootstrap.mjs"),
            (_GUEST / "rapid-client.node", "/var/runtime/rapid-client.node"),
            (Path("/etc/ssl/certs/ca-certificates.crt"), "/var/runtime/ca-cert.pem"),
        ),
        variables=_variables(name, major),
        waiting=(executable, *_FLAGS, "/var/runtime/bootstrap.mjs", "--wait"),
        start_up=_START_UP,
        reserves=(768 if major >= _FIRST_WITH_LARGE_CODE_RANGE else 256) << 20,
    )


def _heap(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Nine tenths of the function's memory for old objects."""
    memory = environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    return (f"--max-old-space-size={int(memory) * 9 // 10}",) if memory.isdigit() else ()


def _variables(name: str, major: int) -> dict[str, str]:
    modules = (f"/opt/nodejs/node{major}/node_modules", "/opt/nodejs/node_modules")
    variables = {
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{name}",
        "LANG": "en_US.UTF-8",
        "LD_LIBRARY_PATH": f"/var/lang/lib:{LIBRARIES}",
        "NODE_PATH": ":".join((*modules, "/var/runtime/node_modules", "/var/runtime", "/var/task")),
        "PATH": f"/var/lang/bin:{SEARCH}",
        "PWD": "/var/task",
        "SHLVL": "0",
        "TZ": ":UTC",
        "_LAMBDA_TELEMETRY_LOG_FD": "62",  # the client takes it away before the function sees it
    }
    if major < 20:
        variables["NODE_EXTRA_CA_CERTS"] = "/var/runtime/ca-cert.pem"
    return variables
