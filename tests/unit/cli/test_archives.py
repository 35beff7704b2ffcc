"""Images in files: layouts, tars of layouts, docker archives, and what is none of them."""

import gzip
import hashlib
import io
import json
import tarfile

import pytest

import imagery
from lambent.cli.archives import NoImage, opened


def tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def read(path):
    with opened(path) as (files, source):
        contents = {}
        for blob in source.blobs:
            with files.open(blob.file) as file:
                contents[blob.digest] = file.read()
            assert len(contents[blob.digest]) == blob.size
    assert all(digest == f"sha256:{hashlib.sha256(data).hexdigest()}" for digest, data in contents.items())
    return source, contents


def test_a_layout(tmp_path):
    digest = imagery.layout(tmp_path / "image", [b"one", b"two"])
    source, contents = read(tmp_path / "image")
    (manifest,) = source.manifests
    assert f"sha256:{hashlib.sha256(manifest[1]).hexdigest()}" == digest
    assert len(contents) == 3


def test_a_layout_in_a_tar(tmp_path):
    imagery.layout(tmp_path / "image", [b"one"])
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        archive.add(tmp_path / "image", arcname=".")
    assert read(tmp_path / "image.tar") == read(tmp_path / "image")


def test_an_index_comes_after_its_children(tmp_path):
    imagery.layout(tmp_path / "image", [b"one"])
    index = json.loads((tmp_path / "image/index.json").read_text())
    nested = json.dumps({"schemaVersion": 2, "manifests": index["manifests"]}).encode()
    digest = hashlib.sha256(nested).hexdigest()
    (tmp_path / "image/blobs/sha256" / digest).write_bytes(nested)
    media_type = "application/vnd.oci.image.index.v1+json"
    outer = {"manifests": [{"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(nested)}]}
    (tmp_path / "image/index.json").write_text(json.dumps(outer))
    source, _contents = read(tmp_path / "image")
    assert [kind for kind, _content in source.manifests] == [imagery.MANIFEST, media_type]


def test_a_docker_archive(tmp_path):
    listed = [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["a/layer.tar", "b/layer.tar"]}]
    members = {"manifest.json": json.dumps(listed).encode(), "c.json": b"{}", "a/layer.tar": b"plain"}
    path = tar(tmp_path / "saved.tar", members | {"b/layer.tar": gzip.compress(b"packed")})
    source, contents = read(path)
    body = json.loads(source.manifests[0][1])
    assert [layer["mediaType"].rpartition(".")[2] for layer in body["layers"]] == ["tar", "tar+gzip"]
    assert contents[body["config"]["digest"]] == b"{}"
    assert contents[body["layers"][0]["digest"]] == b"plain"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "manifest.json is not in the archive"),
        ({"manifest.json": b"[]"}, "holds 0 images"),
        ({"index.json": b'{"manifests": []}'}, "holds 0 images"),
        ({"manifest.json": b'[{"Config": "none", "Layers": []}]'}, "none is not in the archive"),
    ],
)
def test_archives_without_an_image(tmp_path, members, message):
    with pytest.raises(NoImage, match=message), opened(tar(tmp_path / "x.tar", members)):
        pass


def test_no_archive_at_all(tmp_path):
    (tmp_path / "text").write_text("nonsense")
    for path in (tmp_path / "text", tmp_path / "missing"):
        with pytest.raises(NoImage, match=str(path)), opened(path):
            pass
