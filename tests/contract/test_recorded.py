"""Every case recorded on AWS, played against the control plane in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorded.exceptions import EXCEPTIONS
from recorded.runner import nouns, run
from recorded.script import Case, cases

CASES = cases(*nouns())


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_as_recorded(case: Case, tmp_path: Path) -> None:
    outcome = run(case, tmp_path)
    assert not outcome.problem, outcome.problem


def test_each_exception_is_of_a_case() -> None:
    assert EXCEPTIONS.keys() <= CASES.keys()
    for name, exception in EXCEPTIONS.items():
        assert set(exception.responses) <= set(CASES[name].responses), name
