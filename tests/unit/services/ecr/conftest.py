import pytest

from .lab import Lab


@pytest.fixture
async def lab(tmp_path):
    lab = await Lab(tmp_path).start()
    yield lab
    await lab.ecr.stop()
    await lab.db.close()
