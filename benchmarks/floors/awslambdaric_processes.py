"""AWS's own Python runtime client, unchanged, in plain processes behind a Runtime API with nothing around it.

The least that serves the Runtime API: requests are told apart by their first bytes, nothing is checked, reported or
isolated. What a warm invoke costs beyond this is Lambent's.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import uuid
from collections import deque
from pathlib import Path

import uvloop

PROCESSES = 8
CODE = "def lambda_handler(event, context):\n    return {'greeting': 'Hello, ' + event['name'] + '!'}\n"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:warm"


_parked: deque[Connection] = deque()  # runtimes that asked for the next event
_waiting: deque[tuple[Connection, bytes]] = deque()  # clients and their events
_running: dict[bytes, Connection] = {}  # request id → client


class Connection(asyncio.Protocol):
    """A client or a runtime: which of them, its requests tell."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (head := self.data.find(b"\r\n\r\n") + 4) >= 4:
            lowered = self.data[:head].lower()
            at = lowered.find(b"content-length:")
            total = head + (int(lowered[at + 15 : lowered.find(b"\r", at)]) if at >= 0 else 0)
            if len(self.data) < total:
                return
            line, body = self.data[: self.data.find(b"\r")], self.data[head:total]
            self.data = self.data[total:]
            self.request(line, body)

    def request(self, line: bytes, body: bytes) -> None:
        if line.startswith(b"GET /2018-06-01/runtime/invocation/next"):
            _parked.append(self)
        elif line.startswith(b"POST /2018-06-01/runtime/invocation/"):
            client = _running.pop(line.split(b"/")[4])
            client.answer(b"200 OK", body)
            self.answer(b"202 Accepted", b'{"status":"OK"}\n')
        else:
            _waiting.append((self, body))
        while _parked and _waiting:
            client, event = _waiting.popleft()
            runtime = _parked.popleft()
            request_id = str(uuid.uuid4()).encode()
            _running[request_id] = client
            headers = (
                b"Lambda-Runtime-Aws-Request-Id: %s\r\nLambda-Runtime-Deadline-Ms: 9999999999999\r\n"
                b"Lambda-Runtime-Invoked-Function-Arn: %s\r\n" % (request_id, ARN.encode())
            )
            runtime.answer(b"200 OK", event, headers)

    def answer(self, status: bytes, body: bytes, headers: bytes = b"") -> None:
        head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
        self.transport.write(head % (status, headers, len(body)) + body)


def start(port: int, directory: str) -> list[subprocess.Popen[bytes]]:
    Path(directory, "lambda_function.py").write_text(CODE)
    environment = {
        **os.environ,
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
        "LAMBDA_TASK_ROOT": directory,
        "AWS_LAMBDA_FUNCTION_NAME": "warm",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    }
    command = [sys.executable, "-m", "awslambdaric", "lambda_function.lambda_handler"]
    return [
        subprocess.Popen(command, env=environment, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(PROCESSES)
    ]


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=128)
    with tempfile.TemporaryDirectory() as directory:
        processes = start(port, directory)
        stopped = asyncio.Event()
        loop.add_signal_handler(15, stopped.set)
        await stopped.wait()
        for process in processes:
            process.kill()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
