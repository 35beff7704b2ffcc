"""Plays cases on a stage in this process and says how they went."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import recorded.cases  # noqa: F401  (fills PLAYS)
from recorded.exceptions import EXCEPTIONS
from recorded.script import GOLDEN, PLAYS, Case, Script, cases
from recorded.stage import ACCOUNT, REGION, Stage, functions

INVOCATIONS = "invoke"  # recordings that need functions to run


@dataclass(frozen=True)
class Outcome:
    case: Case
    passed: bool  # every recorded response is answered as recorded
    problem: str  # "" when it passed, or failed as the table of exceptions says
    difference: str = ""  # what is not as recorded


def nouns() -> list[str]:
    """The recordings that need no function to run."""
    return sorted(path.stem for path in GOLDEN.glob("*.json") if path.stem != INVOCATIONS)


def run(case: Case, directory: Path) -> Outcome:
    exemption = EXCEPTIONS.get(case.name)
    if case.name not in PLAYS:
        return Outcome(
            case, False, "" if exemption else "nobody plays it, and the table of exceptions does not say why"
        )
    error = _play(case, directory / "whole", ())
    if exemption is None:
        return Outcome(case, not error, error)
    if not error:
        return Outcome(case, True, "it passes: take it from the table of exceptions")
    if exemption.responses:  # all but those must match
        error = _play(case, directory / "part", exemption.responses)
        return Outcome(case, False, error, error)
    return Outcome(case, False, "", error)


def _play(case: Case, directory: Path, but: tuple[str, ...]) -> str:
    """What went wrong, "" for nothing."""
    directory.mkdir()
    stage = Stage(directory)
    try:
        with mock.patch.object(functions, "_SETTLE_SECONDS", 0):
            script = Script(stage, case, ACCOUNT, REGION, but=but)
            PLAYS[case.name](script)
            script.done()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        stage.close()
    return ""


def main() -> int:
    """Print where each case stands."""
    passed, problems = 0, 0
    everything = cases(*nouns())
    for case in everything.values():
        with tempfile.TemporaryDirectory() as directory:
            outcome = run(case, Path(directory))
        passed += outcome.passed
        if outcome.problem:
            problems += 1
            print(f"FAILS   {case.name}\n        {outcome.problem[:400]}")
        elif not outcome.passed:
            reason, responses = EXCEPTIONS[case.name]
            print(f"differs {case.name}\n        {reason}")
            if outcome.difference and not responses:
                print(f"        {outcome.difference[:300]}")
            if responses:
                print(f"        the others match, not {', '.join(responses)}")
    exempt = len(everything) - passed - problems
    print(f"{passed} of {len(everything)} cases pass, {exempt} are exceptions, {problems} fail")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
