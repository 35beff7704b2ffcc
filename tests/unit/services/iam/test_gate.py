"""The gate of `--auth iam`: decisions, what is remembered of them, and when it is forgotten."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from lambent.base.db import Connection, SqliteDatabase, migrate
from lambent.services.iam import store
from lambent.services.iam.gate import IamGate
from lambent.services.iam.records import Identity, Kind
from lambent.testing import FakeClock
from lambent.wire.callers import Caller
from lambent.wire.gate import Access, Guarded
from lambent.wire.refusals import Refusal
from lambent.wire.sigv4 import Accounts

ACCOUNT = "111111111111"
ARN = f"arn:aws:iam::{ACCOUNT}:user/u"
CALLER = Caller(ACCOUNT, "eu-west-1", "AKID", proven=True, user="u", source="192.0.2.7")
THING = f"arn:aws:things:eu-west-1:{ACCOUNT}:thing/a"


class Bench:
    """A database with one user, and a gate that counts how often it looks at resources."""

    def __init__(self, db: SqliteDatabase) -> None:
        self.db = db
        self.clock = FakeClock()
        self.accounts = Accounts()
        self.accounts.issue("AKID", ACCOUNT, ARN, secret="s")
        self.gate = IamGate(db, self.clock, self.accounts)
        self.guarded: Guarded | None = None
        self.looked = 0
        self.gate.guard("things", self._find, ("things",))

    def _find(self, _connection: Connection, _access: Access) -> Guarded | None:
        self.looked += 1
        return self.guarded

    async def give(self, *statements: dict[str, Any], user: str = "u", boundary: str | None = None) -> None:
        text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        inline = {"p": text} if statements else {}
        identity = Identity(Kind.USER, ACCOUNT, user, "/", "AIDA", 0.0, inline=inline, boundary=boundary)

        def work(connection: Connection) -> None:
            store.add_identity(connection, identity)
            store.put_identity(connection, identity)

        await self.db.write(work)

    async def allows(self, action: str = "things:Use", resource: str = THING, **context: str) -> bool:
        try:
            keys = {name.replace("__", ":"): (value,) for name, value in context.items()}
            await self.gate.authorize(CALLER, Access(action, resource, keys))
        except Refusal:
            return False
        return True


def on(bench_path: Path, work: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        db = SqliteDatabase(bench_path / "db")
        try:
            await migrate(db, store.MIGRATIONS)
            await db.write(lambda c: c.execute("CREATE TABLE things (id TEXT)"))
            await work(Bench(db))
        finally:
            await db.close()

    asyncio.run(run())


ALLOW = {"Effect": "Allow", "Action": "things:*", "Resource": "*"}


def test_what_is_decided_is_remembered_until_something_changes(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.give(ALLOW)
        for _ in range(3):
            assert await bench.allows()
        assert bench.looked == 1
        await bench.db.write(lambda c: c.execute("INSERT INTO things (id) VALUES ('x')"))
        assert await bench.allows()
        assert bench.looked == 2, "the resource's table has changed"
        await bench.db.write(lambda c: c.execute("CREATE TABLE other (id TEXT)"))
        await bench.db.write(lambda c: c.execute("INSERT INTO other (id) VALUES ('x')"))
        assert await bench.allows()
        assert bench.looked == 2, "nothing that the decision rests on has"
        await bench.give()
        assert not await bench.allows()

    on(tmp_path, work)


def test_a_decision_that_was_overtaken_is_not_kept(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.give(ALLOW)
        slow = asyncio.get_running_loop().create_task(bench.allows())
        await asyncio.sleep(0)
        bench.gate.forget()  # a commit, while the decision is being made
        assert await slow
        looked = bench.looked
        assert await bench.allows()
        assert bench.looked == looked + 1

    on(tmp_path, work)


def test_a_transaction_that_is_rolled_back_changes_nothing(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.give(ALLOW)
        assert await bench.allows()

        def failing(connection: Connection) -> None:
            connection.execute("INSERT INTO things (id) VALUES ('x')")
            raise KeyError

        with pytest.raises(KeyError):
            await bench.db.write(failing)
        assert await bench.allows()
        assert bench.looked == 1

    on(tmp_path, work)


def test_conditions_see_the_request_the_caller_and_the_clock(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        def when(operator: str, key: str, value: str) -> dict[str, Any]:
            return {**ALLOW, "Condition": {operator: {key: value}}}

        for operator, key, yes, no in (
            ("IpAddress", "aws:SourceIp", "192.0.2.0/24", "198.51.100.0/24"),
            ("StringEquals", "aws:RequestedRegion", "eu-west-1", "us-east-1"),
            ("StringEquals", "aws:username", "u", "v"),
            ("StringEquals", "aws:ResourceTag/team", "a", "b"),
            ("StringEquals", "aws:ResourceAccount", ACCOUNT, "222222222222"),
            ("Bool", "aws:SecureTransport", "false", "true"),
            ("DateLessThan", "aws:CurrentTime", "2099-01-01T00:00:00Z", "2001-01-01T00:00:00Z"),
        ):
            bench.guarded = Guarded(tags={"team": "a"})
            await bench.give(when(operator, key, yes))
            assert await bench.allows(), key
            await bench.give(when(operator, key, no))
            assert not await bench.allows(), key
        await bench.give(when("DateLessThan", "aws:EpochTime", str(int(bench.clock.time()) + 10)))
        assert await bench.allows()
        bench.clock.advance(20)
        assert not await bench.allows(), "what asks for the time is asked every time"

    on(tmp_path, work)


def test_the_policy_of_the_resource_counts(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        def policy(effect: str, principal: object) -> Guarded:
            statement = {"Effect": effect, "Principal": principal, "Action": "*", "Resource": "*"}
            return Guarded(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

        await bench.give()
        bench.guarded = policy("Allow", {"AWS": ARN})
        assert await bench.allows()
        bench.gate.forget()
        bench.guarded = policy("Allow", {"AWS": ACCOUNT})
        assert not await bench.allows(), "the account's own policies hand it out"
        bench.guarded = Guarded("{}")
        await bench.give(ALLOW)
        assert not await bench.allows(), "what cannot be read denies"
        bench.guarded = policy("Deny", "*")
        assert not await bench.allows()
        bench.guarded = Guarded(policy("Allow", {"AWS": "222222222222"}).policy, decides=True, grantees=(ARN,))
        assert await bench.allows(), "a grant"

    on(tmp_path, work)


def test_a_key_that_is_gone_opens_nothing(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.give(ALLOW)
        bench.accounts.forget("AKID")
        assert not await bench.allows(), "an unknown key is not the root user's here"
        bench.accounts.issue("AKID", ACCOUNT)
        assert not await bench.allows(), "nor one that is nobody's"

    on(tmp_path, work)


def test_denials_say_why_but_not_about_others(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.give({**ALLOW, "Sid": "Mine", "Resource": THING + "b"})
        with pytest.raises(Refusal) as caught:
            await bench.gate.authorize(CALLER, Access("things:Use", THING))
        assert caught.value.message == (
            f"User: {ARN} is not authorized to perform: things:Use on resource: {THING} because no identity-based"
            f" policy allows the things:Use action (no statement allows things:Use on {THING}; the nearest is"
            f" statement 'Mine' of user_u_p, but its resources do not include {THING})"
        )
        theirs = THING.replace(ACCOUNT, "222222222222")
        with pytest.raises(Refusal) as caught:
            await bench.gate.authorize(CALLER, Access("things:Use", theirs))
        assert str(caught.value.message).endswith("because no resource-based policy allows the things:Use action")
        assert [denial.resource for denial in bench.gate.denials] == [THING, theirs]

    on(tmp_path, work)
