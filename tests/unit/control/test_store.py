"""The function store: what it promises to the operations, to the engine, and over a restart."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lambent.base import jobs as jobs_module
from lambent.base.db import SqliteDatabase, migrate
from lambent.base.jobs import Job, Jobs
from lambent.control import store as store_module
from lambent.control.records import Function, FunctionKey, LoggingConfig, SealedVariables
from lambent.control.store import PREPARE, FunctionStore, Preparation
from lambent.testing import FakeClock
from lambent.wire.errors import AwsError

KEY = FunctionKey("111111111111", "us-east-1", "f")
DIGESTS = ["a" * 64, "b" * 64, "c" * 64]


def function(name: str = "f", **values: Any) -> Function:
    defaults = {
        "key": replace(KEY, name=name),
        "version": "$LATEST",
        "revision_id": f"first-{name}",
        "last_modified": "2026-01-01T00:00:00.000+0000",
        "role": "arn:aws:iam::111111111111:role/r",
        "runtime": "python3.12",
        "handler": "h.h",
        "code_digest": DIGESTS[0],
        "code_size": 1,
    }
    return Function(**(defaults | values))


class Bench:
    """A store whose jobs are only collected; the test finishes them."""

    def __init__(self, path: Path, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.db = SqliteDatabase(path)
        self.jobs = Jobs(self.db, self.clock)
        self.store = FunctionStore(self.db, self.jobs, self.clock)
        self.queued: list[Job] = []
        self.jobs.bind(PREPARE, self._collect)

    @classmethod
    async def open(cls, path: Path, clock: FakeClock | None = None) -> Bench:
        bench = cls(path, clock)
        await migrate(bench.db, [*jobs_module.MIGRATIONS, *store_module.MIGRATIONS])
        await bench.store.load()
        await bench.jobs.start()
        return bench

    async def _collect(self, job: Job) -> None:
        self.queued.append(job)
        await asyncio.Event().wait()

    async def close(self) -> None:
        await self.jobs.stop()
        await self.db.close()

    async def finish(self, function: Function, **outcome: str) -> bool:
        return await self.store.finish(function.key, function.revision_id, **outcome)


@pytest.fixture
async def bench(tmp_path):
    opened = await Bench.open(tmp_path / "lambent.db")
    yield opened
    await opened.close()


def touched(value: int):
    return lambda current: replace(current, timeout=value)


async def test_the_job_names_what_is_to_be_prepared(bench):
    created = await bench.store.create(function())
    await asyncio.sleep(0)
    [job] = bench.queued
    assert Preparation.of(job) == Preparation(KEY, "$LATEST", created.revision_id)


async def test_finishing_ends_the_job_in_the_same_transaction(bench):
    created = await bench.store.create(function())
    await asyncio.sleep(0)
    [job] = bench.queued
    assert await bench.store.finish(KEY, created.revision_id, job=job)
    assert await bench.db.read(lambda c: c.execute("SELECT id FROM jobs")) == []
    assert not await bench.store.finish(KEY, created.revision_id, job=job)


async def test_an_overtaken_job_changes_nothing_but_is_done(bench):
    created = await bench.store.create(function())
    await asyncio.sleep(0)
    await bench.store.delete(KEY)
    again = await bench.store.create(function(revision_id="second"))
    [job, _] = bench.queued
    assert not await bench.store.finish(KEY, created.revision_id, job=job)
    assert (await bench.store.get(KEY)).state == "Pending"
    assert bench.store.serving(KEY) is None
    assert len(await bench.db.read(lambda c: c.execute("SELECT id FROM jobs"))) == 1
    assert await bench.finish(again)


async def test_what_serves_is_seen_the_moment_finish_returns(bench):
    created = await bench.store.create(function())
    await bench.finish(created)
    assert bench.store.serving(KEY).state == "Active"
    assert bench.store.serving(KEY, "$LATEST") is bench.store.serving(KEY)
    assert bench.store.serving(KEY, "1") is None
    assert bench.store.serving(replace(KEY, region="eu-west-1")) is None


async def test_a_change_that_raises_changes_nothing(bench):
    created = await bench.store.create(function())
    await bench.finish(created)
    before = await bench.store.get(KEY)

    def refuse(current: Function) -> Function:
        raise AwsError("InvalidParameterValueException", "no")

    with pytest.raises(AwsError, match="no"):
        await bench.store.replace(KEY, refuse)
    assert await bench.store.get(KEY) == before
    assert len(await bench.db.read(lambda c: c.execute("SELECT id FROM jobs"))) == 1


async def test_of_updates_at_once_from_one_revision_one_wins(bench):
    await bench.finish(await bench.store.create(function()))
    revision = bench.store.serving(KEY).revision_id
    results = await asyncio.gather(
        *(bench.store.replace(KEY, touched(n), revision) for n in range(5, 15)), return_exceptions=True
    )
    [winner] = [result for result in results if isinstance(result, Function)]
    assert {error.code for error in results if isinstance(error, AwsError)} == {"ResourceConflictException"}
    assert (await bench.store.get(KEY)).timeout == winner.timeout


async def test_tags_during_an_update_do_not_stop_it(bench):
    await bench.finish(await bench.store.create(function()))
    updated = await bench.store.replace(KEY, touched(9))
    await bench.store.amend(KEY, lambda current: replace(current, tags={"a": "b"}))
    assert await bench.finish(updated)
    served = bench.store.serving(KEY)
    assert (served.timeout, served.tags, served.last_update_status) == (9, {"a": "b"}, "Successful")


async def test_tags_do_not_disturb_what_is_served(bench):
    await bench.finish(await bench.store.create(function()))
    served = bench.store.serving(KEY)
    amended = await bench.store.amend(KEY, lambda current: replace(current, tags={"a": "b"}))
    assert amended.revision_id != served.revision_id
    assert bench.store.serving(KEY) == served


@pytest.mark.parametrize("what", ["replace", "amend"])
async def test_what_is_not_there_cannot_be_changed(bench, what):
    with pytest.raises(AwsError, match="Function not found"):
        await getattr(bench.store, what)(KEY, touched(9))
    assert not await bench.store.delete(KEY)
    assert await bench.store.get(KEY) is None


async def test_settled_waits_for_the_work_on_this_function_only(bench):
    created = await bench.store.create(function())
    await bench.store.settled(replace(KEY, name="other"), 10)
    waiting = asyncio.create_task(bench.store.settled(KEY, 10))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await bench.finish(created)
    await waiting
    await bench.store.settled(KEY, 10)


async def test_settled_gives_up_when_its_time_is_over_and_when_the_function_goes(bench):
    await bench.store.create(function())
    await bench.store.settled(KEY, 0.001)
    waiting = asyncio.create_task(bench.store.settled(KEY, 10))
    await asyncio.sleep(0.001)
    await bench.store.delete(KEY)
    await waiting


async def test_watchers_are_called_after_each_commit_with_the_new_state_in_place(bench):
    seen: list[tuple[FunctionKey, Any]] = []
    bench.store.on_change(lambda key: seen.append((key, bench.store.serving(key))))
    bench.store.on_change(lambda key: 1 // 0)
    created = await bench.store.create(function())
    await bench.finish(created)
    served = bench.store.serving(KEY)
    await bench.store.delete(KEY)
    assert seen == [(KEY, None), (KEY, served), (KEY, None)]


async def test_code_is_released_when_the_last_function_lets_go(bench):
    released: list[str] = []
    bench.store.on_release(released.append)
    for name in ("f", "g"):
        await bench.finish(await bench.store.create(function(name)))
    updated = await bench.store.replace(KEY, lambda current: replace(current, code_digest=DIGESTS[1]))
    assert bench.store.digests() == {DIGESTS[0], DIGESTS[1]}
    await bench.store.delete(replace(KEY, name="g"))
    assert released == []  # f still serves the old code
    await bench.finish(updated)
    assert released == [DIGESTS[0]]
    await bench.store.delete(KEY)
    assert released == [DIGESTS[0], DIGESTS[1]]
    assert bench.store.digests() == set()


async def test_what_belongs_to_a_function_can_go_in_the_transaction_that_removes_it(bench):
    gone = []
    query = "SELECT name FROM functions"
    bench.store.on_remove(lambda connection, key, _: gone.append((key, connection.execute(query))))
    await bench.store.create(function())
    assert not await bench.store.delete(replace(KEY, name="other"))
    assert gone == []
    assert await bench.store.delete(KEY)
    assert gone == [(KEY, [])]

    def refuse(connection, key, qualifier):
        raise RuntimeError("no")

    bench.store.on_remove(refuse)
    await bench.store.create(function())
    with pytest.raises(RuntimeError):
        await bench.store.delete(KEY)
    assert await bench.store.get(KEY) is not None


async def test_counts_and_runtimes(bench):
    await bench.finish(await bench.store.create(function()))
    await bench.store.create(function("g", runtime="python3.13"))
    assert bench.store.count() == 2
    assert bench.store.runtimes() == {"python3.12"}


async def test_everything_of_a_function_survives_the_database(bench, tmp_path):
    rich = function(
        environment=SealedVariables("arn", "data key", "text"),
        logging=LoggingConfig("JSON", "g", "INFO", "WARN"),
        extras={"DeadLetterConfig": {"TargetArn": "arn"}},
        vpc_config={"SubnetIds": ["s"]},
        tags={"k": "v"},
    )
    await bench.store.create(rich)
    again = await Bench.open(tmp_path / "lambent.db")
    kept = await again.store.get(KEY)
    assert replace(kept, state="Pending", state_reason=None, state_reason_code=None) == rich
    await again.close()


# The store against a model of itself


@dataclass
class Model:
    document: Function
    serving: Function | None
    preparing: str | None


class StoreMachine(RuleBasedStateMachine):
    """Any sequence of operations, results of old jobs and restarts, compared with three lines of plain Python each."""

    names = st.sampled_from(["f", "g"])
    digests = st.sampled_from(DIGESTS)

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.model: dict[str, Model] = {}
        self.revisions: list[tuple[str, str]] = []
        self.created = 0

    def run(self, work: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await work

        return self.runner.run(wait())

    @initialize()
    def open(self) -> None:
        self.bench = self.run(Bench.open(Path(self.directory.name) / "lambent.db", self.clock))

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.run(self.bench.close())
        self.runner.close()
        self.directory.cleanup()

    def attempt(self, work: Awaitable[Any]) -> Any:
        try:
            return self.run(work)
        except AwsError as error:
            return error.code

    @rule(name=names, digest=digests)
    def create(self, name: str, digest: str) -> None:
        self.created += 1
        made = self.attempt(
            self.bench.store.create(function(name, code_digest=digest, revision_id=f"created-{self.created}"))
        )
        if name in self.model:
            assert made == "ResourceConflictException"
            return
        assert (made.state, made.last_update_status) == ("Pending", None)
        self.model[name] = Model(made, None, made.revision_id)
        self.revisions.append((name, made.revision_id))

    @rule(name=names, digest=digests, expected=st.sampled_from([None, "right", "wrong"]))
    def update(self, name: str, digest: str, expected: str | None) -> None:
        known = self.model.get(name)
        revision = known.document.revision_id if known and expected == "right" else expected
        change = self.bench.store.replace(
            replace(KEY, name=name), lambda current: replace(current, code_digest=digest), revision
        )
        made = self.attempt(change)
        if known is None:
            assert made == "ResourceNotFoundException"
        elif known.preparing:
            assert made == "ResourceConflictException"
        elif expected == "wrong":
            assert made == "PreconditionFailedException"
        else:
            assert made.code_digest == digest
            assert made.last_update_status == "InProgress"
            assert (made.state == "Active") == (known.serving is not None)
            self.model[name] = Model(made, known.serving, made.revision_id)
            self.revisions.append((name, made.revision_id))

    @precondition(lambda self: self.revisions)
    @rule(data=st.data(), fails=st.booleans())
    def finish(self, data: st.DataObject, fails: bool) -> None:
        name, revision = data.draw(st.sampled_from(self.revisions))
        outcome = {"reason_code": "InvalidRuntime", "reason": "no"} if fails else {}
        key = replace(KEY, name=name)
        happened = self.run(self.bench.store.finish(key, revision, **outcome))
        known = self.model.get(name)
        assert happened == (known is not None and known.preparing == revision)
        if not happened or known is None:
            return
        document = self.run(self.bench.store.get(key))
        assert document.revision_id != revision
        assert document.code_digest == known.document.code_digest
        if fails:
            assert document.last_update_status == "Failed"
            assert document.state == ("Active" if known.serving else "Failed")
        else:
            assert (document.state, document.last_update_status) == ("Active", "Successful")
        self.model[name] = Model(document, known.serving if fails else document, None)

    @rule(name=names, value=st.text(max_size=3))
    def tag(self, name: str, value: str) -> None:
        key = replace(KEY, name=name)
        made = self.attempt(self.bench.store.amend(key, lambda current: replace(current, tags={"k": value})))
        if known := self.model.get(name):
            assert made.revision_id != known.document.revision_id
            self.model[name] = replace(known, document=made)
        else:
            assert made == "ResourceNotFoundException"

    @rule(name=names)
    def delete(self, name: str) -> None:
        assert self.run(self.bench.store.delete(replace(KEY, name=name))) == (name in self.model)
        self.model.pop(name, None)

    @rule()
    def restart(self) -> None:
        self.run(self.bench.close())
        self.open()

    @invariant()
    def agrees(self) -> None:
        store = self.bench.store
        for name in ("f", "g"):
            key, known = replace(KEY, name=name), self.model.get(name)
            assert store.serving(key) == (known.serving if known else None)
            assert self.run(store.get(key)) == (known.document if known else None)
            assert (store._memory.busy(key, "$LATEST") is not None) == bool(known and known.preparing)
        rows = list(self.model.values())
        documents = [known.document for known in rows] + [known.serving for known in rows if known.serving]
        assert store.digests() == {document.code_digest for document in documents}
        listed, marker = self.run(store.page(KEY.account, KEY.region, None, 10))
        assert [document.key.name for document in listed] == sorted(self.model)
        assert marker is None


StoreMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
test_the_store_agrees_with_its_model = StoreMachine.TestCase
