from __future__ import annotations

import asyncio
import hashlib
import os

from lambent.control.orphans import Orphans

from .lab import Lab, key_of, make_zip

OLD, NEW = make_zip("old"), make_zip("new")


def digest(archive: bytes) -> str:
    return hashlib.sha256(archive).hexdigest()


def stored(lab: Lab) -> tuple[set[str], set[str]]:
    blobs, trees = os.listdir(lab.root / "blobs"), os.listdir(lab.root / "trees")
    return set(blobs), set(trees) - {".boot"}


async def update(lab: Lab, name: str = "f") -> None:
    await lab.call("UpdateFunctionCode", FunctionName=name, ZipFile=NEW)
    await lab.ready(name)
    await lab.orphans.stop()


async def test_old_code_goes_when_the_update_is_served(lab):
    await lab.create("f", Code={"ZipFile": OLD})
    await lab.ready("f")
    await lab.call("UpdateFunctionCode", FunctionName="f", ZipFile=NEW)
    await lab.orphans.stop()
    assert stored(lab)[0] == {digest(OLD), digest(NEW)}
    await lab.ready("f")
    await lab.orphans.stop()
    assert stored(lab) == ({digest(NEW)}, {digest(NEW)})


async def test_code_that_another_function_has_stays(lab):
    for name in ("f", "g"):
        await lab.create(name, Code={"ZipFile": OLD})
        await lab.ready(name)
    await update(lab)
    assert stored(lab)[0] == {digest(OLD), digest(NEW)}


async def test_code_that_environments_run_stays_until_they_end(lab):
    await lab.create("f", Code={"ZipFile": OLD})
    await lab.ready("f")
    lab.running = {digest(OLD)}
    await update(lab)
    assert stored(lab)[1] == {digest(OLD), digest(NEW)}
    lab.orphans.look_again()
    await lab.orphans.stop()
    assert stored(lab)[1] == {digest(OLD), digest(NEW)}
    lab.running = set()
    lab.orphans.look_again()
    await lab.orphans.stop()
    assert stored(lab) == ({digest(NEW)}, {digest(NEW)})


async def test_without_word_of_environments_trees_stay_until_the_next_start(lab):
    careful = Orphans((lab.store, lab.layer_versions), lab.blobs, lab.trees)
    await lab.create("f", Code={"ZipFile": OLD})
    await lab.ready("f")
    lab.running = {digest(OLD)}
    await update(lab)
    await careful.stop()
    assert stored(lab)[1] == {digest(OLD), digest(NEW)}
    await careful.start()
    assert stored(lab)[1] == {digest(NEW)}


async def test_what_is_pinned_stays_and_is_looked_at_afterwards(lab):
    name = await lab.blobs.put(OLD)
    with lab.orphans.pin(name), lab.orphans.pin(name):
        lab.orphans.suspect(name)
        await lab.orphans.stop()
        assert await lab.blobs.exists(name)
    await lab.orphans.stop()
    assert not await lab.blobs.exists(name)


async def test_a_start_removes_what_no_row_refers_to_and_keeps_the_rest(lab):
    await lab.create("f", Code={"ZipFile": OLD})
    await lab.blobs.put(NEW)
    await lab.trees.unpack(digest(NEW), NEW)
    await lab.orphans.start()
    assert stored(lab) == ({digest(OLD)}, {digest(OLD)})


async def test_a_start_unpacks_again_what_a_power_cut_took(tmp_path):
    lab = await Lab.open(tmp_path)
    await lab.create("f", Code={"ZipFile": OLD})
    await lab.ready("f")
    await lab.close()
    (tmp_path / "trees" / ".boot").write_text("another-boot open\n")
    again = await Lab.open(tmp_path)
    assert not again.trees.exists(digest(OLD))
    await again.orphans.start()
    assert (again.trees.path(digest(OLD)) / "handler.py").read_text() == "old"
    await again.close()


async def test_a_start_goes_on_without_code_that_is_lost(lab, caplog):
    for name, archive in (("f", OLD), ("g", NEW)):
        await lab.create(name, Code={"ZipFile": archive})
    await lab.trees.collect(set)
    lab.blobs.path(digest(OLD)).unlink()
    await lab.orphans.start()
    assert digest(OLD) in caplog.text
    assert stored(lab) == ({digest(NEW)}, {digest(NEW)})


async def test_a_removal_that_fails_is_tried_again(lab, monkeypatch, caplog):
    await lab.create("f", Code={"ZipFile": OLD})
    await lab.ready("f")
    with monkeypatch.context() as patch:

        async def broken(keep, among=None):
            raise OSError(5, "Input/output error")

        patch.setattr(lab.blobs, "collect", broken)
        await lab.call("DeleteFunction", FunctionName="f")
        await lab.orphans.stop()
    assert "could not be removed" in caplog.text
    lab.orphans.look_again()
    await lab.orphans.stop()
    assert stored(lab) == (set(), set())


async def test_creations_and_deletions_of_the_same_code_never_lose_it(lab):
    lab.gate.set()
    archives = [make_zip(str(n)) for n in range(3)]

    async def live(n: int) -> None:
        for turn in range(15):
            archive = archives[(n + turn) % 3]
            await lab.create(f"f{n}", Code={"ZipFile": archive})
            await lab.store.settled(key_of(f"f{n}"), 10)
            assert await lab.blobs.get(digest(archive)) == archive
            assert (lab.trees.path(digest(archive)) / "handler.py").exists()
            await lab.call("DeleteFunction", FunctionName=f"f{n}")

    await asyncio.gather(*(live(n) for n in range(6)))
    await lab.orphans.stop()
    await lab.orphans.start()  # what a race has left until then
    assert stored(lab) == (set(), set())


async def test_code_that_is_let_go_while_a_removal_decides_is_looked_at_again(lab, monkeypatch):
    """An environment ends just after it has kept its code: nobody would look any more."""
    await lab.create("f", Code={"ZipFile": OLD})
    await lab.ready("f")
    lab.running = {digest(OLD)}
    collect = lab.trees.collect

    async def slow(*arguments):
        gone = await collect(*arguments)
        lab.running = set()
        lab.orphans.look_again()
        return gone

    monkeypatch.setattr(lab.trees, "collect", slow)
    await update(lab)
    assert stored(lab) == ({digest(NEW)}, {digest(NEW)})


async def test_at_the_start_others_unpack_what_no_package_has(lab, caplog):
    await lab.create("f", Code={"ZipFile": OLD})
    await lab.ready("f")
    lab.trees._remove([digest(OLD)])
    await lab.orphans.start({digest(OLD)})
    assert stored(lab)[1] == set()
    await lab.orphans.start()
    assert stored(lab)[1] == {digest(OLD)}
    assert not caplog.records
