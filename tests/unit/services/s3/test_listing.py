"""Lists of keys, against what they must be by their definition."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unit.services.s3.lab import S3Lab

KEYS = ("a", "a/", "a/b", "a/b/c", "a/c", "b", "b//x", "c/d", "c/d/e", "é/1", "é/2", "z")


def expected(keys: list[str], prefix: str, delimiter: str, after: str) -> list[tuple[str, str]]:
    """("key", …) and ("prefix", …) in order: the definition, written down."""
    found: list[tuple[str, str]] = []
    for key in sorted(keys, key=str.encode):
        if not key.startswith(prefix):
            continue
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        item = ("key", key) if at < 0 else ("prefix", key[: at + len(delimiter)])
        if item[1].encode() > after.encode() and item not in found:
            found.append(item)
    return found


async def pages(s3: S3Lab, most: int, **members: Any) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    more: dict[str, Any] = {}
    while True:
        page = await s3.call("ListObjectsV2", Bucket="bucket", MaxKeys=most, **members, **more)
        items = [("key", one["Key"]) for one in page.get("Contents", ())]
        items += [("prefix", one["Prefix"]) for one in page.get("CommonPrefixes", ())]
        assert page["KeyCount"] == len(items) <= most
        found += sorted(items, key=lambda item: item[1].encode())
        if not page["IsTruncated"]:
            return found
        more = {"ContinuationToken": page["NextContinuationToken"]}


@pytest.mark.parametrize("most", [1, 2, 1000])
@pytest.mark.parametrize("prefix", ["", "a", "a/", "b", "é", "nothing"])
@pytest.mark.parametrize("delimiter", ["", "/", "b", "//"])
async def test_pages(s3: S3Lab, prefix: str, delimiter: str, most: int) -> None:
    await s3.bucket()
    for key in KEYS:
        await s3.put(key)
    members = {"Prefix": prefix, "Delimiter": delimiter}
    assert await pages(s3, most, **members) == expected(list(KEYS), prefix, delimiter, "")


PIECES = st.text(alphabet="ab/é\U0001f600\uffff", min_size=1, max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keys=st.sets(PIECES, max_size=12),
    prefix=st.text(alphabet="ab/", max_size=2),
    delimiter=st.sampled_from(["", "/", "a", "b/"]),
    after=st.text(alphabet="ab/é", max_size=3),
    most=st.integers(1, 4),
)
def test_pages_of_any_keys(
    tmp_path_factory: pytest.TempPathFactory,
    keys: set[str],
    prefix: str,
    delimiter: str,
    after: str,
    most: int,
) -> None:
    asyncio.run(_compare(tmp_path_factory.mktemp("s3"), keys, prefix, delimiter, after, most))


async def _compare(root: Path, keys: set[str], prefix: str, delimiter: str, after: str, most: int) -> None:
    s3 = S3Lab(root)
    await s3.start()
    try:
        await s3.bucket()
        for key in keys:
            await s3.put(key)
        found = await pages(s3, most, Prefix=prefix, Delimiter=delimiter, StartAfter=after)
        assert found == expected(list(keys), prefix, delimiter, after)
    finally:
        await s3.stop()


async def test_the_older_list(s3: S3Lab) -> None:
    await s3.bucket()
    for key in KEYS:
        await s3.put(key)
    page = await s3.call("ListObjects", Bucket="bucket", Delimiter="/", MaxKeys=2)
    assert (page["IsTruncated"], page["NextMarker"]) == (True, "a/")
    rest = await s3.call("ListObjects", Bucket="bucket", Delimiter="/", Marker="a/")
    assert [one["Prefix"] for one in rest["CommonPrefixes"]] == ["b/", "c/", "é/"]
    assert "NextMarker" not in await s3.call("ListObjects", Bucket="bucket", MaxKeys=1)


async def test_keys_are_encoded_when_asked(s3: S3Lab) -> None:
    await s3.bucket()
    await s3.put("a b/+\x01é")
    page = await s3.call("ListObjectsV2", Bucket="bucket", EncodingType="url")
    assert [one["Key"] for one in page["Contents"]] == ["a+b/%2B%01%C3%A9"]


@pytest.mark.parametrize("members", [{"MaxKeys": -1}, {"ContinuationToken": "nonsense"}, {"EncodingType": "other"}])
async def test_lists_that_are_refused(s3: S3Lab, members: dict[str, Any]) -> None:
    await s3.bucket()
    assert (await s3.refusal("ListObjectsV2", Bucket="bucket", **members)).status == 400


async def test_a_page_of_nothing(s3: S3Lab) -> None:
    await s3.bucket()
    await s3.put("k")
    page = await s3.call("ListObjectsV2", Bucket="bucket", MaxKeys=0)
    assert (page["KeyCount"], page["IsTruncated"]) == (0, False)
