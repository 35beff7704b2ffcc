from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from unit.services.s3.lab import S3Lab


@pytest.fixture
async def s3(tmp_path: Path) -> AsyncIterator[S3Lab]:
    lab = S3Lab(tmp_path)
    await lab.start()
    yield lab
    await lab.stop()
