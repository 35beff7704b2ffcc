from __future__ import annotations

import pytest

from lambent.engine.failures import describe_exit
from lambent.engine.sandbox import Exit


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "Runtime exited without providing a reason"),
        (127, "Runtime exited with error: exit status 127"),
        (-9, "Runtime exited with error: signal: killed"),
        (-11, "Runtime exited with error: signal: segmentation fault"),
        (-6, "Runtime exited with error: signal: aborted"),
    ],
)
def test_exits_in_awss_words(code: int, text: str) -> None:
    assert describe_exit(Exit(code)) == text
