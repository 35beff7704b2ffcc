"""S3: large objects and small ones, beside a plain copy of a file and a file that is written and synced."""

from __future__ import annotations

import http.client
import os
import tempfile
import time
from pathlib import Path

from stand import Stand
from table import put

CONTENDERS = ("lambent", "moto")
LARGE = 256 << 20  # bytes
SMALL = 4096
OBJECTS = 500
PIECE = 1 << 20
_AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=" + "0" * 64
)


async def measure(stand: Stand) -> None:
    figures = stand.figures
    client = Client(stand.port)
    client.ask("PUT", "/bench-objects")
    if stand.contender.name == "lambent":
        floors(stand)
    piece = os.urandom(PIECE)
    begin = time.perf_counter()
    client.ask("PUT", "/bench-objects/large", (piece for _ in range(LARGE // PIECE)), LARGE)
    figures["S3: put of 256 MiB (MB/s)"] = LARGE / 1e6 / (time.perf_counter() - begin)
    begin = time.perf_counter()
    client.ask("GET", "/bench-objects/large")
    figures["S3: get of 256 MiB (MB/s)"] = LARGE / 1e6 / (time.perf_counter() - begin)
    body = piece[:SMALL]
    put(figures, "S3: put of 4 KiB", [client.ask("PUT", f"/bench-objects/s/{n}", body) for n in range(OBJECTS)])
    put(figures, "S3: get of 4 KiB", [client.ask("GET", f"/bench-objects/s/{n}") for n in range(OBJECTS)])
    page = "/bench-objects?list-type=2&max-keys=100"
    put(figures, f"S3: page of 100 keys among {OBJECTS}", [client.ask("GET", page) for _ in range(50)])
    if stand.contender.name == "lambent" and stand.options.listed > OBJECTS:
        for number in range(stand.options.listed):
            client.ask("PUT", f"/bench-objects/long/{number:06}", b"")
        middle = f"{page}&prefix=long/&start-after=long/{stand.options.listed // 2:06}"
        name = f"S3: page of 100 keys among {stand.options.listed:,}"
        put(figures, name, [client.ask("GET", middle) for _ in range(50)])


def floors(stand: Stand) -> None:
    with tempfile.TemporaryDirectory(dir=stand.contender.directory) as directory:
        source, target = Path(directory, "source"), Path(directory, "target")
        source.write_bytes(os.urandom(LARGE))
        begin = time.perf_counter()
        with open(source, "rb") as reading, open(target, "wb") as writing:
            while piece := reading.read(PIECE):
                writing.write(piece)
            os.fsync(writing.fileno())
        stand.figures["floor: copy of a file of 256 MiB, synced (MB/s)"] = LARGE / 1e6 / (time.perf_counter() - begin)
        taken = []
        for number in range(OBJECTS):
            begin = time.perf_counter()
            with open(Path(directory, str(number)), "wb") as file:
                file.write(b"x" * SMALL)
                file.flush()
                os.fsync(file.fileno())
            taken.append(time.perf_counter() - begin)
        put(stand.figures, "floor: file of 4 KiB, synced", taken)


class Client:
    """One connection, kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def ask(self, method: str, target: str, body: object = None, length: int | None = None) -> float:
        """Seconds until the answer was read; RuntimeError for any but a success."""
        headers = {"Authorization": _AUTHORIZATION}
        if length is not None:
            headers["Content-Length"] = str(length)
        begin = time.perf_counter()
        self._connection.request(method, target, body, headers)  # type: ignore[arg-type]
        answer = self._connection.getresponse()
        while answer.read(PIECE):
            pass
        if answer.status != 200:
            raise RuntimeError(f"{method} {target} answered {answer.status}")
        return time.perf_counter() - begin
