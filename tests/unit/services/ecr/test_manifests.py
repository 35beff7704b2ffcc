"""What is read as a manifest, and what is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.services.ecr import manifests
from lambent.services.ecr.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    InvalidManifest,
    Manifest,
    read,
)

from .lab import CONFIG_TYPE, descriptor, digest_of, index, manifest


def test_an_image():
    text = manifest(b"{}", (b"one", b"three"))
    found = read(text.encode())
    assert (found.digest, found.text, found.media_type) == (digest_of(text.encode()), text, OCI_MANIFEST)
    assert [blob.digest for blob in found.blobs] == [digest_of(part) for part in (b"{}", b"one", b"three")]
    assert (found.size, found.artifact_type, found.subject) == (2 + 3 + 5, CONFIG_TYPE, None)


def test_an_index():
    found = read(index(manifest(), manifest(layers=())).encode())
    assert (found.media_type, len(found.children), found.blobs) == (OCI_INDEX, 2, ())


def test_docker_s_types():
    text = manifest(mediaType=DOCKER_MANIFEST)
    assert read(text.encode(), DOCKER_MANIFEST).media_type == DOCKER_MANIFEST
    assert read(index(mediaType=DOCKER_LIST).encode()).media_type == DOCKER_LIST


def test_without_a_media_type_the_content_type_tells_else_the_shape():
    body = json.loads(manifest())
    del body["mediaType"]
    assert read(json.dumps(body).encode(), f"{DOCKER_MANIFEST}; charset=utf-8").media_type == DOCKER_MANIFEST
    assert read(json.dumps(body).encode(), "application/octet-stream").media_type == OCI_MANIFEST
    assert read(json.dumps({"schemaVersion": 2, "manifests": []}).encode()).media_type == OCI_INDEX


def test_another_algorithm():
    found = read(manifest().encode(), None, "sha512")
    assert found.digest.startswith("sha512:")
    assert len(found.digest) == 7 + 128


def test_an_artifact_with_a_subject():
    subject = descriptor(b"subject", OCI_MANIFEST)
    found = read(manifest(artifactType="text/sbom", subject=subject, annotations={"a": "b"}).encode())
    assert (found.artifact_type, found.subject.digest, found.annotations) == (
        "text/sbom",
        subject["digest"],
        {"a": "b"},
    )


def test_a_layer_that_lies_elsewhere():
    foreign = descriptor(b"x", "application/vnd.oci.image.layer.nondistributable.v1.tar") | {"urls": ["https://x/y"]}
    found = read(manifest(layers=()).replace('"layers": []', f'"layers": [{json.dumps(foreign)}]').encode())
    assert found.blobs[1].elsewhere


@pytest.mark.parametrize(
    ("content", "declared", "message"),
    [
        (b"", None, "not JSON"),
        (b"\xff\xfe", None, "not JSON"),
        (b"[]", None, "schemaVersion"),
        (b'{"schemaVersion": 1}', None, "schemaVersion"),
        (b'{"schemaVersion": 2}', None, "no config"),
        (manifest(config=b"{}", layers=()).replace("layers", "lairs").encode(), None, "no list of layers"),
        (manifest().replace("sha256:", "sha256:zz").encode(), None, "lacks its mediaType or its digest"),
        (manifest().replace('"size": 2', '"size": -2').encode(), None, "lacks its size"),
        (manifest().replace('"size": 2', '"size": true').encode(), None, "lacks its size"),
        (manifest().encode(), OCI_INDEX, "was sent as"),
        (manifest(mediaType="text/plain").encode(), None, "not supported"),
        (manifest(annotations={"a": 1}).encode(), None, "annotations"),
        (manifest(subject=1).encode(), None, "no subject"),
        (b" " * (manifests.LIMIT + 1), None, "bytes at most"),
    ],
)
def test_refused(content, declared, message):
    with pytest.raises(InvalidManifest, match=message):
        read(content, declared)


MEMBERS = ["schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "size", "subject", "annotations"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from([OCI_MANIFEST, digest_of(b"")]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(MEMBERS),
            inner,
            max_size=6,
        )
    ),
    max_leaves=15,
)


@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()), st.none() | st.text(max_size=8))
def test_anything_is_read_or_refused(content, declared):
    try:
        assert isinstance(read(content, declared), Manifest)
    except InvalidManifest as problem:
        assert str(problem)
