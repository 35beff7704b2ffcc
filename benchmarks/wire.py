"""A raw keep-alive HTTP client and a load of invokes, with little work of its own per request."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
import urllib.parse
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SIGNATURE = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=" + "0" * 64
)
FUNCTIONS = "/2015-03-31/functions"


class _Socket(asyncio.Protocol):
    """One TCP connection, one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiter: asyncio.Future[tuple[int, bytes]] | None = None
        self.usable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if (answer := self._parse()) and self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            self._buffer.clear()
            waiter.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error or ConnectionResetError("the server hung up"))

    def _parse(self) -> tuple[int, bytes] | None:
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return None
        lines = bytes(head).lower().split(b"\r\n")
        status = int(lines[0].split()[1])
        if b"connection: close" in lines:
            self.usable = False
        for line in lines[1:]:
            if line.startswith(b"content-length:"):
                length = int(line[15:])
                return (status, bytes(body[:length])) if len(body) >= length else None
            if line.startswith(b"transfer-encoding:"):
                return (status, _unchunk(bytes(body))) if body.endswith(b"0\r\n\r\n") else None
        return status, b""

    async def call(self, message: bytes) -> tuple[int, bytes]:
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        return await self._waiter

    def close(self) -> None:
        self._transport.close()


class Connection:
    """A kept-alive connection that opens itself again: some servers close theirs now and then."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: _Socket | None = None

    async def open(self) -> _Socket:
        if self._socket is None or not self._socket.usable:
            loop = asyncio.get_running_loop()
            _transport, self._socket = await loop.create_connection(_Socket, "127.0.0.1", self._port)
        return self._socket

    async def call(self, message: bytes) -> tuple[int, bytes]:
        """(status, body) of the answer; once more on a fresh connection when the server hung up."""
        kept = self._socket is not None
        try:
            return await (await self.open()).call(message)
        except ConnectionResetError:
            if not kept:
                raise
            return await (await self.open()).call(message)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


def _unchunk(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        whole += rest[:length]
        body = rest[length + 2 :]
    return whole


async def connect(port: int) -> Connection:
    connection = Connection(port)
    await connection.open()
    return connection


def request(method: str, path: str, body: bytes = b"") -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: {SIGNATURE}\r\n"
        "x-amz-date: 20260101T000000Z\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def invoke_request(name: str, payload: bytes = b'{"name": "Ada"}') -> bytes:
    return request("POST", f"{FUNCTIONS}/{name}/invocations", payload)


def role_request() -> bytes:
    """IAM's CreateRole for the role that `create_request` names."""
    body = urllib.parse.urlencode(
        {"Action": "CreateRole", "Version": "2010-05-08", "RoleName": "lambda-role", "AssumeRolePolicyDocument": "{}"}
    ).encode()
    head = (
        f"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: {SIGNATURE.replace('/lambda/', '/iam/')}\r\n"
        "x-amz-date: 20260101T000000Z\r\ncontent-type: application/x-www-form-urlencoded\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def package(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """A zip of these files: name → content and mode."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, (content, mode) in files.items():
            entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, content)
    return packed.getvalue()


def deploy_request(name: str, runtime: str, handler: str, zipped: bytes, **settings: Any) -> bytes:
    body: dict[str, Any] = {
        "FunctionName": name,
        "Runtime": runtime,
        "Role": "arn:aws:iam::000000000000:role/lambda-role",
        "Handler": handler,
        "Code": {"ZipFile": base64.b64encode(zipped).decode()},
    }
    return request("POST", FUNCTIONS, json.dumps(body | settings).encode())


def create_request(name: str, runtime: str, code: str) -> bytes:
    zipped = package({"lambda_function.py": (code.encode(), 0o644)})
    return deploy_request(name, runtime, "lambda_function.lambda_handler", zipped)


async def create(connection: Connection, name: str, runtime: str, code: str) -> float:
    """Create a function and ask until it is Active. Seconds from the request to the answer that says so."""
    return await deploy(connection, name, create_request(name, runtime, code))


async def deploy(connection: Connection, name: str, message: bytes) -> float:
    """The same with a request made before."""
    start = time.perf_counter()
    status, body = await connection.call(message)
    if status != 201:
        raise RuntimeError(f"CreateFunction answered {status}: {body.decode(errors='replace')[:300]}")
    ask = request("GET", f"{FUNCTIONS}/{name}/configuration")
    while json.loads(body).get("State") != "Active":
        await asyncio.sleep(0.001)
        status, body = await connection.call(ask)
        if status != 200 or json.loads(body).get("State") == "Failed":
            raise RuntimeError(f"the function did not become Active: {body.decode(errors='replace')[:300]}")
    return time.perf_counter() - start


@dataclass
class Load:
    """What a number of connections saw."""

    latencies: list[float] = field(default_factory=list)  # seconds, one per answer
    failures: int = 0
    seconds: float = 0.0  # from the first request to the last answer

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0.0


async def load(port: int, message: bytes, connections: int, seconds: float) -> Load:
    """Send `message` on each connection, again as soon as the answer is there, for `seconds`."""
    result = Load()
    opened = [await connect(port) for _ in range(connections)]
    start = time.perf_counter()
    end = start + seconds

    async def one(connection: Connection) -> None:
        while (begin := time.perf_counter()) < end:
            status, _body = await connection.call(message)
            if status == 200:
                result.latencies.append(time.perf_counter() - begin)
            else:
                result.failures += 1

    await asyncio.gather(*(one(connection) for connection in opened))
    result.seconds = time.perf_counter() - start
    for connection in opened:
        connection.close()
    return result
