from __future__ import annotations

import asyncio
import hashlib
import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from lambent.base.archives import ArchiveError, Limits
from lambent.base.trees import Trees


def make_zip(**files: str) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    data = buffer.getvalue()
    return hashlib.sha256(data).hexdigest(), data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "trees"


def open_trees(root: Path, boot_id: str = "this-boot") -> Trees:
    return Trees(root, boot_id=boot_id)


async def test_an_archive_is_unpacked_once(root):
    trees = open_trees(root)
    digest, data = make_zip(a="1")
    assert not trees.exists(digest)
    path = await trees.unpack(digest, data)
    assert path == trees.path(digest)
    assert (path / "a").read_text() == "1"
    inode = path.stat().st_ino
    await trees.unpack(digest, b"not looked at")
    assert path.stat().st_ino == inode


async def test_only_the_owner_enters_and_the_tree_itself_is_for_all(root):
    trees = open_trees(root)
    path = await trees.unpack(*make_zip(a="1"))
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


async def test_from_a_file(root, tmp_path):
    digest, data = make_zip(a="1")
    (tmp_path / "blob").write_bytes(data)
    path = await open_trees(root).unpack(digest, tmp_path / "blob")
    assert (path / "a").read_text() == "1"


async def test_at_the_same_time(root):
    trees = open_trees(root)
    digest, data = make_zip(a="1", b="2")
    paths = await asyncio.gather(*(trees.unpack(digest, data) for _ in range(10)))
    assert set(paths) == {trees.path(digest)}
    assert sorted(os.listdir(root)) == [".boot", digest]


async def test_a_bad_archive_leaves_nothing(root):
    trees = open_trees(root)
    digest, data = make_zip(a="1")
    with pytest.raises(ArchiveError):
        await trees.unpack(digest, data[:-1])
    with pytest.raises(ArchiveError):
        await trees.unpack(digest, data, Limits(size=1))
    assert os.listdir(root) == [".boot"]


@pytest.mark.parametrize("digest", ["", "..", "a" * 63, "A" * 64, "../" + "a" * 61])
async def test_what_is_no_digest_is_a_mistake(root, digest):
    trees = open_trees(root)
    with pytest.raises(ValueError, match="not a digest"):
        trees.path(digest)
    with pytest.raises(ValueError, match="not a digest"):
        await trees.unpack(digest, b"")


async def test_leftovers_of_a_crash_go_at_start_and_trees_stay(root):
    digest, data = make_zip(a="1")
    await open_trees(root).unpack(digest, data)
    (root / ".new-0123" / "deep").mkdir(parents=True)
    (root / ".new-file").write_text("marker half written")
    again = open_trees(root)
    assert sorted(os.listdir(root)) == [".boot", digest]
    assert again.exists(digest)


async def test_a_power_cut_drops_trees_that_may_be_incomplete(root):
    digest, data = make_zip(a="1")
    await open_trees(root).unpack(digest, data)
    (root / digest / "a").write_text("")  # what a file system may leave of a file that was never synced
    trees = open_trees(root, "next-boot")
    assert not trees.exists(digest)
    path = await trees.unpack(digest, data)
    assert (path / "a").read_text() == "1"
    assert open_trees(root, "next-boot").exists(digest)


async def test_an_orderly_end_keeps_trees_over_a_restart_of_the_machine(root):
    digest, data = make_zip(a="1")
    trees = open_trees(root)
    await trees.unpack(digest, data)
    await trees.close()
    assert open_trees(root, "next-boot").exists(digest)
    assert not open_trees(root, "boot-after-a-power-cut").exists(digest)


@pytest.mark.parametrize("marker", [None, "", "this-boot", "a b c", "\x80"])
async def test_without_a_readable_marker_nothing_is_believed(root, marker):
    digest, data = make_zip(a="1")
    await open_trees(root).unpack(digest, data)
    if marker is None:
        (root / ".boot").unlink()
    else:
        (root / ".boot").write_text(marker, encoding="latin-1")
    assert not open_trees(root).exists(digest)


async def test_a_failed_sync_is_not_taken_for_one(root, monkeypatch, caplog):
    digest, data = make_zip(a="1")
    trees = open_trees(root)
    await trees.unpack(digest, data)
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: type("C", (), {"syncfs": staticmethod(lambda fd: -1)}))
    await trees.close()
    assert "could not be synced" in caplog.text
    assert not open_trees(root, "next-boot").exists(digest)


async def test_collect_removes_what_is_not_kept(root):
    trees = open_trees(root)
    kept, gone = make_zip(a="1"), make_zip(b="2")
    for digest, data in (kept, gone):
        await trees.unpack(digest, data)
    assert await trees.collect(lambda: {kept[0]}) == [gone[0]]
    assert sorted(os.listdir(root)) == [".boot", kept[0]]
    assert await trees.collect(set, among=["0" * 64]) == []
    assert await trees.collect(set, among=[kept[0]]) == [kept[0]]


async def test_the_boot_of_this_machine_is_known_without_being_told(root):
    digest, data = make_zip(a="1")
    await Trees(root).unpack(digest, data)
    assert Trees(root).exists(digest)
