"""Unpacking: what comes out, and what must not get in."""

from __future__ import annotations

import io
import os
import stat
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambent.base.archives import Limits, Unpacked, remove_tree, split_name, unpack
from lambent.base.zips import ArchiveEmpty, ArchiveError, ArchiveTooLarge
from zip_attacks import ATTACKS, entry, forge, link, make

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name")

DATE_SECONDS = 1772600768

several = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "tree"


def refuse(data: bytes, target: Path, reason: str | None = None, limits: Limits | None = None) -> ArchiveError:
    """Unpacking must fail with `reason`, leave nothing, and have touched nothing beside."""
    before = sorted(target.parent.iterdir())
    with pytest.raises(ArchiveError, match=reason) as caught:
        unpack(data, target, limits)
    assert sorted(target.parent.iterdir()) == before
    return caught.value


# What comes out


def test_files_directories_links_modes_and_times(target):
    data = make(
        ("function.py", b"print(1)\n"),
        (entry("bin/run", 0o100755), b"#!/bin/sh\n"),
        (entry("data/", 0o040700), b""),
        link("lib/current", "../bin/run"),
    )
    assert unpack(data, target) == Unpacked(files=3, size=19)
    assert (target / "function.py").read_bytes() == b"print(1)\n"
    assert mode_of(target / "function.py") == 0o644
    assert mode_of(target / "bin/run") == 0o755
    assert mode_of(target / "data") == 0o755
    assert mode_of(target / "lib") == 0o755
    assert mode_of(target) == 0o755
    assert os.readlink(target / "lib/current") == "../bin/run"
    assert (target / "function.py").stat().st_mtime == DATE_SECONDS
    assert (target / "data").stat().st_mtime == DATE_SECONDS
    assert (target / "lib").stat().st_mtime == 315532800


@pytest.mark.parametrize(
    ("mode", "file", "directory"),
    [
        (0o000, 0o444, 0o555),
        (0o600, 0o644, 0o755),
        (0o700, 0o744, 0o755),
        (0o777, 0o775, 0o775),
        (0o6755, 0o755, 0o755),
        (0o1777, 0o775, 0o775),
        (0o660, 0o664, 0o775),
    ],
)
def test_modes_are_readable_for_all_and_never_dangerous(target, mode, file, directory):
    unpack(make((entry("f", 0o100000 | mode), b""), (entry("d/", 0o040000 | mode), b"")), target)
    assert (mode_of(target / "f"), mode_of(target / "d")) == (file, directory)


@pytest.mark.parametrize("info", [entry("f", 0), entry("f", 0o100700, system=0), entry("f", 0o100700, system=10)])
def test_archives_that_know_no_modes(target, info):
    unpack(make((info, b"")), target)
    assert mode_of(target / "f") == 0o644


@pytest.mark.parametrize("system", [3, 19])
def test_modes_of_unix_and_macos_count(target, system):
    unpack(make((entry("f", 0o100755, system=system), b"")), target)
    assert mode_of(target / "f") == 0o755


def test_an_exact_time_comes_before_the_rounded_local_one(target):
    stamp = struct.pack("<HHBl", 0x5455, 5, 1, 1_700_000_001)
    unpack(make((entry("f", extra=stamp), b"")), target)
    assert (target / "f").stat().st_mtime == 1_700_000_001


@pytest.mark.parametrize("bits", [0, 13 << 5 | 1, 1 << 5, 2 << 5 | 30])
def test_a_date_that_cannot_be_is_the_epoch_of_zip(target, bits):
    data = bytearray(make(("f", b"")))
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<H", data, at + 14, bits)
    unpack(bytes(data), target)
    assert (target / "f").stat().st_mtime == 315532800


def test_from_a_file(target, tmp_path):
    (tmp_path / "a.zip").write_bytes(make(("f", b"1" * 5000)))
    assert unpack(tmp_path / "a.zip", target) == Unpacked(1, 5000)
    assert (target / "f").read_bytes() == b"1" * 5000


def test_an_empty_file_is_no_archive(target, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(ArchiveError, match="too short"):
        unpack(tmp_path / "a.zip", target)


def test_stored_and_large_members(target):
    content = os.urandom(3_000_001)
    stored = entry("stored")
    stored.compress_type = zipfile.ZIP_STORED
    unpack(make((stored, content), ("zeros", bytes(5_000_000))), target)
    assert (target / "stored").read_bytes() == content
    assert (target / "zeros").read_bytes() == bytes(5_000_000)


def test_an_archive_written_to_a_pipe_has_its_sizes_after_the_data(target):
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data) -> int:
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        for name in ("a", "b/c"):
            with archive.open(entry(name), "w", force_zip64=name == "a") as member:
                member.write(name.encode() * 1000)
    unpack(pipe.data, target)
    assert (target / "b/c").read_bytes() == b"b/c" * 1000


