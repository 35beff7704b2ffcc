"""Layers of container images: what becomes of each kind of entry, and what hostile ones cannot do."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import stat
import sys
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from lambent.base import decompression
from lambent.base.image_layers import LayerError, apply, unpack


def entry(name, data=b"", kind=tarfile.REGTYPE, **members):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mtime, info.mode = kind, len(data), 1_000_000_000, 0o644
    for key, value in members.items():
        setattr(info, key, value)
    return info, data


def folder(name, mode=0o755):
    return entry(name, kind=tarfile.DIRTYPE, mode=mode)


def symlink(name, target):
    return entry(name, kind=tarfile.SYMTYPE, linkname=target)


def hardlink(name, target):
    return entry(name, kind=tarfile.LNKTYPE, linkname=target)


def archive(*entries):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


GOOD = archive(entry("a", b"x" * 5000))


def wide(data):
    """Compressed so that to read it takes a quarter of a gigabyte."""
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 28})
    return compressor.compress(data) + compressor.flush()


def diff_id(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def laid_out(tmp_path, *entries, size=1 << 20):
    data = archive(*entries)
    (tmp_path / "layer").write_bytes(data)
    apply(tmp_path / "layer", tmp_path / "tree", diff_id(data), size)
    return tmp_path / "tree"


def test_files_directories_and_links(tmp_path):
    tree = laid_out(
        tmp_path,
        folder("bin", 0o750),
        entry("./bin/tool", b"#!", mode=0o4755),
        symlink("bin/alias", "/bin/tool"),
        hardlink("bin/second", "bin/tool"),
        entry("deep/er/file", b"x"),
        entry("fifo", kind=tarfile.FIFOTYPE),
    )
    assert (tree / "bin/tool").read_bytes() == b"#!"
    assert stat.S_IMODE((tree / "bin/tool").stat().st_mode) == 0o755  # no set-id bit
    assert (tree / "bin/tool").stat().st_mtime == 1_000_000_000
    assert (tree / "bin").stat().st_mtime == 1_000_000_000
    assert stat.S_IMODE((tree / "bin").stat().st_mode) == 0o750
    assert os.readlink(tree / "bin/alias") == "/bin/tool"
    assert (tree / "bin/second").stat().st_ino == (tree / "bin/tool").stat().st_ino
    assert (tree / "deep/er/file").read_bytes() == b"x"
    assert stat.S_ISFIFO((tree / "fifo").stat().st_mode)


def test_whiteouts(tmp_path):
    tree = laid_out(tmp_path, folder("etc"), entry("etc/.wh.gone"), folder("var"), entry("var/.wh..wh..opq"))
    gone = os.lstat(tree / "etc/gone")
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    assert os.getxattr(tree / "var", "user.overlay.opaque") == b"y"
    assert os.listdir(tree / "var") == []


def test_devices_are_left_out(tmp_path):
    tree = laid_out(
        tmp_path, entry("dev/sda", kind=tarfile.BLKTYPE), entry("dev/mem", kind=tarfile.CHRTYPE), entry("x")
    )
    assert os.listdir(tree / "dev") == []


def test_a_later_entry_takes_the_place_of_an_earlier_one(tmp_path):
    tree = laid_out(
        tmp_path,
        entry("a", b"file"),
        folder("a"),
        entry("a/b", b"inside"),
        folder("c"),
        entry("c/d", b"gone"),
        entry("c", b"a file now"),
        symlink("e", "x"),
        entry("e", b"no link"),
    )
    assert (tree / "a/b").read_bytes() == b"inside"
    assert (tree / "c").read_bytes() == b"a file now"
    assert not (tree / "e").is_symlink()


def test_links_are_followed_inside_only(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    tree = laid_out(
        tmp_path,
        symlink("lib", "usr/lib"),
        folder("usr/lib"),
        entry("lib/real", b"1"),
        symlink("up", "../../../../.."),
        entry(f"up{outside}/evil", b"2"),
        symlink("abs", str(outside)),
        entry("abs/evil", b"3"),
        hardlink("passwd", "abs/evil"),
    )
    assert (tree / "usr/lib/real").read_bytes() == b"1"
    assert os.listdir(outside) == []
    assert (tree / str(outside).lstrip("/") / "evil").read_bytes() == b"3"


def test_a_bomb_without_files(tmp_path):
    """What follows the end of the archive counts too."""
    data = GOOD + b"\0" * 5000
    (tmp_path / "layer").write_bytes(data)
    with decompression.opened(tmp_path / "layer", len(GOOD)) as plain, pytest.raises(decompression.Damaged):
        while plain.read(1000):
            pass


SMALL = archive(entry("a", b"x"))
SKIPPABLE = b"\x5e\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"note"


@pytest.mark.parametrize(
    "layer",
    [
        zstd.compress(SMALL),
        zstd.compress(SMALL[:700]) + zstd.compress(SMALL[700:]),
        SKIPPABLE + zstd.compress(SMALL) + SKIPPABLE,  # as chunked layers have it
        gzip.compress(SMALL[:700]) + gzip.compress(SMALL[700:]),
        SMALL,
    ],
    ids=["zstd", "zstd frames", "zstd with skippable frames", "gzip members", "plain"],
)
def test_compressions(tmp_path, layer):
    (tmp_path / "layer").write_bytes(layer)
    assert unpack(tmp_path / "layer", tmp_path / "tree", diff_id(SMALL)).entries == 1
    assert (tmp_path / "tree/a").read_bytes() == b"x"


def test_user_attributes_are_kept_but_none_of_the_overlay_s(tmp_path):
    names = {"SCHILY.xattr.user.note": "hi", "SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.security.x": "z"}
    tree = laid_out(tmp_path, entry("a", b"x", pax_headers=names))
    assert os.listxattr(tree / "a") == ["user.note"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (archive(entry("../evil", b"x")), "leads out"),
        (archive(entry("a/../../evil", b"x")), "leads out"),
        (archive(hardlink("a", "../../etc/passwd")), "leads out"),
        (archive(hardlink("a", "missing")), "which is not in the layer"),
        (archive(folder("d"), hardlink("a", "d")), "does not lead to a file"),
        (archive(entry("a", b"x"), entry("a/b", b"y")), "contradicts itself"),
        (archive(symlink("a", "a"), entry("a/b", b"y")), "contradicts itself"),
        (archive(entry("x" * 256)), "too long"),
        (archive(entry(".wh...")), "names nothing"),
        (archive(entry("big", b"x" * 5000), entry("big2", b"x" * 5000)), "more than 9000 bytes"),
        (GOOD[:700], "damaged"),
        (gzip.compress(GOOD)[:60], "damaged"),
        (gzip.compress(GOOD)[:-6] + b"aaaaaa", "damaged"),
        (b"\x28\xb5\x2f\xfd" + b"\0" * 600, "damaged"),
        (zstd.compress(GOOD)[:-6], "damaged"),
        (wide(GOOD), "damaged"),
        (b"nonsense" * 100, "damaged"),
    ],
)
def test_refused(tmp_path, data, message):
    (tmp_path / "layer").write_bytes(data)
    with pytest.raises(LayerError, match=message):
        apply(tmp_path / "layer", tmp_path / "tree", diff_id(data), 9000)
    assert sorted(os.listdir(tmp_path)) == ["layer", "tree"]


def test_the_wrong_content_is_refused_and_told_from_outside(tmp_path):
    (tmp_path / "layer").write_bytes(GOOD)
    with pytest.raises(LayerError, match="has the digest sha256:"):
        unpack(tmp_path / "layer", tmp_path / "tree", "sha256:" + "0" * 64)


def test_a_header_that_is_too_large(tmp_path):
    """A kilobyte that unpacks to two gigabytes of header: the process beside us dies of it, nothing else."""
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 2 << 30
    with gzip.open(tmp_path / "layer", "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        for _piece in range(64):
            file.write(b"\0" * (1 << 20))
    with pytest.raises(LayerError, match=r"too large|damaged"):
        unpack(tmp_path / "layer", tmp_path / "tree", "sha256:" + "0" * 64)


NAMES = st.sampled_from(["a", "b", "a/b", "a/c", "b/a", "../x", "/a", "a/.wh.b", ".wh.a", "a/.wh..wh..opq", "."])
ENTRIES = st.builds(
    lambda name, kind, link: entry(name, b"x" if kind == tarfile.REGTYPE else b"", kind, linkname=link),
    NAMES,
    st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]),
    NAMES | st.just("../../.."),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ENTRIES, max_size=8), st.integers(0, 200), st.binary(max_size=4))
def test_whatever_is_in_it_nothing_outside_changes(tmp_path_factory, entries, place, noise):
    room = tmp_path_factory.mktemp("room")
    (room / "witness").write_text("here")
    data = archive(*entries)
    data = data[:place] + noise + data[place + len(noise) :] if noise else data
    (room / "layer").write_bytes(data)
    with contextlib.suppress(LayerError):
        apply(room / "layer", room / "tree", diff_id(data), 1 << 20)
    assert sorted(os.listdir(room)) == ["layer", "tree", "witness"]
    assert (room / "witness").read_text() == "here"
