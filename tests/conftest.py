"""Fixtures for every test; see `support.py` for what they hand out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support import RUNTIMES, Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that do not need their own."""
    running = Server(tmp_path_factory.mktemp("server") / "data", "--runtimes-dir", str(RUNTIMES))
    yield running
    assert running.stop() == 0


@pytest.fixture
def lambda_client(server: Server) -> Any:
    return server.client()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A function name that no other test uses."""
    readable = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:40]
    return f"{readable}-{os.urandom(4).hex()}"
