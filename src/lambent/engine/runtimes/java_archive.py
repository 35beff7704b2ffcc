"""The class archive of a Java runtime: what every function loads, made ready to be mapped (class-data sharing)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from lambent.engine.guest import wire
from lambent.engine.runtimes.registries import FetchError
from lambent.engine.runtimes.runtime import Runtime

_LAUNCHER = Path(__file__).parent.parent / "guest" / "launcher.py"
_MEMORY = "512"  # MiB, of the function that is played


def make(runtime: Runtime, target: Path) -> None:
    """Write the archive to `target`. Plays a function in the runtime's own root, where paths are as they will be.

    FetchError where this machine allows no such root, or Java fails.
    """
    from lambent.engine.drivers import root  # which knows runtimes in its turn

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with tempfile.TemporaryDirectory(prefix="lambent-") as directory, ours:
        work = Path(directory)
        for name in ("root", "trees"):
            (work / name).mkdir()
        user_namespace = os.geteuid() != 0
        (work / "passwd").write_text(root.users(user_namespace=user_namespace))
        plan = root.launch_plan(_without_archive(runtime), work, work / "trees", user_namespace=user_namespace)
        environment = dict(runtime.variables) | {
            "AWS_LAMBDA_FUNCTION_NAME": "archive",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": _MEMORY,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/archive",
            "AWS_LAMBDA_LOG_STREAM_NAME": "archive",
            "_LAMBDA_TELEMETRY_LOG_FD": "1",
        }
        order = {"command": runtime.command(environment), "environment": environment}
        plan["command"] = [*plan["command"][:-1], f"{root.GUEST_INSIDE}/java_archive.py"]
        plan["preloaded"] = [json.dumps(order)]
        with theirs:
            process = subprocess.Popen(
                [sys._base_executable, "-I", "-S", "-B", str(_LAUNCHER), str(theirs.fileno())],  # type: ignore[attr-defined]
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, wire.LIMIT * 2)
        wire.send(ours, plan)
        answer, descriptors = wire.receive(ours)
        _output, errors = process.communicate()
        if answer is None or answer["op"] != "made":
            reason = answer["message"] if answer else errors.decode(errors="replace").strip()
            raise FetchError(f"no class archive of {runtime.name} could be made: {reason}")
        with os.fdopen(descriptors[0], "rb") as source, target.open("wb") as sink:
            source.seek(0)
            shutil.copyfileobj(source, sink)


def _without_archive(runtime: Runtime) -> Runtime:
    return replace(runtime, binds=tuple(bind for bind in runtime.binds if not bind[1].endswith(".jsa")))
