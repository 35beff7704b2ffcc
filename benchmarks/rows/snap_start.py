"""A function that imports numpy, pandas and boto3: its first invoke with SnapStart, and without it for comparison;
many at once, and the memory that each environment holds for itself."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import statistics
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import contenders
import wire
from contenders import ROOT
from stand import Stand
from table import put

from rows import idle

CONTENDERS = ("lambent",)
ROUNDS = 8
CROWD = 50
RUNTIMES = ("python3.12", "python3.13")  # SnapStart takes Python 3.12 or newer
PACKAGES = ("numpy", "pandas", "boto3")
CODE = (
    "import boto3, numpy, pandas\n"
    "def lambda_handler(event, context):\n"
    "    return {'sum': int(numpy.arange(4).sum()), 'rows': len(pandas.DataFrame({'a': [1, 2]}))}\n"
)
ANSWER = {"sum": 6, "rows": 2}


async def measure(stand: Stand) -> None:
    runtime = next((name for name in RUNTIMES if shutil.which(name)), None)
    if runtime is None:
        print(f"rows/snap_start.py needs one of {', '.join(RUNTIMES)}: left out", file=sys.stderr)
        return
    archive = package(runtime)
    stand.figures["with numpy, pandas, boto3: unpacked (MB)"] = unpacked(archive) / 1e6
    connection = await stand.connect()
    await deploy(connection, runtime, archive)
    restored, initialised = [], []
    for number in range(1, ROUNDS + 1):
        await change(connection, number)
        await publish(connection, str(number))
        await asyncio.sleep(stand.options.pause)
        restored.append(await first_invoke(connection, f"heavy:{number}"))
        initialised.append(await first_invoke(connection, "heavy"))
    put(stand.figures, "with numpy, pandas, boto3: first invoke, SnapStart", restored)
    put(stand.figures, "with numpy, pandas, boto3: first invoke, no SnapStart", initialised)
    name = f"with numpy, pandas, boto3: {CROWD} at once, SnapStart, all answered (s)"
    stand.figures[name] = await crowd(stand, f"heavy:{ROUNDS}")
    held = [private_memory(pid) for pid in contenders.tree(stand.contender.pid) if idle.starts_namespace(pid, 2)]
    if held:
        stand.figures["with numpy, pandas, boto3: private memory of a fork (MB)"] = statistics.median(held) / 1e6


async def crowd(stand: Stand, name: str) -> float:
    connections = [await stand.connect() for _ in range(CROWD)]
    begin = time.perf_counter()
    await asyncio.gather(*(first_invoke(connection, name) for connection in connections))
    taken = time.perf_counter() - begin
    for connection in connections:
        connection.close()
    return taken


def private_memory(init: int) -> int:
    """Bytes, of an init inside a template's sandbox and of the fork whose namespace it keeps."""
    namespace = idle.namespace(init)
    return sum(idle.private(pid) for pid in idle.processes() if idle.namespace(pid) == namespace)


def package(runtime: str) -> bytes:
    """The function with its dependencies; what only their own tests need is left out, or it would not be accepted."""
    place = ROOT / "build" / "bench-packages" / runtime
    if not place.is_dir():
        version = runtime.removeprefix("python")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(place)]
        command += ["--python-version", version, "--only-binary", ":all:", *PACKAGES]
        subprocess.run(command, check=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(place.rglob("*")):
            if path.is_file() and wanted(path.relative_to(place)):
                archive.write(path, path.relative_to(place))
        archive.writestr("lambda_function.py", CODE)
    return buffer.getvalue()


def wanted(path: Path) -> bool:
    return not {"tests", "__pycache__", "bin"} & set(path.parts)


def unpacked(archive: bytes) -> int:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return sum(entry.file_size for entry in opened.infolist())


async def deploy(connection: wire.Connection, runtime: str, archive: bytes) -> None:
    body = {
        "FunctionName": "heavy",
        "Runtime": runtime,
        "Role": "arn:aws:iam::000000000000:role/bench",
        "Handler": "lambda_function.lambda_handler",
        "MemorySize": 1024,
        "Timeout": 60,
        "SnapStart": {"ApplyOn": "PublishedVersions"},
        "Code": {"ZipFile": base64.b64encode(archive).decode()},
    }
    await ask(connection, "POST", wire.FUNCTIONS, body)
    await settled(connection, "heavy", "State", "Active")


async def change(connection: wire.Connection, number: int) -> None:
    """Something to publish, and no environment of $LATEST left."""
    await ask(connection, "PUT", f"{wire.FUNCTIONS}/heavy/configuration", {"Description": f"change {number}"})
    await settled(connection, "heavy", "LastUpdateStatus", "Successful")


async def publish(connection: wire.Connection, version: str) -> None:
    await ask(connection, "POST", f"{wire.FUNCTIONS}/heavy/versions", {})
    await settled(connection, f"heavy:{version}", "State", "Active")


async def settled(connection: wire.Connection, name: str, member: str, value: str) -> None:
    while (await ask(connection, "GET", f"{wire.FUNCTIONS}/{name}/configuration")).get(member) != value:
        await asyncio.sleep(0.02)


async def ask(connection: wire.Connection, method: str, path: str, body: object = None) -> dict[str, object]:
    content = b"" if body is None else json.dumps(body).encode()
    status, answer = await connection.call(wire.request(method, path, content))
    if status >= 300:
        raise RuntimeError(f"{method} {path} answered {status}: {answer.decode(errors='replace')[:300]}")
    return dict(json.loads(answer))


async def first_invoke(connection: wire.Connection, name: str) -> float:
    begin = time.perf_counter()
    status, body = await connection.call(wire.invoke_request(name))
    taken = time.perf_counter() - begin
    if status != 200 or json.loads(body) != ANSWER:
        raise RuntimeError(f"invoking {name} answered {status}: {body.decode(errors='replace')[:300]}")
    return taken
