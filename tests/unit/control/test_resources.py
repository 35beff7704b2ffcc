"""Named documents: per account, region and kind, in pages that inserts do not disturb."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lambent.base.db import SqliteDatabase, migrate
from lambent.control import resources as module
from lambent.control.resources import Resources
from lambent.wire.operations import Caller

HOME = Caller("111111111111", "us-east-1")


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    opened = SqliteDatabase(tmp_path / "db")
    await migrate(opened, module.MIGRATIONS)
    yield opened
    await opened.close()


async def put(resources: Resources, name: str, parent: str = "", home: Caller = HOME) -> None:
    await resources.db.write(lambda connection: resources.put(connection, home, name, {"Name": name}, parent))


async def test_a_document_is_there_until_it_is_removed(db):
    urls = Resources(db, "url")
    assert await urls.get(HOME, "a") is None
    await put(urls, "a")
    assert await urls.get(HOME, "a") == {"Name": "a"}
    assert await db.write(lambda connection: urls.remove(connection, HOME, "a")) == {"Name": "a"}
    assert await db.write(lambda connection: urls.remove(connection, HOME, "a")) is None
    assert await urls.get(HOME, "a") is None


async def test_kinds_accounts_and_regions_are_apart(db):
    urls = Resources(db, "url")
    await put(urls, "a")
    for home in (Caller("222222222222", HOME.region), Caller(HOME.account, "eu-west-1")):
        assert await urls.get(home, "a") is None
        assert await urls.page(home, None, 10) == ([], None)
    assert await Resources(db, "other").get(HOME, "a") is None


async def test_pages_survive_what_comes_and_goes_between_them(db):
    urls = Resources(db, "url")
    for name in "bdfh":
        await put(urls, name)
    first, marker = await urls.page(HOME, None, 2)
    await put(urls, "a")
    await put(urls, "e")
    await db.write(lambda connection: urls.remove(connection, HOME, "d"))
    second, last = await urls.page(HOME, marker, 10)
    assert [document["Name"] for document in (*first, *second)] == ["b", "d", "e", "f", "h"]
    assert last is None


async def test_a_page_that_is_exactly_full_has_no_next(db):
    urls = Resources(db, "url")
    for name in "ab":
        await put(urls, name)
    assert (await urls.page(HOME, None, 2))[1] is None


async def test_what_is_below_a_parent(db):
    urls = Resources(db, "url")
    await put(urls, "f:a", "f")
    await put(urls, "f:b", "f")
    await put(urls, "g:a", "g")
    page, _ = await urls.page(HOME, None, 10, "f")
    assert [document["Name"] for document in page] == ["f:a", "f:b"]
    assert await db.read(lambda connection: urls.children(connection, HOME, "f")) == page
    await db.write(lambda connection: urls.empty(connection, HOME, "f"))
    assert await urls.page(HOME, None, 10) == ([{"Name": "g:a"}], None)
