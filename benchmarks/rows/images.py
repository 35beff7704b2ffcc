"""Functions from container images: pushing and pulling, the way to Active, first and later invokes, the disk."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3
import wire
from contenders import ROOT
from stand import CODE, Stand, timed_invoke
from table import put

from rows.snap_start import ask, settled

sys.path.append(str(ROOT / "tests"))
import imagery

CONTENDERS = ("lambent",)
FUNCTIONS = 20
INVOKES = 300
BULK = 460_000_000  # bytes of the layer that makes the image a large one
SETTINGS = {
    "Entrypoint": ["/usr/bin/python", "-m", "awslambdaric"],
    "Cmd": ["lambda_function.lambda_handler"],
    "WorkingDir": "/function",
}


async def measure(stand: Stand) -> None:
    if shutil.which("skopeo") is None:
        print("rows/images.py needs skopeo: left out", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        shared = [imagery.python(), bulk()]
        connection = await stand.connect()
        repository(stand)
        first = image(place / "first", shared, 0)
        stand.figures["image: size as pushed (MB)"] = size(first) / 1e6
        transfer(stand, first, place)
        stand.figures["image: create to Active, nothing known (ms)"] = 1000 * await create(
            stand, connection, "first", 0
        )
        known = []
        for number in range(1, FUNCTIONS):
            push(stand, image(place / f"more-{number}", shared, number), number)
            known.append(await create(stand, connection, f"image-{number}", number))
        put(stand.figures, "image: create to Active, base known", known)
        cold = [await timed_invoke(connection, f"image-{number}") for number in range(1, FUNCTIONS)]
        put(stand.figures, "image: first invoke", cold)
        put(stand.figures, "image: warm", [await timed_invoke(connection, "image-1") for _turn in range(INVOKES)])
        trees = stand.contender.directory / "data/trees"
        stand.figures[f"image: disk of {FUNCTIONS} functions on one base (MB)"] = used(trees) / 1e6


def bulk() -> bytes:
    """A layer of many files, half of them incompressible."""
    source = random.Random(0)
    half = BULK // 2
    contents = {f"data/noise-{number}": source.randbytes(half // 90) for number in range(90)}
    contents |= {f"data/text-{number}": b"lorem ipsum " * (half // 900 // 12) for number in range(900)}
    return imagery.files(contents, 0o644)


def image(place: Path, shared: list[bytes], number: int) -> Path:
    code = f"# {number}\n{CODE}"
    imagery.layout(place, [*shared, imagery.files({"function/lambda_function.py": code})], **SETTINGS)
    return place


def size(layout: Path) -> int:
    return sum(path.stat().st_size for path in (layout / "blobs/sha256").iterdir())


def used(directory: Path) -> int:
    result = subprocess.run(["du", "-s", "--block-size=1", directory], capture_output=True, text=True, check=True)
    return int(result.stdout.split()[0])


def repository(stand: Stand) -> None:
    where = {"endpoint_url": f"http://127.0.0.1:{stand.port}", "region_name": "us-east-1"}
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    boto3.client("ecr", **where, **keys).create_repository(repositoryName="bench")


def transfer(stand: Stand, layout: Path, place: Path) -> None:
    """Push and pull beside a plain copy of the same bytes, synced."""
    megabytes = size(layout) / 1e6
    stand.figures["image: push (MB/s)"] = megabytes / push(stand, layout, 0)
    stand.figures["image: pull (MB/s)"] = megabytes / pull(stand, place / "back")
    begin = time.perf_counter()
    shutil.copytree(layout, place / "copy")
    subprocess.run(["sync", "-f", place / "copy"], check=True)
    stand.figures["image: plain copy, synced (MB/s)"] = megabytes / (time.perf_counter() - begin)


def push(stand: Stand, layout: Path, number: int) -> float:
    target = f"docker://127.0.0.1:{stand.port}/bench:v{number}"
    return skopeo("--dest-tls-verify=false", f"oci:{layout}:latest", target)


def pull(stand: Stand, place: Path) -> float:
    return skopeo("--src-tls-verify=false", f"docker://127.0.0.1:{stand.port}/bench:v0", f"oci:{place}:latest")


def skopeo(*arguments: str) -> float:
    """Seconds of one copy."""
    begin = time.perf_counter()
    environment = os.environ | {"REGISTRY_AUTH_FILE": "/nonexistent"}
    subprocess.run(["skopeo", "--insecure-policy", "copy", "--quiet", *arguments], check=True, env=environment)
    return time.perf_counter() - begin


async def create(stand: Stand, connection: wire.Connection, name: str, number: int) -> float:
    """Seconds from the request to the state Active."""
    body = {
        "FunctionName": name,
        "Role": "arn:aws:iam::000000000000:role/bench",
        "PackageType": "Image",
        "Code": {"ImageUri": f"127.0.0.1:{stand.port}/bench:v{number}"},
        "MemorySize": 256,
    }
    begin = time.perf_counter()
    await ask(connection, "POST", wire.FUNCTIONS, body)
    await settled(connection, name, "State", "Active")
    return time.perf_counter() - begin
