"""A long, mixed load on one server, in which no response may be lost and none may be somebody else's.

    python benchmarks/soak.py                         thirty minutes
    python benchmarks/soak.py --seconds 60 --workers 8 --isolation gvisor

Every request carries a nonce of its own. Its response must carry it back, and the request id that the function saw must
be the one that the client was told. Warm and cold, timeouts, crashes, init errors, updates and deletions under load and
big payloads run side by side, so that each may disturb the others. Leaves with 1 when anything was lost or crossed.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROLE = "arn:aws:iam::000000000000:role/soak"
FUNCTIONS = "/2015-03-31/functions"
RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
CODE = """
import hashlib, os, time
VERSION = {version}
if os.environ.get('FAIL'):
    raise ValueError('it was asked to')
def handler(event, context):
    if event.get('exit'):
        os._exit(event['exit'])
    time.sleep(event.get('sleep', 0))
    text = event.get('text', '')
    return {{'nonce': event['nonce'], 'id': context.aws_request_id, 'version': VERSION, 'text': text,
            'digest': hashlib.sha256(text.encode()).hexdigest()}}
"""


class Wrong(Exception):
    """A response that was not the request's own, or none at all."""


class Connection:
    """One keep-alive connection, one request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=1 << 20)
        reader, writer = self._streams
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        answer = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return int(status_line.split(" ")[1]), headers, answer

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def package(version: int = 0) -> str:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("function.py", CODE.format(version=version))
    return base64.b64encode(buffer.getvalue()).decode()


@dataclass
class Tally:
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Client:
    """What the workers do with one connection."""

    def __init__(self, connection: Connection, tally: Tally) -> None:
        self._connection = connection
        self._tally = tally

    async def control(self, method: str, path: str, body: Any = None, *, allowed: tuple[int, ...] = ()) -> Any:
        text = b"" if body is None else json.dumps(body).encode()
        status, _headers, answer = await self._connection.call(method, path, text)
        if status >= 300 and status not in allowed:
            raise Wrong(f"{method} {path}: {status} {answer[:300]!r}")
        return json.loads(answer) if answer else None

    async def create(self, name: str, **settings: Any) -> None:
        body = {"FunctionName": name, "Runtime": RUNTIME, "Role": ROLE, "Handler": "function.handler"}
        await self.control("POST", FUNCTIONS, {**body, "Code": {"ZipFile": package()}, **settings})
        await self.active(name)

    async def active(self, name: str) -> None:
        for _attempt in range(500):
            found = await self.control("GET", f"{FUNCTIONS}/{name}/configuration")
            if found["State"] == "Active" and found["LastUpdateStatus"] == "Successful":
                return
            if found["State"] == "Failed":
                break
            await asyncio.sleep(0.01)
        raise Wrong(f"{name} did not become active: {found}")

    async def invoke(self, name: str, event: dict[str, Any]) -> tuple[str | None, Any, str]:
        """(X-Amz-Function-Error, the decoded answer, the request id)."""
        path = f"{FUNCTIONS}/{name}/invocations"
        status, headers, body = await self._connection.call("POST", path, json.dumps(event).encode())
        if status != 200:
            raise Wrong(f"{name}: {status} {body[:300]!r}")
        return headers.get("x-amz-function-error"), json.loads(body), headers["x-amzn-requestid"]

    async def succeed(self, name: str, **event: Any) -> Any:
        nonce = secrets.token_hex(16)
        error, answer, request_id = await self.invoke(name, {"nonce": nonce, **event})
        if error is not None:
            raise Wrong(f"{name}: {answer}")
        if answer["nonce"] != nonce or answer["id"] != request_id or answer["text"] != event.get("text", ""):
            raise Wrong(f"{name}: crossed: {nonce} {request_id} got {answer['nonce']} {answer['id']}")
        return answer

    async def fail(self, name: str, kind: str, **event: Any) -> None:
        """The failure must be this request's own: it names it."""
        error, answer, request_id = await self.invoke(name, {"nonce": secrets.token_hex(16), **event})
        if error != "Unhandled" or answer.get("errorType") != kind:
            raise Wrong(f"{name}: wanted {kind}, got {error} {answer}")
        named = re.findall(r"RequestId: (\S+)", answer["errorMessage"])
        if named and named != [request_id]:
            raise Wrong(f"{name}: crossed: the failure of {request_id} names {named}")


Work = Callable[[Client, int], Awaitable[None]]


async def warm(client: Client, worker: int) -> None:
    for _number in range(20):
        await client.succeed("echo")


async def slow(client: Client, worker: int) -> None:
    await client.succeed("echo", sleep=random.uniform(0, 0.2))


async def big(client: Client, worker: int) -> None:
    await client.succeed("large", text="ü" * random.randrange(1, 1_000_000))


async def cold(client: Client, worker: int) -> None:
    """A function of its own: created, invoked at once, updated, invoked as updated, deleted, gone."""
    name = f"cold-{worker}-{secrets.token_hex(4)}"
    await client.create(name)
    await client.succeed(name)
    for version in (1, 2):
        await client.control("PUT", f"{FUNCTIONS}/{name}/code", {"ZipFile": package(version)})
        await client.active(name)
        answer = await client.succeed(name)
        if answer["version"] != version:
            raise Wrong(f"{name}: version {version} was active, {answer['version']} answered")
    await client.control("DELETE", f"{FUNCTIONS}/{name}")
    status, _headers, body = await client._connection.call("POST", f"{FUNCTIONS}/{name}/invocations", b"{}")
    if status != 404:
        raise Wrong(f"{name}: deleted, and answered {status} {body[:200]!r}")