def test_zip64(target):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open(entry("a"), "w", force_zip64=True) as member:
        member.write(b"a" * 1000)
    unpack(widen(buffer.getvalue()), target)
    assert (target / "a").read_bytes() == b"a" * 1000


def widen(data: bytes, *, count: int | None = None) -> bytes:
    """The same archive with a zip64 end record, whose values the plain one refers to."""
    end = data.rindex(b"PK\x05\x06")
    fields = struct.unpack_from("<4s4H2LH", data, end)
    count = fields[3] if count is None else count
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, fields[5], fields[6])
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    plain = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:end] + record + locator + plain


@pytest.mark.parametrize("count", [0, 2, 2**63])
def test_zip64_lies_are_refused(target, count):
    refuse(widen(make(("a", b"1")), count=count), target)


def test_a_comment_at_the_end_is_part_of_the_archive(target):
    buffer = io.BytesIO(make(("f", b"1")))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"made by a tool"
    unpack(buffer.getvalue(), target)
    assert (target / "f").exists()


def test_names_that_are_utf8_without_saying_so(target):
    data = make(("fxx.txt", b"1")).replace(b"fxx.txt", "f\u00e9.txt".encode())
    unpack(data, target)
    assert os.listdir(target) == ["f\u00e9.txt"]


def test_names_in_the_old_code_page(target):
    unpack(make(("fx.txt", b"1")).replace(b"fx.txt", b"f\x82.txt"), target)
    assert os.listdir(target) == ["f\u00e9.txt"]


def test_dots_and_doubled_slashes_in_names_mean_nothing(target):
    unpack(make((entry("./", 0o040755), b""), ("./a//b/./c", b"1")), target)
    assert (target / "a/b/c").read_bytes() == b"1"


def test_a_directory_may_be_named_twice(target):
    unpack(make((entry("d/", 0o040755), b""), ("d/f", b"1"), (entry("d/", 0o040700), b"")), target)
    assert (target / "d/f").exists()


parts = st.text(
    st.characters(blacklist_characters="/\\\0:", blacklist_categories=["Cs"]), min_size=1, max_size=12
).filter(lambda part: part not in (".", ".."))
trees = st.recursive(
    st.tuples(st.binary(max_size=300), st.sampled_from([0o644, 0o755, 0o600, 0o444])),
    lambda inside: st.dictionaries(parts, inside, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict) and tree)


def flatten(tree: dict, prefix: str = "") -> list[tuple[zipfile.ZipInfo, bytes]]:
    entries = []
    for name, value in tree.items():
        if isinstance(value, dict):
            entries += [(entry(f"{prefix}{name}/", 0o040755), b""), *flatten(value, f"{prefix}{name}/")]
        else:
            entries.append((entry(prefix + name, 0o100000 | value[1]), value[0]))
    return entries


def read_back(path: Path) -> dict:
    return {
        item.name: read_back(item) if item.is_dir() else (item.read_bytes(), mode_of(item)) for item in path.iterdir()
    }


def readable(tree: dict) -> dict:
    return {
        name: readable(value) if isinstance(value, dict) else (value[0], value[1] | 0o444)
        for name, value in tree.items()
    }


@several
@given(tree=trees)
def test_any_tree_comes_out_as_it_went_in(tmp_path_factory, tree):
    target = tmp_path_factory.mktemp("any") / "tree"
    unpack(make(*flatten(tree)), target)
    assert read_back(target) == readable(tree)


# What must not get in


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack(target, name):
    refuse(ATTACKS[name], target, limits=Limits(size=1_000_000))


@pytest.mark.parametrize(
    "name",
    ["../f", "a/../../f", "a/..", "..", "/f", "//f", "C:/f", "c:f", "a\\b", "..\\f", "\\\\host\\f", "f\0.py", ""],
)
def test_names_that_lead_elsewhere(target, name):
    refuse(make((name, b"1")), target, "name")


@pytest.mark.parametrize("name", ["a" * 256, "/".join(["a" * 200] * 12), "/".join("a" * 129)])
def test_names_too_long_or_too_deep(target, name):
    refuse(make((name, b"1")), target, "too long|too deeply")


@several
@given(name=st.text(st.sampled_from("a.b/\\\0:C\u00e9 "), max_size=12))
def test_a_name_that_passes_stays_inside(name):
    try:
        found = split_name(name)
    except ArchiveError:
        return
    assert not {"", ".", ".."} & set(found)
    assert os.path.normpath("/root/" + "/".join(found)).startswith("/root")


