"""Every member of every request of every operation that works, wrong in every way that the model rules out.

Nothing of it is answered otherwise than by an error of the client, in AWS's words, and nothing of it changes anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bad_input.mutants import Mutant, mutants
from bad_input.requests import request
from bad_input.valid import build, valid
from lambent.wire import models
from recorded.stage import Stage

MODEL = models.service("lambda").model
CONSTRAINT = re.compile(
    r"\d+ validation errors? detected: (Value .* at '(?P<path>[^']+)' failed to satisfy constraint: (Member|Map keys|Map value) must .+)",
    re.DOTALL,
)
PATHS = re.compile(r"at '([^']+)' failed to satisfy constraint")
CODES = ("ValidationException", "SerializationException")
# Members that the service checks itself, in its own words.
OWN_WORDS = {("CreateFunction", "Runtime"), ("UpdateFunctionConfiguration", "Runtime")}


def operations() -> list[str]:
    stage_less = Path(__file__).parents[2] / "docs/operations.md"
    return re.findall(r"^\| (\w+) \| works \|", stage_less.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    opened = Stage(tmp_path_factory.mktemp("stage"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def world(stage: Stage) -> dict[str, str]:
    return build(stage)


def stored(stage: Stage) -> list[tuple[object, ...]]:
    """Everything in the database."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"

    def work(connection):
        tables = [name for (name,) in connection.execute(query)]
        return [(table, *row) for table in tables for row in connection.execute(f"SELECT * FROM {table}")]

    return stage.run(stage.lab.db.read(work))


@pytest.mark.parametrize("name", operations())
def test_bad_input_is_refused_in_the_words_of_aws_and_changes_nothing(stage, world, name):
    operation, before = MODEL.operation_model(name), stored(stage)
    problems = []
    for mutant in mutants(operation, valid(name, world)):
        response = stage.send(request(operation, mutant.members))
        if problem := wrong(name, mutant, response.status, json.loads(response.body or b"null")):
            problems.append(f"{mutant}: {response.status} {problem}")
    assert not problems, "\n".join(problems)
    assert stored(stage) == before


def wrong(name: str, mutant: Mutant, status: int, answer: dict[str, str]) -> str:
    """What is wrong with the answer."""
    text = str(answer)
    if status != 400 or not isinstance(answer, dict):
        return text
    message = answer.get("message") or answer.get("Message") or ""
    if (name, mutant.top) in OWN_WORDS:
        return "" if mutant.top.lower() in message.lower() or "type" in mutant.what else text
    if mutant.what == "of a wrong type":
        return "" if message else text
    found = CONSTRAINT.fullmatch(message)
    if not found:
        return text
    top = mutant.top[0].lower() + mutant.top[1:]
    return "" if any(path == top or path.startswith(f"{top}.") for path in PATHS.findall(message)) else text


@pytest.mark.parametrize("name", operations())
def test_what_the_bad_input_was_made_from_is_taken(tmp_path, name):
    stage = Stage(tmp_path)
    try:
        operation, members = MODEL.operation_model(name), valid(name, build(stage))
        response = stage.send(request(operation, members))
        assert 200 <= response.status < 300, response.body
    finally:
        stage.close()