async def update(client: Client, worker: int) -> None:
    """Replace what others are invoking right now."""
    settings = {"Environment": {"Variables": {"ROUND": secrets.token_hex(4)}}}
    await client.control("PUT", f"{FUNCTIONS}/echo/configuration", settings, allowed=(409,))


async def crash(client: Client, worker: int) -> None:
    code = random.randrange(1, 120)
    await client.fail("crash", "Runtime.ExitError", exit=code)
    await client.succeed("crash")


async def hang(client: Client, worker: int) -> None:
    await client.fail("hang", "Sandbox.Timedout", sleep=30)
    await client.succeed("hang")


async def init(client: Client, worker: int) -> None:
    await client.fail("broken", "ValueError")


MIX: tuple[tuple[Work, int], ...] = (
    (warm, 40), (slow, 15), (big, 10), (cold, 12), (update, 3), (crash, 10), (hang, 4), (init, 6),
)  # fmt: skip


async def prepare(client: Client) -> None:
    for name in ("echo", "large", "crash"):
        await client.create(name, MemorySize=512, Timeout=30)
    await client.create("hang", Timeout=1)
    await client.create("broken", Environment={"Variables": {"FAIL": "1"}})


async def work(worker: int, connection: Connection, tally: Tally, end: float) -> None:
    client = Client(connection, tally)
    kinds, weights = zip(*MIX, strict=True)
    while time.monotonic() < end and len(tally.wrong) < 20:
        kind = random.choices(kinds, weights)[0]
        try:
            await asyncio.wait_for(kind(client, worker), 120)
            tally.counts[kind.__name__] += 20 if kind is warm else 1
        except (Wrong, OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            tally.wrong.append(f"{kind.__name__}: {type(error).__name__}: {error}")
            connection.close()
    connection.close()


async def watch(server: Server, tally: Tally, end: float, every: float) -> None:
    print(f"{'seconds':>8} {'requests':>9} {'wrong':>6} {'RSS MB':>7} {'fds':>5} {'environments':>12}", flush=True)
    start, connection = time.monotonic(), Connection(*server.address)
    while True:
        await asyncio.sleep(max(0.0, min(every, end - time.monotonic())))
        _status, _headers, body = await connection.call("GET", "/_lambent/status")
        environments = len(json.loads(body)["environments"])
        memory, fds = server.resident(), server.descriptors()
        figures = (time.monotonic() - start, sum(tally.counts.values()), len(tally.wrong))
        print("{:8.0f} {:9d} {:6d}".format(*figures), f"{memory:7.1f} {fds:5d} {environments:12d}", flush=True)
        if time.monotonic() >= end or len(tally.wrong) >= 20:
            connection.close()
            return


class Server:
    """`lambent serve` in a process and a directory of its own."""

    def __init__(self, directory: Path, isolation: str) -> None:
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAMBENT_"))}
        command = [sys.executable, "-m", "lambent", "serve", "--port", "0", "--isolation", isolation]
        self.log = directory / "server.log"
        self._process = subprocess.Popen(
            [*command, "--data-dir", str(directory / "data")],
            stdout=subprocess.PIPE,
            stderr=open(self.log, "wb"),  # noqa: SIM115
            text=True,
            env=variables,
        )
        assert self._process.stdout is not None
        found = re.search(r"http://([\d.]+):(\d+)", self._process.stdout.readline())
        if found is None:
            raise SystemExit(f"the server did not start:\n{self.log.read_text()}")
        self.address = found[1], int(found[2])

    def resident(self) -> float:
        """MB"""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)


async def soak(server: Server, seconds: float, workers: int, every: float) -> Tally:
    tally = Tally()
    first = Connection(*server.address)
    await prepare(Client(first, tally))
    first.close()
    end = time.monotonic() + seconds
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch(server, tally, end, every))
        for worker in range(workers):
            tasks.create_task(work(worker, Connection(*server.address), tally, end))
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1800, help="how long (default: half an hour)")
    parser.add_argument("--workers", type=int, default=16, help="connections, each with one request at a time")
    parser.add_argument("--isolation", default="auto", help="as lambent serve takes it")
    parser.add_argument("--every", type=float, default=30, help="seconds between two lines of figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lambent-soak-") as directory:
        server = Server(Path(directory), arguments.isolation)
        try:
            tally = asyncio.run(soak(server, arguments.seconds, arguments.workers, arguments.every))
        finally:
            status = server.stop()
        trouble = [line for line in server.log.read_text().splitlines() if "Traceback" in line or " ERROR " in line]
    total = sum(tally.counts.values())
    print(f"\n{total} done, {total / arguments.seconds:.0f} a second: " + json.dumps(dict(tally.counts)))
    print(f"{len(tally.wrong)} lost or crossed; the server left with {status} and logged {len(trouble)} errors")
    for line in [*tally.wrong[:20], *trouble[:20]]:
        print("  " + line)
    return 1 if tally.wrong or status or trouble else 0


if __name__ == "__main__":
    sys.exit(main())
