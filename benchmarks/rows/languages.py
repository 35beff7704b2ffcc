"""First invokes of fresh functions in other languages, and what a bare process of each costs on this machine.

Node.js and Java come from `.venv/runtimes`, where `scripts/bootstrap test` has put them; what is missing has no row.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import wire
from contenders import RUNTIMES
from stand import Stand, timed_invoke
from table import put

CONTENDERS = ("lambent", "fork")
FUNCTIONS = Path(__file__).resolve().parent.parent / "functions"
PAUSE = 0.4  # seconds: a started Node.js takes some time to be waiting again
NODE = "export const handler = async (event) => ({ greeting: `Hello, ${event.name}!` });\n"

Files = dict[str, tuple[bytes, int]]  # name → content and mode


def node() -> Files:
    return {"index.mjs": (NODE.encode(), 0o644)}


def java() -> Files | None:
    jar = next((RUNTIMES / "java-client").glob("aws-lambda-java-core-*.jar"), None)
    if jar is None or shutil.which("javac") is None:
        return None
    with tempfile.TemporaryDirectory() as directory:
        source = str(FUNCTIONS / "Greeting.java")
        subprocess.run(["javac", "--release", "11", "-cp", str(jar), "-d", directory, source], check=True)
        return {"Greeting.class": (Path(directory, "Greeting.class").read_bytes(), 0o644)}


def program() -> Files | None:
    if shutil.which("cc") is None:
        return None
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory, "bootstrap")
        source = str(FUNCTIONS / "greeting.c")
        subprocess.run(["cc", "-D_GNU_SOURCE", "-O2", "-static", "-o", str(made), source], check=True)
        return {"bootstrap": (made.read_bytes(), 0o755)}


# Row → runtime, handler, memory, its files, and a bare process of its kind.
LANGUAGES: dict[str, tuple[str, str, int, Callable[[], Files | None], list[str]]] = {
    "Node.js 22": ("nodejs22.x", "index.handler", 256, node, [str(RUNTIMES / "node-22/bin/node"), "-e", "0"]),
    "Node.js 24": ("nodejs24.x", "index.handler", 256, node, [str(RUNTIMES / "node-24/bin/node"), "-e", "0"]),
    "Java 21": ("java21", "Greeting", 512, java, [str(RUNTIMES / "jdk-21/bin/java"), "-Xshare:auto", "-version"]),
    "static program": ("provided.al2023", "x", 128, program, ["/bin/true"]),
}


async def measure(stand: Stand) -> None:
    for row, (runtime, handler, memory, files, bare) in LANGUAGES.items():
        made = files()
        if made is None or not shutil.which(bare[0]):
            print(f"    no {row} on this machine", file=sys.stderr)
            continue
        name = f"cold start, {row}"
        if stand.contender.name == "fork":
            put(stand.figures, name, list(processes(bare, stand.options.cold)))
        else:
            put(stand.figures, name, await functions(stand, runtime, handler, memory, made))


def processes(command: list[str], count: int) -> Iterator[float]:
    """Seconds from start to end of each."""
    for _ in range(count):
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield time.perf_counter() - begin


async def functions(stand: Stand, runtime: str, handler: str, memory: int, files: Files) -> list[float]:
    connection, cold = await stand.connect(), []
    for number in range(stand.options.cold):
        name = f"{runtime.partition('.')[0]}-{number}"
        message = wire.deploy_request(name, runtime, handler, wire.package(files), MemorySize=memory, Timeout=20)
        await wire.deploy(connection, name, message)
        await asyncio.sleep(max(stand.options.pause, PAUSE))
        cold.append(await timed_invoke(connection, name))
    return cold
