"""What every `Blobs` promises."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from lambent.base.blobs import BlobMissing, Blobs, LocalBlobs
from lambent.testing import MemoryBlobs

DATA = b"some bytes"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["local", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return LocalBlobs(tmp_path / "blobs") if request.param == "local" else MemoryBlobs()


async def read(blobs: Blobs, digest: str) -> bytes:
    return b"".join([piece async for piece in blobs.stream(digest)])


@pytest.mark.parametrize("data", [b"", DATA, os.urandom(1_000_003)], ids=["empty", "small", "large"])
async def test_what_was_put_comes_back(blobs, data):
    digest = await blobs.put(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert await blobs.put(data) == digest
    assert await blobs.exists(digest)
    assert await blobs.get(digest) == data
    assert await read(blobs, digest) == data


@pytest.mark.parametrize("digest", [DIGEST, "", "..", "../lock", DIGEST.upper(), DIGEST + "0"])
async def test_what_is_not_there_is_missing(blobs, digest):
    assert not await blobs.exists(digest)
    with pytest.raises(BlobMissing):
        await blobs.get(digest)
    with pytest.raises(BlobMissing):
        await read(blobs, digest)


async def test_collect_removes_what_is_not_kept(blobs):
    kept, gone = [await blobs.put(name) for name in (b"kept", b"gone")]
    assert await blobs.collect(lambda: {kept}) == [gone]
    assert await blobs.exists(kept)
    assert not await blobs.exists(gone)
    assert await blobs.collect(lambda: {kept}) == []


async def test_collect_may_be_limited_to_some(blobs):
    first, second = [await blobs.put(name) for name in (b"first", b"second")]
    assert await blobs.collect(set, among=[first, DIGEST]) == [first]
    assert await blobs.exists(second)
    assert await blobs.collect(set, among=[]) == []


async def test_a_stream_under_way_outlives_its_blob(blobs):
    data = os.urandom(1 << 20)
    digest = await blobs.put(data)
    stream = blobs.stream(digest)
    start = await anext(stream)
    await blobs.collect(set)
    assert start + b"".join([piece async for piece in stream]) == data


async def test_puts_at_the_same_time_store_one_blob(blobs):
    assert set(await asyncio.gather(*(blobs.put(DATA) for _ in range(20)))) == {DIGEST}
    assert await blobs.get(DIGEST) == DATA


async def test_a_put_beside_a_collection_is_there_when_it_returns(blobs):
    """As long as whoever puts also makes `keep` hold it."""
    held: set[str] = set()

    async def put(n: int) -> None:
        data = str(n % 4).encode()
        digest = hashlib.sha256(data).hexdigest()
        held.add(digest)
        await blobs.put(data)
        assert await blobs.get(digest) == data
        await asyncio.sleep(0)
        assert await blobs.exists(digest)
        held.discard(digest)

    for _ in range(30):
        await asyncio.gather(
            blobs.collect(lambda: set(held)),
            *(put(n) for n in range(4)),
            blobs.collect(lambda: set(held)),
        )
