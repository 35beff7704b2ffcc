from __future__ import annotations

import urllib.parse

import pytest

from lambent.control.links import CodeLinks
from lambent.testing import FakeClock, MemoryBlobs

ENDPOINT = "http://lambent:4566"


class Links:
    def __init__(self, key: bytes = b"key") -> None:
        self.clock = FakeClock()
        self.blobs = MemoryBlobs()
        self.links = CodeLinks(self.blobs, self.clock, key)

    async def fetch(self, url: str, **changes: str | None):
        parts = urllib.parse.urlsplit(url)
        query = dict(urllib.parse.parse_qsl(parts.query)) | changes
        text = urllib.parse.urlencode({name: value for name, value in query.items() if value is not None})
        return await self.links.download(parts.path, text)


@pytest.fixture
async def it():
    return Links()


async def test_a_link_gives_the_zip_for_ten_minutes(it):
    url = it.links.url(ENDPOINT, await it.blobs.put(b"zip"))
    assert url.startswith(f"{ENDPOINT}/_lambent/code/")
    assert "X-Amz-Expires=600" in url
    for later in (0, 300, 299):
        it.clock.advance(later)
        response = await it.fetch(url)
        assert (response.status, response.body) == (200, b"zip")
        assert response.headers == (("Content-Type", "application/zip"),)
    it.clock.advance(2)
    response = await it.fetch(url)
    assert response.status == 403
    assert b"Request has expired" in response.body


@pytest.mark.parametrize(
    "changes",
    [
        {"X-Amz-Signature": "0" * 64},
        {"X-Amz-Signature": None},
        {"X-Amz-Signature": "\u00e9"},
        {"X-Amz-Expires": "604800"},
        {"X-Amz-Expires": None},
        {"X-Amz-Date": "20991231T000000Z"},
        {"X-Amz-Date": "yesterday"},
    ],
)
async def test_a_link_cannot_be_changed(it, changes):
    url = it.links.url(ENDPOINT, await it.blobs.put(b"zip"))
    response = await it.fetch(url, **changes)
    assert response.status == 403
    assert b"SignatureDoesNotMatch" in response.body


async def test_a_link_is_for_one_blob_and_one_key(it):
    first, second = [await it.blobs.put(data) for data in (b"first", b"second")]
    url = it.links.url(ENDPOINT, first)
    assert (await it.fetch(url.replace(first, second))).status == 403
    foreign = CodeLinks(it.blobs, it.clock, b"other").url(ENDPOINT, first)
    assert (await it.fetch(foreign)).status == 403


@pytest.mark.parametrize("path", ["/_lambent/code/", "/_lambent/code/../../etc/passwd", "/", ""])
async def test_other_paths_are_refused(it, path):
    url = urllib.parse.urlsplit(it.links.url(ENDPOINT, await it.blobs.put(b"zip")))
    assert (await it.links.download(path, url.query)).status == 403
    assert (await it.links.download(path, "")).status == 403


async def test_code_that_is_gone_is_not_found(it):
    url = it.links.url(ENDPOINT, "0" * 64)
    assert (await it.fetch(url)).status == 404
