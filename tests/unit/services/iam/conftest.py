from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .lab import IamLab


@pytest.fixture
async def iam(tmp_path: Path) -> AsyncIterator[IamLab]:
    lab = IamLab(tmp_path)
    await lab.start()
    yield lab
    await lab.db.close()
