"""Local files as blobs. What all blobs promise is in tests/contract."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import threading

import pytest

from lambent.base import blobs as module
from lambent.base.blobs import BlobDamaged, LocalBlobs


@pytest.fixture
def blobs(tmp_path):
    return LocalBlobs(tmp_path / "blobs")


async def test_only_the_owner_reads_them(tmp_path, blobs):
    digest = await blobs.put(b"x")
    assert stat.S_IMODE((tmp_path / "blobs").stat().st_mode) == 0o700
    assert stat.S_IMODE(blobs.path(digest).stat().st_mode) == 0o600


async def test_file_and_directory_are_synced_before_put_returns(tmp_path, blobs, monkeypatch):
    synced = []
    plain = os.fsync

    def spy(fd):
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        plain(fd)

    monkeypatch.setattr(os, "fsync", spy)
    digest = await blobs.put(b"x")
    assert [name.rpartition("/")[2][:5] for name in synced] == [".new-", "blobs"]
    synced.clear()
    await blobs.put(b"x")
    assert synced == [str(tmp_path / "blobs")]
    assert await blobs.get(digest) == b"x"


async def test_a_failed_put_leaves_nothing(tmp_path, blobs, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        await blobs.put(b"x")
    assert list((tmp_path / "blobs").iterdir()) == []


async def test_leftovers_of_a_crash_go_at_start_and_blobs_stay(tmp_path, blobs):
    digest = await blobs.put(b"x")
    (tmp_path / "blobs" / ".new-0123").write_bytes(b"half")
    again = LocalBlobs(tmp_path / "blobs")
    assert os.listdir(tmp_path / "blobs") == [digest]
    assert await again.get(digest) == b"x"


async def test_damage_is_noticed(blobs):
    digest = await blobs.put(b"x")
    blobs.path(digest).write_bytes(b"y")
    with pytest.raises(BlobDamaged, match=digest):
        await blobs.get(digest)


async def test_foreign_files_are_left_alone(tmp_path, blobs):
    (tmp_path / "blobs" / "README").write_text("mine")
    assert await blobs.collect(set) == []
    assert (tmp_path / "blobs" / "README").exists()


async def test_a_put_during_the_removal_of_the_same_waits_and_stores_it_again(blobs, monkeypatch):
    digest = await blobs.put(b"x")
    removing, go_on = threading.Event(), threading.Event()
    plain = LocalBlobs._remove

    def slow(self, digests):
        removing.set()
        go_on.wait(10)
        plain(self, digests)

    monkeypatch.setattr(LocalBlobs, "_remove", slow)
    collection = asyncio.create_task(blobs.collect(set))
    await asyncio.to_thread(removing.wait, 10)
    put = asyncio.create_task(blobs.put(b"x"))
    other = await blobs.put(b"y")
    assert not put.done()
    go_on.set()
    assert await collection == [digest]
    assert await put == digest
    assert await blobs.get(digest) == b"x"
    assert await blobs.exists(other)


async def test_a_collection_during_a_put_of_the_same_spares_it(blobs, monkeypatch):
    digest = await blobs.put(b"x")
    writing, go_on = threading.Event(), threading.Event()
    plain = module.sync_directory

    def slow(directory):
        writing.set()
        go_on.wait(10)
        plain(directory)

    monkeypatch.setattr(module, "sync_directory", slow)
    put = asyncio.create_task(blobs.put(b"x"))
    await asyncio.to_thread(writing.wait, 10)
    assert await blobs.collect(set) == []
    go_on.set()
    await put
    assert hashlib.sha256(await blobs.get(digest)).hexdigest() == digest