@pytest.mark.parametrize(
    "names",
    [
        ("f", "f"),
        ("f", "./f"),
        ("f", "f/g"),
        ("f/g", "f"),
        ("d/", "d"),
        ("d", "d/"),
        ("a/b", "a/b/c/d"),
        ("a//b", "a/b"),
    ],
)
def test_two_things_in_one_place(target, names):
    refuse(make(*((name, b"") for name in names)), target, "twice|not a directory")


@pytest.mark.parametrize(
    "entries",
    [
        [link("l", "/etc/passwd")],
        [link("l", "..")],
        [link("a/l", "../..")],
        [link("a/l", "b/../../../x")],
        [link("l", "")],
        [link("l", "x\0y")],
        [link("l", "x" * 5000)],
        [link("s/d/l", "../.."), link("q", "s/d/l/..")],  # lexically inside, in truth outside
        [link("one", "two"), link("two", "one")],
        [link("me", "me")],
        [link("l", "d"), ("l/f", b"1")],
        [("d/f", b"1"), link("d", "e")],
        [link("l", "d"), link("l", "e")],
    ],
)
def test_symlinks_that_lead_elsewhere(target, entries):
    refuse(make(*entries), target)


def test_symlinks_inside_are_kept(target):
    entries = [
        ("d/e/f", b"1"),
        link("up", "d/e"),
        link("d/e/root", "../.."),
        link("chain", "up/f"),
        link("gone", "d/no"),
    ]
    unpack(make(*entries), target)
    assert (target / "chain").read_bytes() == b"1"
    assert (target / "d/e/root").resolve() == target.resolve()
    assert not (target / "gone").exists()


names = st.sampled_from(["a", "b", "c", "d/e", "d/f", "d/g/h"])
targets = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "g", "..", "."]), min_size=1, max_size=5).map("/".join)


@several
@given(links=st.dictionaries(names, targets, min_size=1))
def test_no_set_of_symlinks_leads_out(tmp_path_factory, links):
    target = (tmp_path_factory.mktemp("links") / "tree").resolve()
    try:
        unpack(make(*(link(name, leads) for name, leads in links.items())), target)
    except ArchiveError:
        return
    for name in links:
        assert (target / name).resolve().is_relative_to(target)


def test_a_maze_of_symlinks_ends(target):
    doubling = [link(f"l{n}", f"l{n + 1}/l{n + 1}") for n in range(60)]
    refuse(make(*doubling, (entry("l60/", 0o040755), b"")), target, "too many")


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_devices_pipes_and_sockets(target, kind):
    refuse(make((entry("dev", kind | 0o666), b"")), target, "neither a file")


def test_a_directory_with_content(target):
    refuse(make(("dx", b"1")).replace(b"dx", b"d/"), target, "has content")


def test_nothing_and_no_archive(target):
    assert isinstance(refuse(make(), target), ArchiveEmpty)
    for data in (b"", b"PK", b"this is not a zip file, though it is long enough", b"PK\x03\x04" + bytes(100)):
        assert not isinstance(refuse(data, target), ArchiveEmpty | ArchiveTooLarge)


def test_limits(target):
    data = make(("a", b"1" * 600), ("b", b"1" * 400))
    assert isinstance(refuse(data, target, "1000 bytes", Limits(size=1000)), ArchiveTooLarge)
    assert isinstance(refuse(data, target, "2 entries", Limits(entries=1)), ArchiveTooLarge)
    deep = make(*((f"{n}/a/b/c/d/e", b"") for n in range(4)))
    assert isinstance(refuse(deep, target, "directories", Limits(entries=10)), ArchiveTooLarge)
    assert unpack(data, target, Limits(size=1001, entries=2)).size == 1000


def test_a_bomb_that_declares_its_size(target):
    assert isinstance(refuse(make(("zeros", bytes(3_000_000))), target, None, Limits(size=2_000_000)), ArchiveTooLarge)


def test_a_bomb_that_lies_about_its_size(target):
    data = make(("zeros", bytes(10_000_000)))
    small = struct.pack("<L", 100)
    refuse(forge(forge(data, 24, small), 22, small, b"PK\x03\x04"), target, "larger than it says")
    refuse(forge(data, 24, small), target, "contradict")


def test_a_member_that_is_smaller_than_it_says(target):
    data, size = make(("f", b"1" * 10)), struct.pack("<L", 11)
    refuse(forge(forge(data, 24, size), 22, size, b"PK\x03\x04"), target, "smaller than it says")


def test_wrong_checksum(target):
    crc = struct.pack("<L", 12345)
    refuse(forge(forge(make(("f", b"1")), 16, crc), 14, crc, b"PK\x03\x04"), target, "checksum")


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_encrypted_members(target, flag):
    data, bits = make(("f", b"1")), struct.pack("<H", flag)
    refuse(forge(data, 8, bits), target, "encrypted")
    refuse(forge(data, 6, bits, b"PK\x03\x04"), target, "encrypted")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression(target, method):
    info = entry("f")
    info.compress_type = method
    refuse(make((info, b"1" * 100)), target, "compressed with method")


