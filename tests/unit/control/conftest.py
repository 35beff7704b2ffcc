from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .lab import Lab


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    opened = await Lab.open(tmp_path)
    yield opened
    await opened.close()
