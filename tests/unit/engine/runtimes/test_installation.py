from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lambent.engine.runtimes import FetchError, Installation, installation, registries
from lambent.engine.runtimes.packages import ANY, Component, Package, Registry


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if name.endswith("tool") else 0o600
            archive.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("package/bin/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return buffer.getvalue()


def wheel(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def component(content: bytes, members: dict[str, str], version: str = "1.0", digest: str | None = None) -> Component:
    digest = digest or "sha256:" + hashlib.sha256(content).hexdigest()
    package = Package(Registry.NPM, {ANY: "thing"}, version, {ANY: digest}, members)
    return Component("thing-1", (package,), "a thing")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands in for the clients of registries: what `content` holds is what they bring."""
    state: dict[str, Any] = {"content": b"", "commands": []}

    def run(command: Any, directory: Path) -> None:
        state["commands"].append(list(command))
        (directory / "thing.tgz").write_bytes(state["content"])

    monkeypatch.setattr(registries, "_run", run)
    monkeypatch.setattr(installation, "has_npm", lambda: True)
    return state


def names(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


def test_what_is_kept_of_a_package_lies_in_its_place(tmp_path: Path, registry: dict[str, Any]) -> None:
    files = {
        "package/bin/tool": b"#!",
        "package/lib/a/b.js": b"b",
        "package/README": b"no",
        "package/lib/../../x": b"!",
    }
    registry["content"] = tar(files)
    thing = component(registry["content"], {"package/bin/tool": "bin/tool", "package/lib/": "lib/"})
    place = Installation(tmp_path / "runtimes")
    assert place.install(thing)
    assert registry["commands"][0][:3] == ["npm", "pack", "thing@1.0"]
    assert names(tmp_path / "runtimes") == [".lock", "thing-1/bin/tool", "thing-1/component.json", "thing-1/lib/a/b.js"]
    assert (tmp_path / "runtimes/thing-1/bin/tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "runtimes/thing-1/lib/a/b.js").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "runtimes/thing-1").stat().st_mode & 0o777 == 0o755
    assert not place.install(thing), "it is there already"
    assert len(registry["commands"]) == 1


def test_wheels_are_unpacked_too(tmp_path: Path, registry: dict[str, Any]) -> None:
    registry["content"] = wheel({"jdk/java-runtime/bin/java": b"j", "jdk/__init__.py": b""})
    Installation(tmp_path).install(component(registry["content"], {"jdk/java-runtime/": ""}))
    assert names(tmp_path / "thing-1") == ["bin/java", "component.json"]


@pytest.mark.parametrize("digest", ["sha256:" + "0" * 64, "sha512-AAAA"])
def test_what_is_not_the_pinned_package_is_refused_and_leaves_nothing(
    tmp_path: Path, registry: dict[str, Any], digest: str
) -> None:
    registry["content"] = tar({"package/bin/tool": b"#!"})
    with pytest.raises(FetchError, match=r"thing\.tgz is not what was pinned"):
        Installation(tmp_path).install(component(registry["content"], {"package/": ""}, digest=digest))
    assert names(tmp_path) == [".lock"]
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_newer_version_takes_the_place_of_the_older(tmp_path: Path, registry: dict[str, Any]) -> None:
    place = Installation(tmp_path)
    for version in ("1.0", "1.1"):
        registry["content"] = tar({f"package/{version}": b""})
        thing = component(registry["content"], {"package/": ""}, version)
        assert place.install(thing)
        assert place.installed(thing) == installation.Installed("thing-1", version)
        assert names(tmp_path / "thing-1") == sorted([version, "component.json"])


def test_what_is_removed_is_gone(tmp_path: Path, registry: dict[str, Any]) -> None:
    registry["content"] = tar({"package/a": b""})
    thing = component(registry["content"], {"package/": ""})
    place = Installation(tmp_path)
    assert not place.remove(thing.name)
    place.install(thing)
    assert place.remove(thing.name)
    assert place.installed(thing) is None
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_what_a_killed_installation_left_is_cleared(tmp_path: Path, registry: dict[str, Any]) -> None:
    (tmp_path / ".lambent-abc/thing-1").mkdir(parents=True)
    registry["content"] = tar({"package/a": b""})
    Installation(tmp_path).install(component(registry["content"], {"package/": ""}))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "thing-1"]


def test_the_newer_client_of_node_waits_until_it_is_told_to_start(tmp_path: Path, registry: dict[str, Any]) -> None:
    registry["content"] = tar({"package/index.mjs": b"async function ignition() {}\n\nignition();\n"})
    thing = component(registry["content"], {"package/": ""})
    client = Component("node-client-4", thing.packages, "")
    Installation(tmp_path).install(client)
    text = (tmp_path / "node-client-4/index.mjs").read_text()
    assert text == "async function ignition() {}\n\nexport { ignition };\n"


def test_a_client_that_is_not_here_is_named(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="apt-get install no-such-client"):
        registries._run(["no-such-client", "pack"], tmp_path)


def test_a_client_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="no route to the registry"):
        registries._run(["sh", "-c", "echo no route to the registry >&2; exit 3"], tmp_path)


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path, registry: dict[str, Any]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FetchError, match="cannot use"):
        Installation(tmp_path / "file").install(component(b"", {}))
