"""S3 and a server that is killed; and what large objects cost in memory."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import socket
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from support import Server

MEBI = 1 << 20


def files(data: Path) -> list[Path]:
    return list((data / "objects").glob("??/*"))


def memory(server: Server) -> int:
    """The most bytes that the server has had in memory."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmHWM")


def half_sent(server: Server, target: str, size: int, sent: int) -> socket.socket:
    """A PUT that has begun. Its connection stays open."""
    host, _, port = server.endpoint.removeprefix("http://").rpartition(":")
    connection = socket.create_connection((host, int(port)), 20)
    connection.sendall(f"PUT {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n\r\n".encode())
    for _ in range(sent // MEBI):
        connection.sendall(b"h" * MEBI)
    return connection


@pytest.mark.timeout(180)
def test_a_kill_leaves_what_was_acknowledged_and_nothing_else(tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = Server(data)
    s3 = server.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="overwritten", Body=b"before")
    for number in range(20):
        s3.put_object(Bucket="bucket", Key=f"kept/{number}", Body=b"%d" % number * 1000)
    for number in range(5):
        s3.delete_object(Bucket="bucket", Key=f"kept/{number}")
    begun = s3.create_multipart_upload(Bucket="bucket", Key="upload")
    part = {"Bucket": "bucket", "Key": "upload", "UploadId": begun["UploadId"], "PartNumber": 1}
    etag = s3.upload_part(**part, Body=b"p" * (5 * MEBI))["ETag"]
    sending = [
        half_sent(server, "/bucket/overwritten", 64 * MEBI, 16 * MEBI),
        half_sent(server, "/bucket/new", 64 * MEBI, 16 * MEBI),
        half_sent(server, f"/bucket/upload?partNumber=2&uploadId={begun['UploadId']}", 64 * MEBI, 16 * MEBI),
    ]
    server.kill()
    for connection in sending:
        connection.close()
    server = Server(data)
    try:
        s3 = server.client("s3")
        listed = [one["Key"] for one in s3.list_objects_v2(Bucket="bucket")["Contents"]]
        assert listed == sorted([*(f"kept/{number}" for number in range(5, 20)), "overwritten"])
        assert s3.get_object(Bucket="bucket", Key="overwritten")["Body"].read() == b"before"
        for number in range(5, 20):
            assert s3.get_object(Bucket="bucket", Key=f"kept/{number}")["Body"].read() == b"%d" % number * 1000
        done = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        s3.complete_multipart_upload(Bucket="bucket", Key="upload", UploadId=begun["UploadId"], MultipartUpload=done)
        assert s3.get_object(Bucket="bucket", Key="upload")["ContentLength"] == 5 * MEBI
    finally:
        server.stop()
    assert len(files(data)) == 17  # what the broken requests had left is gone


@pytest.mark.timeout(180)
@pytest.mark.parametrize("what", ["put", "complete", "delete"])
def test_a_kill_at_any_moment(tmp_path: Path, what: str) -> None:
    """The last request, which got no answer, has happened or has not: never half."""
    data = tmp_path / "data"
    server = Server(data)
    s3 = server.client("s3")
    s3.create_bucket(Bucket="bucket")
    acknowledged = 0
    try:
        for number in itertools.count():
            if number == 30:
                half_sent(server, "/bucket/last", 2 * MEBI, MEBI).close()
                server.process.kill()
            request(s3, what, number)
            acknowledged = number + 1
    except (BotoCoreError, ClientError, ConnectionError):
        pass
    server.kill()
    assert acknowledged >= 30
    server = Server(data)
    try:
        s3 = server.client("s3")
        found = {one["Key"]: one for one in s3.list_objects_v2(Bucket="bucket").get("Contents", ())}
        for key in found:
            assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == content(int(key))
        numbers = {int(key) for key in found}
        if what == "delete":
            assert not numbers & set(range(acknowledged))
        else:
            assert numbers >= set(range(acknowledged))
            assert numbers <= set(range(acknowledged + 1))
        parts = sum(
            len(s3.list_parts(Bucket="bucket", Key=one["Key"], UploadId=one["UploadId"]).get("Parts", ()))
            for one in s3.list_multipart_uploads(Bucket="bucket").get("Uploads", ())
        )
    finally:
        server.stop()
    assert len(files(data)) == len(numbers) + parts


def content(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest() * 100


def request(s3: Any, what: str, number: int) -> None:
    named = {"Bucket": "bucket", "Key": str(number)}
    if what == "complete":
        upload = s3.create_multipart_upload(**named)["UploadId"]
        etag = s3.upload_part(**named, UploadId=upload, PartNumber=1, Body=content(number))["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        s3.complete_multipart_upload(**named, UploadId=upload, MultipartUpload=parts)
        return
    s3.put_object(**named, Body=content(number))
    if what == "delete":
        s3.delete_object(**named)


@pytest.mark.timeout(240)
def test_a_large_object_is_never_in_memory(tmp_path: Path) -> None:
    size = 512 * MEBI
    server = Server(tmp_path / "data")
    try:
        s3 = server.client("s3")
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="warm", Body=b"w" * (8 * MEBI))
        s3.get_object(Bucket="bucket", Key="warm")["Body"].read()
        before = memory(server)
        connection = http.client.HTTPConnection(server.endpoint.removeprefix("http://"), timeout=120)
        connection.request("PUT", "/bucket/large", (b"x" * MEBI for _ in range(512)), {"Content-Length": str(size)})
        assert connection.getresponse().read() == b""
        connection.request("GET", "/bucket/large")
        answer, got = connection.getresponse(), 0
        while piece := answer.read(MEBI):
            got += len(piece)
        assert got == size
        grown = memory(server) - before
        print(f"{size >> 20} MiB put and read: the server grew by {grown / MEBI:.1f} MiB")
        assert grown < 64 * MEBI
    finally:
        server.stop()