def test_bytes_before_after_and_between(target):
    data = make(("f", b"1"))
    refuse(data + b"x", target, "bytes follow its end|bytes are missing")
    refuse(data + data, target)
    refuse(b"x" + data, target)
    refuse(b"#!/bin/sh\n" + data, target)
    end = data.rindex(b"PK\x05\x06")
    refuse(data[:end] + b"x" + data[end:], target)


def test_overlapping_members(target):
    """Two names for one piece of data: the trick behind bombs that stay small."""
    data = make(("aa", b"1" * 100), ("bb", b"1" * 100))
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    doubled = data[: second + 42] + struct.pack("<L", 0) + data[second + 46 :]
    refuse(doubled.replace(b"bb", b"aa"), target, "overlaps|contradict")


def test_names_that_differ_between_header_and_directory(target):
    data = make(("aa", b"1"))
    at = data.index(b"PK\x01\x02") + 46
    refuse(data[:at] + b"bb" + data[at + 2 :], target, "contradict")


def test_parts_of_a_split_archive(target):
    data = make(("f", b"1"))
    for offset in (4, 6):
        refuse(forge(data, offset, b"\1\0", b"PK\x05\x06"), target, "several parts")
    refuse(forge(data, 34, b"\1\0"), target, "several parts")


def test_compressed_data_with_something_behind_it(target):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(b"1" * 50) + packer.flush()
    info = entry("f")
    info.compress_type = zipfile.ZIP_STORED
    data = make((info, packed + b"hidden"))
    sizes = struct.pack("<LLL", zlib.crc32(b"1" * 50), len(packed) + 6, 50)
    for mark, method, at in ((b"PK\x01\x02", 10, 16), (b"PK\x03\x04", 8, 14)):
        data = forge(forge(data, method, b"\x08\0", mark), at, sizes, mark)
    refuse(data, target, "more than its compressed content")


SAMPLE = make(("function.py", b"def handler(event, context):\n    return 1\n" * 3), link("l", "d"), ("d/x", b"1"))


def test_cut_off_anywhere(target):
    for length in range(len(SAMPLE)):
        refuse(SAMPLE[:length], target)


@settings(max_examples=600, deadline=None)
@given(at=st.integers(0, len(SAMPLE) - 1), bit=st.integers(0, 7))
def test_one_flipped_bit_gives_the_same_content_or_a_refusal(tmp_path_factory, at, bit):
    data = bytearray(SAMPLE)
    data[at] ^= 1 << bit
    parent = tmp_path_factory.mktemp("flip")
    try:
        unpack(bytes(data), parent / "tree")
    except ArchiveError:
        assert list(parent.iterdir()) == []
        return
    assert [item.name for item in parent.iterdir()] == ["tree"]
    for name, content in read_by_library(bytes(data)).items():
        path = parent / "tree" / name
        if path.is_file() and not path.is_symlink():
            assert path.read_bytes() == content


def read_by_library(data: bytes) -> dict[str, bytes]:
    """What the standard library reads, if it does: where two readers agree to read, they must read the same."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {info.filename: archive.read(info) for info in archive.infolist()}
    except Exception:
        return {}


@several
@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused(tmp_path_factory, data):
    with pytest.raises(ArchiveError):
        unpack(data, tmp_path_factory.mktemp("bytes") / "tree")


@several
@given(junk=st.binary(min_size=1, max_size=80), at=st.integers(0, len(SAMPLE)))
def test_bytes_put_in_anywhere_crash_nothing(tmp_path_factory, junk, at):
    parent = tmp_path_factory.mktemp("junk")
    try:
        unpack(SAMPLE[:at] + junk + SAMPLE[at:], parent / "tree")
    except ArchiveError:
        assert list(parent.iterdir()) == []


# Removal


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_read_only_directories_can_be_removed_without_being_root():
    home = Path(tempfile.mkdtemp())  # pytest's own directories are closed to other users
    tree = home / "tree"
    unpack(make(("d/e/f", b"1"), (entry("d/e/", 0o040555), b""), (entry("d/", 0o040555), b"")), tree)
    for path in (home, tree, *tree.rglob("*")):
        os.chown(path, 65534, 65534)
    child = os.fork()
    if not child:
        os.setgid(65534)
        os.setuid(65534)
        remove_tree(tree)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert list(home.iterdir()) == []
    home.rmdir()


def test_removing_what_is_not_there(tmp_path):
    remove_tree(tmp_path / "nothing")
